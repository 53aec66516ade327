"""probe: an observation identifies its agent and step, and determines the reward."""

from __future__ import annotations

import numpy as np
import pytest

import pufferenv
from pufferenv.engine import _engine

EVENTS = {
    "agents": 6,
    "steps": 20,
    "shorter": 10,
    "die": 0.08,
    "respawn": 0.4,
    "cut": 0.05,
    "spawn": 0.3,
    "flash": 0.2,
    "absent": 0.3,
}


def reward_of(obs, choices, push):
    """Return the header's reward of observations (..., 4), choices (..., 2), push (...)."""
    tag, agent, life, step = np.moveaxis(obs.astype(np.int64), -1, 0)
    who = (tag + 31 * agent + 17 * life + 7 * step) % 1024
    whole = 16 * who + 5 * choices[..., 0] + choices[..., 1]
    return whole.astype(np.float32) + push.astype(np.float32) / 2


def random_actions(random, count):
    choices = random.integers(0, [3, 5], (count, 2)).astype(np.int32)
    return choices, random.uniform(-1, 1, (count, 1)).astype(np.float32)


@pytest.mark.parametrize("config", [{}, EVENTS], ids=["fixed", "events"])
def test_rewards_and_observations_follow_from_each_other(config):
    env = pufferenv.make("probe", 5, seed=3, debug=True, **config)
    random = np.random.default_rng(1)
    obs, _ = env.reset()
    obs, alive = obs.copy(), env.alive.copy()
    tags = np.repeat(_engine.mix_seed(3, 5) >> np.uint64(40), env.env_agents)
    agents = np.tile(np.arange(env.env_agents), 5)
    last_life = np.where(alive, 0, -1)
    seen = {"terminated": 0, "truncated": 0, "spawned": 0, "respawned": 0, "lived on": 0}
    for _ in range(400):
        choices, push = random_actions(random, env.num_envs)
        now, rewards, terminated, truncated, infos = env.step(
            {"discrete": choices, "continuous": push}
        )
        expected = np.where(alive, reward_of(obs, choices, push[:, 0]), 0)
        np.testing.assert_array_equal(rewards, expected)
        ended, live = terminated | truncated, env.alive
        np.testing.assert_array_equal(now[live, 0], tags[live])
        np.testing.assert_array_equal(now[live, 1], agents[live])
        on = alive & live & ~ended
        np.testing.assert_array_equal(now[on], obs[on] + [0, 0, 0, 1])
        new = live & ~on
        assert (now[new, 2] > last_life[new]).all()
        assert (now[new, 3] == 0).all()
        last_life[new] = now[new, 2]
        if truncated.any():
            assert infos["_final_obs"][truncated].all()
            np.testing.assert_array_equal(
                infos["final_obs"][truncated], obs[truncated] + [0, 0, 0, 1]
            )
        for name, count in zip(
            seen, (terminated, truncated, new & ~alive, new & ended, on), strict=True
        ):
            seen[name] += int(count.sum())
        obs, alive = now.copy(), live.copy()
    assert all(count > 0 for name, count in seen.items() if config or name != "spawned")


def test_rows_hold_whole_lives_in_order():
    """A batch holds the transitions that happened, each in a slot of its own agent."""
    env = pufferenv.RowEnv("probe", 4, horizon=8, batch_rows=24, seed=3, check=True, **EVENTS)
    env.reset()
    random = np.random.default_rng(2)
    arrays = env.arrays
    flat = {
        name: arrays[name].reshape(-1, *arrays[name].shape[2:])
        for name in ("pool_action", "pool_axis")
    }
    batches = 0
    for _ in range(300):
        choices, push = random_actions(random, env.num_agents)
        arrays["action"][:], arrays["axis"][:] = choices, push
        live = arrays["alive"]
        flat["pool_action"][arrays["slot"][live]] = choices[live]
        flat["pool_axis"][arrays["slot"][live]] = push[live]
        arrays["bootstrap_slot"][:] = -1  # this test computes no values
        env.step()
        env.engine.clear_finals()
        while env.engine.num_full >= env.batch_rows:
            rows = env.engine.batch().copy()
            obs, reward = arrays["pool_observation"][rows], arrays["pool_reward"][rows]
            np.testing.assert_array_equal(
                reward,
                reward_of(obs, arrays["pool_action"][rows], arrays["pool_axis"][rows][..., 0]),
            )
            goes_on = (arrays["pool_done"][rows][:, :-1] == 0) & ~arrays["pool_segment_start"][
                rows
            ][:, 1:]
            np.testing.assert_array_equal(
                obs[:, 1:][goes_on], obs[:, :-1][goes_on] + np.float32([0, 0, 0, 1])
            )
            env.engine.release()
            batches += 1
    assert batches > 10


def test_the_log_counts_what_agents_lived():
    env = pufferenv.make("probe", 2, seed=4, agents=3, steps=7)
    env.reset()
    zeros = {"discrete": np.zeros((6, 2), np.int32), "continuous": np.zeros((6, 1), np.float32)}
    total = np.zeros(6)
    for _ in range(7):
        _, rewards, terminated, truncated, infos = env.step(zeros)
        total += rewards
    assert (terminated | truncated).all()
    fields = infos["final_info"]
    assert fields["length"].tolist() == [7] * 6
    assert fields["lives"].tolist() == [3] * 6
    assert fields["transitions"].tolist() == [21] * 6
    np.testing.assert_allclose(fields["score"], np.repeat(total.reshape(2, 3).sum(1), 3))


def test_impossible_lengths_are_refused_with_a_reason():
    with pytest.raises(ValueError, match="shorter must be below steps"):
        pufferenv.make("probe", 1, steps=5, shorter=5)
