"""Evaluation plays exactly the first episodes of each env, seeded and without side effects."""

import numpy as np
import pytest
import torch

from pufferenv.game_spec import GameSpec
from pufferenv.vector_env import make
from pufferlib.config.options import PolicyOptions
from pufferlib.ops.output import Output
from pufferlib.policies.base import Policy, PolicySpec
from pufferlib.policies.factory import make_policy
from pufferlib.run import external_envs
from pufferlib.run.evaluate import Evaluator, evaluate, main_field
from tests.support.games import load_game


def policy_for(spec, **options):
    return make_policy(PolicyOptions(hidden_size=8, **options), PolicySpec.of(spec), seed=3)


def plain(result):
    """Return a result without the time that it took."""
    return {key: value for key, value in result.asdict().items() if key != "seconds"}


class Still(Policy):
    """A policy that always pushes left in cartpole."""

    def __init__(self, spec):
        super().__init__(spec)
        self.nothing = torch.nn.Parameter(torch.zeros(1))

    def forward(self, obs, state=None):
        logits = torch.zeros(len(obs), self.spec.num_choices)
        logits[:, 0] = 1
        return Output(logits, None, None, torch.zeros(len(obs))), None


def test_each_env_counts_its_first_episodes_however_long_they_are():
    spec = GameSpec.of("cartpole")
    policy = Still(policy_for(spec).spec)
    episodes, num_envs, seed = 25, 10, 5  # five envs play three episodes, five play two
    env = make(spec, num_envs, seed=seed)
    env.reset(seed=seed)
    lengths = [[] for _ in range(num_envs)]
    for _ in range(200):
        infos = env.step(np.zeros(num_envs, np.int32))[4]
        for i in np.flatnonzero(infos.get("_final_info", [])):
            lengths[i].append(infos["final_info"]["length"][i])
    env.close()
    counted = np.concatenate([found[: 3 if i < 5 else 2] for i, found in enumerate(lengths)])
    result = evaluate(policy, spec, episodes=episodes, num_envs=num_envs, seed=seed, greedy=True)
    assert result.episodes == episodes
    assert result.unfinished == 0
    expected = (counted.mean(), counted.std(), counted.min(), counted.max())
    assert result.fields["length"] == pytest.approx(expected)
    assert len(set(counted)) > 1


@pytest.mark.parametrize("greedy", [False, True])
def test_the_same_seed_gives_the_same_figures_and_another_seed_others(greedy):
    spec = GameSpec.of("cartpole")
    policy = policy_for(spec)
    one, two, other = (
        evaluate(policy, spec, episodes=40, seed=seed, greedy=greedy) for seed in (1, 1, 2)
    )
    assert plain(one) == plain(two)
    assert plain(one) != plain(other)


def test_the_number_of_threads_changes_nothing():
    spec = GameSpec.of("cartpole")
    policy = policy_for(spec)
    one, two = (evaluate(policy, spec, episodes=8, num_threads=threads) for threads in (1, 2))
    assert plain(one) == plain(two)


def test_no_global_random_stream_is_touched_and_the_policy_stays_in_its_mode():
    spec = GameSpec.of("squared")
    policy = policy_for(spec).train()
    before = torch.get_rng_state(), np.random.get_state()[1].copy()
    evaluate(policy, spec, episodes=4)
    assert torch.equal(torch.get_rng_state(), before[0])
    assert np.array_equal(np.random.get_state()[1], before[1])
    assert policy.training


@pytest.mark.parametrize(
    ("name", "field"), [("masked", "score"), ("multihead", "score"), ("continuous", "score")]
)
@pytest.mark.parametrize("greedy", [False, True])
def test_masks_several_heads_and_axes_are_played(name, field, greedy):
    spec = GameSpec.of(load_game(name))
    result = evaluate(policy_for(spec), spec, episodes=6, greedy=greedy)
    assert result.episodes == 6
    assert np.isfinite(result.fields[field].mean)


def test_masked_choices_are_never_made():
    spec = GameSpec.of(load_game("masked"))
    result = evaluate(policy_for(spec), spec, episodes=20)
    assert result.fields["score"] == (0, 0, 0, 0)  # the game counts illegal choices


def test_many_agents_that_die_and_are_spawned_are_one_episode_per_env():
    spec = GameSpec.of("probe", {"agents": 3, "steps": 10, "die": 0.2, "spawn": 0.3})
    result = evaluate(policy_for(spec), spec, episodes=7, num_envs=7)
    assert result.episodes == 7
    assert result.fields["length"] == (10, 0, 10, 10)


class Counter(Policy):
    """A policy whose state counts the steps of a life and is compared with the observation."""

    state_size = 1

    def __init__(self, spec):
        super().__init__(spec)
        self.nothing = torch.nn.Parameter(torch.zeros(1))
        self.wrong = 0

    def forward(self, obs, state=None):
        alive = obs.abs().sum(1) > 0
        self.wrong += int(((obs[:, 3:] != state).squeeze(1) & alive).sum())
        n = len(obs)
        zeros = torch.zeros(n, self.spec.num_choices)
        mean = torch.zeros(n, len(self.spec.low))
        return Output(zeros, mean, mean, torch.zeros(n)), state + 1


def test_a_recurrent_state_begins_anew_with_each_life():
    spec = GameSpec.of(
        "probe",
        {
            "agents": 3,
            "steps": 9,
            "shorter": 5,
            "die": 0.2,
            "respawn": 0.5,
            "cut": 0.1,
            "spawn": 0.3,
        },
    )
    policy = Counter(policy_for(spec).spec)
    evaluate(policy, spec, episodes=20, num_envs=5)
    assert policy.wrong == 0  # probe observes (env, agent, life, step of the life)


def test_a_game_that_never_ends_is_stopped_and_said_so():
    spec = GameSpec.of("cartpole")
    result = evaluate(policy_for(spec), spec, episodes=4, max_steps=2)
    assert (result.episodes, result.unfinished, result.fields) == (0, 4, {})


def test_a_game_without_a_log_cannot_be_evaluated():
    spec = GameSpec.of(load_game("nan_reward"))
    with pytest.raises(ValueError, match="nan_reward logs nothing"):
        evaluate(Still(None), spec)
    assert main_field(spec) is None


def test_the_main_field_is_score_or_the_first():
    assert main_field(GameSpec.of("breakout")) == "score"
    assert main_field(GameSpec.of(load_game("int8"))) == "length"


MANY_LIVES = {"agents": 3, "steps": 9, "die": 0.2, "respawn": 0.5, "cut": 0.1, "spawn": 0.3}
SHOWN = {
    "choices": (lambda: GameSpec.of("breakout"), {}),
    "masks": (lambda: GameSpec.of(load_game("masked")), {}),
    "axes": (lambda: GameSpec.of(load_game("continuous")), {}),
    "recurrent, lives": (lambda: GameSpec.of("probe", MANY_LIVES), {"name": "lstm"}),
    "Python env": (lambda: GameSpec.of(external_envs.load("gym:CartPole-v1", {})), {}),
}


@pytest.mark.parametrize("greedy", [False, True])
@pytest.mark.parametrize("name", SHOWN)
def test_what_shows_the_endings_of_episodes_plays_the_same_ones(name, greedy):
    make_spec, options = SHOWN[name]
    spec = make_spec()
    policy = policy_for(spec, **options)
    arguments = {"episodes": 7, "num_envs": 3, "seed": 2, "greedy": greedy, "max_steps": 600}
    played = []
    for show_endings in (False, True):
        steps = []
        with Evaluator(policy, spec, show_endings=show_endings, **arguments) as run:
            while not run.done:
                acting = run.env.alive.copy()
                step = run.step()
                seen, rewards = run.obs.copy(), step.rewards.copy()
                run.begin_next(step.ended)
                actions = step.actions if isinstance(step.actions, dict) else {"": step.actions}
                steps.append(
                    [array[acting] for array in actions.values()]
                    + [rewards, step.ended, run.obs[run.env.alive]]
                )
                # Not begun anew yet, the last observation of the episode is there to be shown.
                if step.ended.any():
                    assert np.array_equal(seen, run.obs) != show_endings
            played.append((steps, plain(run.result())))
    (one, result), (other, same) = played
    assert result == same == plain(evaluate(policy, spec, **arguments))
    assert len(one) == len(other)
    for arrays, others in zip(one, other, strict=True):
        assert all(np.array_equal(x, y) for x, y in zip(arrays, others, strict=True))


def test_random_actions_are_evaluated_without_a_policy():
    spec = GameSpec.of("cartpole")
    one, two = (evaluate(None, spec, episodes=30, seed=seed) for seed in (1, 1))
    assert plain(one) == plain(two)
    assert 10 < one.fields["length"].mean < 40  # what pushing at random is known to reach


def test_an_evaluation_that_stops_early_counts_what_has_ended():
    spec = GameSpec.of("cartpole")
    with Evaluator(None, spec, episodes=10, num_envs=1, seed=1) as run:
        while run.result().episodes < 4:
            run.step()
        result = run.result()
    assert (result.episodes, result.unfinished) == (4, 6)
