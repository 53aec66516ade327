"""Replays of evaluations are repeated to the bit, anywhere; whatever differs is found and named."""

import dataclasses
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from pufferenv import games
from pufferenv.game_spec import GameSpec
from pufferenv.vector_env import make
from pufferlib.config.options import PolicyOptions
from pufferlib.policies.base import PolicySpec
from pufferlib.policies.factory import make_policy
from pufferlib.run import external_envs, replay_recorder
from pufferlib.run.evaluate import Evaluator, evaluate, main_field
from pufferlib.run.replay import Replay, ReplayError, encode
from pufferlib.run.replay_player import ObservationHash, ReplayPlayer
from pufferlib.run.replay_recorder import BLOCK, Episode, ReplayRecorder
from tests.lib.run.test_replay_file import make_replay
from tests.support.games import load_game, short_episodes
from tests.support.paths import ROOT

# A game whose state depends on every random number and every action before.
DICE = """
#define PUF_NAME "dice"
#define PUF_DOC "Throws a die in each step."
#define PUF_AGENTS(c) 1
#define PUF_OBS(c) int32_t, 1 // the sum
#define PUF_ACTIONS(X) X(add, 3, "0, 1, 2")
#define PUF_CONFIG(X) X(int32_t, steps, 250, 1, 1000, "steps of an episode")
#define PUF_LOG(X) X(score, "the sum")
#include "pufferenv/env.h"
struct Env { Log log; PufRng rng; int32_t sum, tick, steps; };
static int env_init(Env *env, const Config *c, uint64_t seed, const char **why) {
    (void)why;
    *env = (Env){.rng = {seed}, .steps = c->steps};
    return PUF_OK;
}
static void env_reset(Env *env, PufIO *io) { (void)io; env->sum = env->tick = 0; }
static void env_observe(const Env *env, PufIO *io) { puf_obs(io, 0)[0] = env->sum; }
static void env_step(Env *env, PufIO *io) {
    env->sum += (int32_t)(puf_rand(&env->rng) % 6) + puf_action(io, 0)[0];
    env->tick += 1;
    CHANGE
    puf_reward(io, 0, (float)(env->sum % 7));
    if (env->tick < env->steps) return;
    env->log = (Log){.score = env->sum};
    puf_end(io, PUF_TRUNCATED);
}
static void env_close(Env *env) { (void)env; }
"""


def policy_for(spec, **options):
    return make_policy(PolicyOptions(hidden_size=8, **options), PolicySpec.of(spec), seed=3)


def recorded(spec, policy=None, **options) -> ReplayRecorder:
    with Evaluator(policy, spec, **{"episodes": 6, "num_envs": 3, **options}) as run:
        recorder = run.record("test")
        while not run.done:
            run.step()
    return recorder


def replays_of(spec, policy=None, **options) -> list[Replay]:
    recorder = recorded(spec, policy, **options)
    return recorder.replays(recorder.episodes)


def dice_header(folder: Path, change: str = "") -> Path:
    folder.mkdir(exist_ok=True)
    path = folder / "dice.h"
    path.write_text(DICE.replace("CHANGE", change))
    return path


@pytest.mark.parametrize("kind", ["random", "mlp", "lstm"])
@pytest.mark.parametrize("game", games.names())
def test_every_episode_of_every_game_is_repeated_to_the_bit(game, kind, tmp_path):
    spec = GameSpec.of(game, short_episodes(game))
    policy = None if kind == "random" else policy_for(spec, name=kind)
    replays = replays_of(spec, policy, num_threads=2, seed=7)
    assert [(r.env, r.episode) for r in sorted(replays, key=lambda r: (r.env, r.episode))] == [
        (env, number) for env in range(3) for number in range(2)
    ]
    for i, replay in enumerate(replays):
        assert replay.write(tmp_path / f"{i}.replay") <= 100_000
        player = ReplayPlayer(Replay.read(tmp_path / f"{i}.replay"))
        assert player.verify() is None
        assert player.hashes == replay.hashes.tolist() and len(set(player.hashes)) > 0
        player.close()


def test_logs_and_episodes_are_those_of_the_evaluation():
    spec = GameSpec.of("breakout")
    replays = replays_of(spec, episodes=7, seed=4)
    result = evaluate(None, spec, episodes=7, num_envs=3, seed=4)
    for name, stats in result.fields.items():
        values = [replay.log[name] for replay in replays]
        assert (np.mean(values), min(values), max(values)) == (stats.mean, stats.min, stats.max)
    assert {replay.source for replay in replays} == {spec.game.source}
    assert {replay.policy for replay in replays} == {"test"}


def test_a_later_episode_of_an_env_begins_at_its_start():
    spec = GameSpec.of("squared", {"size": 5})
    replays = {(r.env, r.episode): r for r in replays_of(spec, episodes=12)}
    for (env, number), replay in replays.items():
        if number:
            assert replay.start == replays[env, number - 1].steps < replay.steps
        else:
            assert replay.start == 0
        player = ReplayPlayer(replay)
        ends = 0
        while player.step_number < replay.start:
            player.step()
            ends += player.log is not None
        assert ends == number
        assert player.verify() is None


def test_what_a_viewer_skips_is_played():
    replay = replays_of(GameSpec.of("squared"))[-1]
    player = ReplayPlayer(replay)
    player.skip()
    assert player.step_number == replay.start > 0
    assert player.verify() is None and player.done
    with pytest.raises(IndexError, match="all were played"):
        player.step()


@pytest.mark.parametrize("game", ["breakout", "royale", "probe", "tag"])
def test_threads_neighbours_and_debug_objects_change_nothing(game):
    spec = GameSpec.of(game, short_episodes(game))
    one = replays_of(spec, episodes=2, num_envs=2, num_threads=1)
    # Of many envs the first two play the same as two alone, with the same actions.
    for replay in one:
        for options in ({"debug": True}, {"num_threads": 3}):
            player = ReplayPlayer(replay, game, **options)
            assert player.verify() is None
            player.close()
    four = make(spec, 4, num_threads=3, seed=0)
    four.reset(seed=0)
    assert {replay.seed for replay in one} < {int(s) for s in replay_recorder_seeds(4)}


def replay_recorder_seeds(count):
    from pufferenv.game_config import env_seeds

    return env_seeds(0, count)


def verified_elsewhere(path: Path, **variables: str) -> str:
    code = (
        "import sys; from pufferlib.run.replay import Replay\n"
        "from pufferlib.run.replay_player import ReplayPlayer\n"
        "print(ReplayPlayer(Replay.read(sys.argv[1])).verify())"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT), **variables}
    done = subprocess.run(
        [sys.executable, "-c", code, str(path)], capture_output=True, text=True, env=environment
    )
    assert not done.returncode, done.stderr
    return done.stdout.strip()


def test_another_process_repeats_it(tmp_path):
    for game in ("royale", "breakout"):
        path = tmp_path / f"{game}.replay"
        replays_of(GameSpec.of(game, short_episodes(game)), episodes=1)[0].write(path)
        assert verified_elsewhere(path, PYTHONHASHSEED="7") == "None"


def test_objects_for_any_cpu_repeat_it(tmp_path):
    if not list((ROOT / "build").glob("*-release-baseline*")) + list(
        (ROOT / "build").glob("release-baseline*")
    ):
        pytest.skip("objects for any CPU are not built: PUFFER_ISA=baseline python build.py")
    path = tmp_path / "royale.replay"
    replays_of(GameSpec.of("royale"), episodes=1)[0].write(path)
    assert verified_elsewhere(path, PUFFER_ISA="baseline") == "None"


def test_dead_agents_actions_are_not_kept():
    spec = GameSpec.of("royale")
    replay = replays_of(spec, episodes=1)[0]
    player = ReplayPlayer(replay)
    alive = player.engine.arrays["alive"]
    dead_steps = live_choices = 0
    while not player.done:
        choices = replay.choices[player.step_number]
        assert not choices[~alive].any()
        dead_steps += int((~alive).sum())
        live_choices += int(choices[alive].any(1).sum())
        player.step()
    assert dead_steps > 10_000 and live_choices > 1000


def test_replays_are_small():
    royale = replays_of(GameSpec.of("royale"), episodes=3)
    assert max(len(encode(replay)) for replay in royale) <= 20_000  # at most 100,000 are asked for
    assert min(replay.steps for replay in royale) > 500
    # The longest episode of breakout, with actions that cannot be compressed further.
    longest = make_replay(10_000, 1, (3,), 0)
    assert len(encode(longest)) <= 4_500  # at most 10,000 are asked for
    still = dataclasses.replace(longest, choices=np.zeros((10_000, 1, 1), np.int32))
    assert len(encode(still)) <= 1_500


def test_one_changed_action_is_found_at_its_checkpoint(tmp_path):
    spec = GameSpec.of(dice_header(tmp_path))
    replay = replays_of(spec, episodes=1)[0]
    for step, wanted in ((0, (1, 100)), (99, (1, 100)), (100, (101, 200)), (249, (201, 250))):
        choices = replay.choices.copy()
        choices[step] = (choices[step] + 1) % 3
        player = ReplayPlayer(dataclasses.replace(replay, choices=choices), spec)
        observed = f"observed in steps {wanted[0]} to {wanted[1]} of 250"
        assert observed in player.verify()
        assert player.differs == wanted


def test_one_changed_random_number_is_found_at_its_checkpoint(tmp_path):
    spec = GameSpec.of(dice_header(tmp_path / "a"))
    replay = replays_of(spec, episodes=1)[0]
    for tick, wanted in ((90, (1, 100)), (100, (101, 200)), (222, (201, 250))):
        other = dice_header(tmp_path / f"{tick}", f"if (env->tick == {tick}) puf_rand(&env->rng);")
        with pytest.raises(ReplayError, match=r"another version of dice: its header's hash is \w+, "
                           r"here it is \w+.*--any-version"):  # fmt: skip
            ReplayPlayer(replay, other)
        player = ReplayPlayer(replay, other, any_version=True)
        player.verify()
        assert player.differs == wanted


def test_another_version_that_plays_alike_is_said_to_be_the_same(tmp_path):
    replay = replays_of(GameSpec.of(dice_header(tmp_path / "a")), episodes=1)[0]
    other = dice_header(tmp_path / "b", "// a comment")
    assert GameSpec.of(other).game.source != replay.source
    assert ReplayPlayer(replay, other, any_version=True).verify() is None


def test_a_changed_log_alone_is_found(tmp_path):
    spec = GameSpec.of(dice_header(tmp_path))
    replay = replays_of(spec, episodes=1)[0]
    other = dataclasses.replace(replay, log={"score": replay.log["score"] + 1})
    assert "the episode's log is" in ReplayPlayer(other, spec).verify()


def test_a_game_that_depends_on_more_than_its_actions_has_no_replay():
    """`script` reads the actions of dead agents, which are not kept."""
    spec = GameSpec.of(load_game("script"))
    recorder = recorded(spec, episodes=3, seed=2)
    with pytest.raises(
        ReplayError, match=r"script: an episode of env . is not repeated by its seed"
    ):
        recorder.replays(recorder.episodes)


def test_a_replay_of_another_game_or_config_is_refused(tmp_path):
    header = dice_header(tmp_path)
    replay = replays_of(GameSpec.of(header), episodes=1)[0]
    with pytest.raises(
        ReplayError, match=r"of dice, which is none of the games here .*--game path"
    ):
        ReplayPlayer(replay)
    with pytest.raises(ReplayError, match="the replay is of dice, not of squared"):
        ReplayPlayer(dataclasses.replace(replay, config={}), "squared")
    for config, message in (
        ({"steps": 0}, "its config does not fit: dice: steps=0 is outside"),
        ({"stops": 1}, "its config does not fit: dice has no config key 'stops'"),
    ):
        with pytest.raises(ReplayError, match=message):
            ReplayPlayer(dataclasses.replace(replay, config=config), header)
    wrong = dataclasses.replace(replay, num_choices=(2,))
    with pytest.raises(ReplayError, match=r"1 agents with \[2\] choices.*has 1 with \[3\]"):
        ReplayPlayer(wrong, header)


def test_best_median_and_worst_are_chosen_by_the_main_field():
    spec = GameSpec.of("breakout")
    recorder = recorded(spec, episodes=5, num_envs=5)
    field = main_field(spec)
    scores = [episode.log[field] for episode in recorder.episodes]
    ranked = recorder.ranked(field)
    assert ranked["best"].log[field] == max(scores) and ranked["worst"].log[field] == min(scores)
    assert ranked["median"].log[field] == sorted(scores)[2]
    assert recorded(spec, episodes=1).ranked(field).keys() == {"best", "median", "worst"}
    with Evaluator(None, spec, episodes=3) as run:
        assert run.record("").ranked(field) == {}


def test_of_equal_episodes_the_first_is_chosen_and_of_an_even_number_the_lower_median():
    recorder = recorded(GameSpec.of("squared"), episodes=1)
    numbers = [2.0, 5.0, float("nan"), 1.0, 5.0, 3.0]
    recorder.episodes[:] = [Episode(i, 0, 0, 1, {"score": n}) for i, n in enumerate(numbers)]
    places = {name: episode.env for name, episode in recorder.ranked("score").items()}
    assert places == {"best": 1, "median": 0, "worst": 2}


NAMES = ("reward", "termination", "truncation", "observation", "mask", "alive")


@pytest.mark.parametrize("name", NAMES)
def test_all_that_could_be_seen_is_hashed(name):
    arrays = {key: np.zeros((2, 1), np.float32) for key in NAMES}
    arrays["alive"] = np.array([True, False])

    def digest():
        one = ObservationHash(SimpleNamespace(arrays=arrays))
        one.add_returns()
        one.add_seen()
        return one.digest()

    before = digest()
    arrays[name][0] = name != "alive"
    if name == "alive":
        arrays[name][1] = True  # the other one, which sees the same
    assert digest() != before


def test_pixel_games_are_repeated_with_their_pictures(tmp_path):
    spec = GameSpec.of("snake", {"pixels": 24, "frame_stack": 2, "snakes": 3, "size": 10})
    replay = replays_of(spec, episodes=1)[0]
    assert replay.config["pixels"] == 24
    replay.write(tmp_path / "a.replay")
    player = ReplayPlayer(Replay.read(tmp_path / "a.replay"))
    assert player.spec.obs_shape == (2, 24, 24) and player.verify() is None


@pytest.mark.parametrize("plain", [0, replay_recorder.MOST_PLAIN])
def test_blocks_are_put_together_again_compressed_or_not(plain, monkeypatch):
    monkeypatch.setattr(replay_recorder, "MOST_PLAIN", plain)
    spec = GameSpec.of("probe", {"steps": 3 * BLOCK + 10})
    recorder = recorded(spec, policy_for(spec), episodes=4, num_envs=2)
    replays = recorder.replays(recorder.episodes)
    assert [replay.steps for replay in replays] == [778, 778, 1556, 1556]
    assert all(ReplayPlayer(replay, spec).verify() is None for replay in replays)
    assert np.isfinite(replays[0].axes).all() and np.abs(replays[0].axes).max() == 1  # clipped


def test_an_evaluation_with_too_many_actions_says_so_and_keeps_none(monkeypatch):
    monkeypatch.setattr(replay_recorder, "MOST_MEMORY", 1000)
    spec = GameSpec.of("probe", {"steps": 600})
    recorder = recorded(spec)
    assert recorder.full
    with pytest.raises(ReplayError, match="so no replay is kept: evaluate fewer episodes"):
        recorder.replays(recorder.episodes[:1])


def test_envs_written_in_python_are_refused_with_the_reason():
    spec = GameSpec.of(external_envs.load("gym:CartPole-v1", {}))
    message = "games written in C only, because an env written in Python"
    with Evaluator(None, spec, episodes=2) as run, pytest.raises(ReplayError, match=message):
        run.record("")


def test_recording_begins_before_the_first_step_and_changes_no_result():
    spec = GameSpec.of("snake", short_episodes("snake"))
    policy = policy_for(spec)
    results = []
    for record in (False, True):
        with Evaluator(policy, spec, episodes=4) as run:
            if record:
                run.record("")
            while not run.done:
                run.step()
            results.append(run.result().fields)
            with pytest.raises(RuntimeError, match="after the first step"):
                run.record("")
    assert results[0] == results[1]
