"""Play: keys act as they are bound, a person takes over exactly while Shift is held, and so on."""

from pathlib import Path

import gymnasium
import numpy as np
import pytest

from pufferenv import games
from pufferenv.external.game import ExternalGame
from pufferenv.game_spec import GameSpec
from pufferenv.vector_env import make
from pufferlib.config.options import PolicyOptions
from pufferlib.policies.base import PolicySpec
from pufferlib.policies.factory import make_policy
from pufferlib.run.evaluate import Evaluator
from pufferlib.run.play import PlayError, example_rows, keys_of, play, status
from pufferlib.run.play_controls import Controls
from pufferlib.run.play_session import PlaySession
from pufferlib.run.replay import Replay
from pufferlib.run.replay_player import ReplayPlayer
from tests.support.games import load_game


class Script:
    """A Stage that plays back keys: `events` has those that come before each step."""

    def __init__(self, events, mouse=None):
        self.events, self.mouse = dict(events), mouse
        self.took, self.held, self.shown, self.closed = 0, 0, [], False
        self.played = []

    def show(self, session, controls, *, smooth=True):
        self.shown.append((session.steps, smooth, status(session, controls)))
        self.played.append(controls.person_plays)

    def hold(self, session, controls, seconds):
        self.held += 1

    def take(self, session, controls):
        for key, down in self.events.get(self.took, ()):
            controls.take([(key, down)])
        self.took += 1
        if self.took > 500:
            controls.ended = True
        return self.mouse

    def close(self):
        self.closed = True


def policy_for(spec, **options):
    return make_policy(PolicyOptions(hidden_size=8, **options), PolicySpec.of(spec), seed=3)


def actions_of(session):
    """Note the actions of every step of a session; return the list of (choices, axes)."""
    taken, step = [], session.env.step

    def noted(actions):
        both = actions if isinstance(actions, dict) else {}
        heads = both.get("discrete", actions if session.env.heads else None)
        axes = both.get("continuous", None if session.env.heads else actions)
        taken.append(
            (None if heads is None else heads.copy(), None if axes is None else axes.copy())
        )
        return step(actions)

    session.env.step = noted
    return taken


def played(game, events, *, steps=10, mouse=None, policy=None, config=None, **options):
    """Play `steps` steps with keys; return the session, its controls, the stage and the actions."""
    spec = GameSpec.of(game, config or {})
    session = PlaySession(spec, policy, **options)
    controls = Controls(keys_of(session.env), has_policy=session.has_policy)
    stage = Script({**events, steps: [("escape", True)]}, mouse)
    taken = actions_of(session)
    play(session, controls, stage)
    return session, controls, stage, taken


def test_the_actions_are_those_of_the_keys():
    events = {1: [("left", True)], 3: [("left", False)], 4: [("d", True), ("d", False)]}
    session, _, stage, taken = played("breakout", events, steps=6)
    assert [choices[0, 0] for choices, _ in taken] == [0, 1, 1, 0, 2, 0]
    assert stage.closed and session.steps == 6


def test_several_heads_axes_and_chords_act_together():
    events = {0: [("up", True)], 1: [("right", True)], 2: [("space", True)]}
    _, _, _, taken = played("royale", events, steps=3, seed=3)
    own = [choices[0].tolist() for choices, _ in taken]
    assert own[0] == [3, 0] and own[1] == [2, 0] and own[2][0] == 2 and own[2][1] in (0, 1)
    events = {0: [("d", True), ("3", True)], 1: [("left", True)]}
    _, _, _, taken = played("probe", events, steps=2)
    assert [c[0].tolist() for c, _ in taken] == [[2, 2], [2, 2]]
    assert [a[0, 0] for _, a in taken] == [0, -1]


def test_a_tap_turns_a_snake_once():
    events = {1: [("left", True)], 4: [("left", False)]}
    _, _, _, taken = played("snake", events, steps=6)
    assert [choices[0, 0] for choices, _ in taken] == [0, 1, 0, 0, 0, 0]


def test_a_forbidden_choice_becomes_a_legal_one_for_the_person_and_for_idle_agents():
    spec = GameSpec.of(load_game("masked"))
    session = PlaySession(spec, seed=1)
    for wanted in range(20):
        masks = session.env.action_masks.copy()
        taken = actions_of(session)
        own = np.array([wanted % head.n for head in spec.heads], np.int32)
        session.step((own, np.zeros(0, np.float32)))
        choices, at = taken[-1][0], 0
        for k, head in enumerate(spec.heads):
            mask = masks[:, at : at + head.n]
            at += head.n
            assert mask[np.arange(len(mask)), choices[:, k]].all()
            if mask[session.agent, own[k]]:
                assert choices[session.agent, k] == own[k]
        if session.ended:
            session.begin_next()
    session.close()


@pytest.mark.parametrize("game", ["breakout", "royale", "probe", "snake"])
@pytest.mark.parametrize("kind", ["mlp", "lstm", "random"])
def test_the_run_in_which_no_key_is_pressed_is_the_policys_run(game, kind):
    spec = GameSpec.of(game)
    policy = None if kind == "random" else policy_for(spec, name=kind)
    with Evaluator(policy, spec, episodes=1, seed=5) as run:
        wanted = [run.step() for _ in range(25)]
        wanted = [step.actions for step in wanted[:1]] + [run.obs.copy()]
    session = PlaySession(spec, policy, random=kind == "random", seed=5)
    taken = actions_of(session)
    keys = Controls(keys_of(session.env), has_policy=True)
    for step in range(25):
        if step == 3:  # keys of the game alone change nothing while the policy plays
            keys.take([(key, True) for key in keys.keyboard.keys.keys])
        session.step(keys.action(None))
        if session.ended:
            session.begin_next()
    first = wanted[0]["discrete"] if isinstance(wanted[0], dict) else wanted[0]
    assert (taken[0][0] == first).all()
    assert (session._obs == wanted[-1]).all()
    session.close()


def test_shift_takes_over_exactly_while_it_is_held_and_tab_until_the_next():
    spec = GameSpec.of("breakout")
    policy = policy_for(spec)
    events = {
        2: [("shift", True), ("left", True)],
        5: [("shift", False)],
        7: [("tab", True), ("tab", False)],
        9: [("tab", True), ("tab", False)],
        11: [("shift", True)],
        12: [("left", False), ("shift", False)],  # as when the window loses the focus
    }
    _, _, stage, taken = played("breakout", events, steps=14, policy=policy, seed=2)
    alone = played("breakout", {}, steps=14, policy=policy, seed=2)[3]
    own = [choices[0, 0] for choices, _ in taken]
    others = [choices[0, 0] for choices, _ in alone]
    person = (
        [False] * 2 + [True] * 3 + [False] * 2 + [True] * 2 + [False] * 2 + [True] + [False] * 2
    )
    assert stage.played[1:] == person
    assert all(choice == 1 for choice, is_own in zip(own, person, strict=True) if is_own)
    assert own[:2] == others[:2]  # later the two games differ
    assert {shown[2][1] for shown in stage.shown} == {"you play", "policy plays"}


def test_the_other_agents_are_the_policys_while_a_person_plays():
    spec = GameSpec.of("snake", {"snakes": 4, "size": 16})
    policy = policy_for(spec)
    options = {"policy": policy, "config": spec.config, "steps": 1}
    mine = played("snake", {0: [("shift", True), ("left", True)]}, **options)[3]
    alone = played("snake", {}, **options)[3]
    assert mine[0][0][0, 0] == 1
    assert (mine[0][0][1:] == alone[0][0][1:]).all()


def test_pause_one_step_speed_and_restart():
    events = {
        2: [("p", True), ("p", False)],
        6: [("n", True), ("n", False)],
        8: [("f2", True)],
        9: [("plus", True), ("plus", False), ("plus", True)],
        10: [("r", True)],
    }
    session, controls, stage, taken = played("breakout", events, steps=13)
    # Steps at takes 0, 1, then at 6, then from 8 on; take 10 restarts.
    assert len(taken) == 2 + 1 + 2 + 2
    assert stage.held == 5 and controls.speed == 4 and not controls.paused
    assert session.steps == 2 and [shown[0] for shown in stage.shown] == [0, 1, 2, 3, 4, 5, 0, 1, 2]
    assert [shown[1] for shown in stage.shown].count(False) == 2  # nothing glides to a new game


def test_keys_that_a_game_binds_are_its_own_and_function_keys_always_work():
    session = PlaySession(GameSpec.of("squared"))
    keys = keys_of(session.env)
    keys._heads[0] = keys._heads[0]._replace(chords=(frozenset("p"), frozenset("q")), keys="p q")
    controls = Controls(keys, has_policy=True)
    controls.take([("p", True), ("q", True)])
    assert not controls.paused and not controls.ended
    assert any(line.startswith("F2: pause") for line in controls.lines(False))
    controls.take([("f2", True)])
    assert controls.paused
    controls.take([("f2", True)])  # it is held: no second press
    assert controls.paused
    controls.take([("escape", True)])
    assert controls.ended


def test_when_the_selected_agent_dies_the_next_living_one_is_selected():
    session = PlaySession(GameSpec.of("royale"), random=True, seed=4)
    session.select(0)
    assert session.agent == 0
    changes = 0
    while not session.ended:
        before = session.agent
        session.step(None)
        if session.ended:
            break
        assert session.env.alive[session.agent]
        if session.agent != before:
            changes += 1
            between = np.arange(before, before + (session.agent - before) % session.env.num_envs)
            assert not session.env.alive[between % session.env.num_envs].any()
    assert changes > 0
    dead = int(np.flatnonzero(~session.env.alive)[0])
    before = session.agent
    session.select(dead)
    assert session.agent == before
    session.close()


def test_many_agents_are_selected_in_turn():
    events = {0: [("f6", True), ("f6", False)], 1: [("f6", True)]}
    session, _, stage, _ = played("snake", events, steps=3)
    assert session.agent == 2 and "agent 2" in stage.shown[-1][2][0]


def test_episodes_are_counted_and_their_logs_kept():
    session, _, stage, _ = played("squared", {}, steps=400)
    assert len(session.episodes) > 8 and {log["score"] for log in session.episodes} == {0.0}
    spec = GameSpec.of("squared", {"size": 5})
    session = PlaySession(spec, random=True)
    stage = Script({})
    play(session, Controls(keys_of(session.env), has_policy=True), stage, episodes=3)
    assert len(session.episodes) == 3 and stage.held == 3


@pytest.mark.parametrize("steps", [255, 256, 257, 700])
def test_what_is_played_is_recorded_and_repeated_to_the_bit(steps, tmp_path):
    path = tmp_path / "mine.replay"
    events = {3: [("left", True)], 9: [("left", False), ("right", True)]}
    session, _, _, taken = played(
        "breakout", events, steps=min(steps, 500), record=path, config={"max_steps": 60}
    )
    replay = Replay.read(path)
    assert session.recorded == [path] and replay.steps == len(taken) == min(steps, 500)
    assert (replay.choices[:, 0, 0] == [choices[0, 0] for choices, _ in taken]).all()
    assert replay.start == 0 and replay.log is None
    assert ReplayPlayer(replay).verify() is None


def test_a_recording_names_who_played(tmp_path):
    shift = {2: [("shift", True)], 3: [("shift", False)]}
    for events, options, wanted in (
        ({}, {"random": True}, "random"),
        (shift, {"random": True}, "random and a person"),
        ({}, {}, "a person"),
    ):
        path = tmp_path / "a.replay"
        played("breakout", events, steps=5, record=path, label="random", **options)
        assert Replay.read(path).policy == wanted


def test_a_restart_begins_another_game_and_another_file(tmp_path):
    path = tmp_path / "mine.replay"
    events = {20: [("r", True)]}
    session, _, _, _ = played("breakout", events, steps=30, record=path)
    assert session.recorded == [path, tmp_path / "mine-2.replay"]
    first, second = map(Replay.read, session.recorded)
    assert (first.steps, second.steps) == (20, 9) and first.seed != second.seed
    assert all(ReplayPlayer(replay).verify() is None for replay in (first, second))


def test_a_whole_episode_that_is_recorded_has_its_log(tmp_path):
    path = tmp_path / "mine.replay"
    session = PlaySession(GameSpec.of("royale"), random=True, seed=2, record=path)
    controls = Controls(keys_of(session.env), has_policy=True)
    while not session.ended:
        session.step(controls.action(None))
    session.keep()
    session.close()
    replay = Replay.read(path)
    assert replay.log == session.episodes[0] and replay.episode == 0
    assert ReplayPlayer(replay).verify() is None


def test_a_game_without_a_log_is_played_too(tmp_path):
    spec = GameSpec.of(load_game("loaded"))
    assert not spec.log_fields
    session = PlaySession(spec, random=True, record=tmp_path / "a.replay")
    for _ in range(50):
        session.step(None)
        if session.ended:
            session.begin_next()
    session.keep()
    session.close()
    assert ReplayPlayer(Replay.read(tmp_path / "a.replay"), spec).verify() is None


def test_a_game_without_keys_is_refused_with_the_rows_to_begin_with(tmp_path):
    text = (Path(games.__file__).parents[1] / "ocean" / "squared.h").read_text()
    start = text.index("#define PUF_KEYS")
    rows = text[start : text.index("#include")]
    header = tmp_path / "squared.h"
    header.write_text(text.replace(rows, ""))
    env = make(GameSpec.of(header), 1)
    with pytest.raises(PlayError, match=r"squared has no keys for a person.*no PUF_KEYS") as error:
        keys_of(env)
    assert 'X(move, 1, "left a", "move 1")' in str(error.value)
    env.close()
    # The rows that the message shows work.
    example = example_rows(env.heads, env.axes)
    header.write_text(text.replace(rows, f"{example}\n"))
    fresh = make(GameSpec.of(header), 1)
    assert keys_of(fresh).action(["left"])[0].tolist() == [1]
    fresh.close()


def test_a_game_that_does_not_draw_is_refused():
    env = make(GameSpec.of(load_game("continuous")), 1)
    with pytest.raises(games.NotDrawn, match="continuous does not draw itself"):
        keys_of(env)
    env.close()


def test_the_mouse_moves_an_axis():
    spec = GameSpec.of("probe")
    session = PlaySession(spec)
    keys = keys_of(session.env)
    row = keys._axes[0]._replace(value=0, chords=(), mouse=0, keys="mouse-x")
    keys._axes = [row]
    stage = Script({2: [("escape", True)]}, mouse=(0.75, 0.5))
    taken = actions_of(session)
    play(session, Controls(keys, has_policy=False), stage)
    assert [axes[0, 0] for _, axes in taken] == [0.5, 0.5]


def test_envs_written_in_python_are_played_with_their_own_keys_or_digits():
    class Up(gymnasium.Env):
        metadata = {"render_modes": ["rgb_array"], "render_fps": 20}  # noqa: RUF012
        observation_space = gymnasium.spaces.Box(0, 9, (1,), np.float32)
        action_space = gymnasium.spaces.Discrete(3)
        render_mode = "rgb_array"
        keys = {(ord("w"),): 2, ("s",): 1}  # noqa: RUF012

        def reset(self, seed=None, options=None):
            super().reset(seed=seed)
            self.steps = 0
            return np.zeros(1, np.float32), {}

        def step(self, action):
            self.steps += 1
            return np.full(1, action, np.float32), float(action), self.steps == 5, False, {}

        def render(self):
            return np.zeros((40, 60, 3), np.uint8)

    class Keyed(Up):
        def get_keys_to_action(self):
            return self.keys

    for maker, events, wanted in (
        (Keyed, {0: [("w", True)], 2: [("w", False)], 3: [("s", True)]}, [2, 2, 0, 1]),
        (Up, {0: [("2", True)], 2: [("2", False)], 3: [("1", True)]}, [2, 2, 0, 1]),
    ):
        spec = GameSpec.of(ExternalGame(maker, name="up"))
        session = PlaySession(spec)
        taken = actions_of(session)
        stage = Script({**events, 4: [("escape", True)]})
        play(session, Controls(keys_of(session.env), has_policy=False), stage)
        assert [int(choices.reshape(-1)[0]) for choices, _ in taken] == wanted
        session.close()
