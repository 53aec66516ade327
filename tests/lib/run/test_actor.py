"""Actor: random actions are legal and uniform; recurrent states begin anew where they should."""

import numpy as np
import pytest
import torch

from pufferenv.game_spec import GameSpec
from pufferenv.vector_env import make
from pufferlib.config.options import PolicyOptions
from pufferlib.policies.base import PolicySpec
from pufferlib.policies.factory import make_policy
from pufferlib.run.actor import Actor
from tests.support.games import load_game


def open_env(game, num_envs=3):
    env = make(GameSpec.of(game), num_envs, seed=1)
    return env, env.reset(seed=1)[0]


def test_random_choices_are_uniform_among_the_legal_ones():
    env, obs = open_env(load_game("masked"), 64)
    for _ in range(2):  # in its third step, a choice below 2 is illegal in the first head
        obs = env.step(np.zeros((env.num_envs, 2), np.int32))[0]
    actor, legal = Actor(None, env, seed=3), env.action_masks[0].copy()
    assert legal.tolist() == [False, False, True, True, False, False, True]
    actions = np.concatenate([actor.act(obs) for _ in range(50)])
    assert actions.dtype == np.int32 and actions.shape == (50 * env.num_envs, 2)
    counts = np.bincount(actions[:, 0], minlength=4)
    assert counts[:2].tolist() == [0, 0]
    assert abs(counts[2] - counts[3]) < 5 * np.sqrt(len(actions))  # five standard deviations
    assert set(actions[:, 1]) == {2}


def test_random_axes_lie_within_their_bounds_and_fill_them():
    env, obs = open_env(load_game("continuous"), 500)
    actions = Actor(None, env, seed=3).act(obs)
    assert actions.dtype == np.float32
    for x, axis in enumerate(env.axes):
        width = axis.high - axis.low
        assert (actions[:, x] >= axis.low).all() and (actions[:, x] <= axis.high).all()
        assert np.ptp(actions[:, x]) > 0.9 * width


@pytest.mark.parametrize(
    ("low", "high", "legal"),
    [
        (2.0, np.inf, lambda x: x.min() >= 2 and x.max() > 5),
        (-np.inf, 2.0, lambda x: x.max() <= 2 and x.min() < -1),
        (-np.inf, np.inf, lambda x: x.min() < -2 and x.max() > 2),
        (-3e38, 3e38, lambda x: np.isfinite(x).all() and x.min() < -2e38 and x.max() > 2e38),
    ],
)
def test_random_axes_may_have_no_bound_or_a_far_one(low, high, legal):
    env, _ = open_env(load_game("continuous"))
    values = Actor(None, env, seed=3)._random_axis(low, high, 500).numpy()
    assert len(values) == 500
    assert legal(values)


def test_a_seed_repeats_actions_and_touches_no_global_random_stream():
    env, obs = open_env("breakout")
    before = torch.get_rng_state()
    one, two, other = (
        np.stack([actor.act(obs) for _ in range(20)])
        for actor in (Actor(None, env, seed=5), Actor(None, env, seed=5), Actor(None, env, seed=6))
    )
    assert np.array_equal(one, two) and not np.array_equal(one, other)
    assert torch.equal(torch.get_rng_state(), before)


def test_the_states_of_ended_agents_alone_begin_anew():
    env, obs = open_env("cartpole")
    policy = make_policy(PolicyOptions(name="lstm", hidden_size=8), PolicySpec.of(env.game_spec))
    with Actor(policy.train(), env) as actor:
        assert not policy.training
        actor.act(obs)
        state = actor._state.clone()
        assert state.abs().sum(1).min() > 0
        actor.ended(np.array([False, True, False]))
        assert torch.equal(actor._state[1], policy.initial_state(1)[0])
        assert torch.equal(actor._state[[0, 2]], state[[0, 2]])
    assert policy.training


def test_random_actions_cannot_be_greedy():
    env, _ = open_env("breakout")
    with pytest.raises(ValueError, match="greedy takes the most likely actions"):
        Actor(None, env, greedy=True)
