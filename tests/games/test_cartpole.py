"""cartpole against Gymnasium's CartPole-v1: the same states, ends and rewards."""

from __future__ import annotations

import ctypes
import math
import subprocess

import gymnasium
import numpy as np
import pytest

import pufferenv
from pufferenv.toolchain.targets import ROOT

THETA_LIMIT = 12 * 2 * math.pi / 360


def balance(obs):
    """Return the actions (A,) int32 of a linear policy that never falls, for (A, 4)."""
    return (obs @ np.array([0.1, 0.5, 5.0, 1.0]) > 0).astype(np.int32)


def oracle(state):
    """Return Gymnasium's env with its state set to `state` (4,)."""
    env = gymnasium.make("CartPole-v1").unwrapped
    env.reset()
    env.state = np.asarray(state, np.float64)
    return env


def test_a_thousand_balanced_steps_have_gymnasiums_states():
    """Five episodes of 200 steps: the motion is unstable, so a difference in the last bit of libm's
    sine grows from 1e-17 to 1e-10 in one of them, and beyond any tolerance in a thousand steps.
    """
    env = pufferenv.make("cartpole", 4, seed=5, max_steps=200)
    obs, _ = env.reset()
    oracles = [oracle(state) for state in obs]
    for _ in range(1000):
        actions = balance(obs)
        obs, rewards, terminated, truncated, infos = env.step(actions)
        assert not terminated.any()
        assert (rewards == 1).all()
        expected = np.stack([o.step(a)[0] for o, a in zip(oracles, actions, strict=True)])
        seen = infos["final_obs"] if truncated.all() else obs
        np.testing.assert_allclose(seen, expected, rtol=1e-6, atol=1e-7)
        if truncated.all():
            oracles = [oracle(state) for state in obs]


def test_random_play_ends_where_gymnasiums_does():
    """The final observation, one step beyond a limit, equals Gymnasium's."""
    env = pufferenv.make("cartpole", 8, seed=6)
    random = np.random.default_rng(0)
    obs, _ = env.reset()
    oracles = [oracle(state) for state in obs]
    ends = 0
    for _ in range(500):
        actions = random.integers(0, 2, 8, dtype=np.int32)
        obs, _, terminated, truncated, infos = env.step(actions)
        assert not truncated.any()
        for i, (reference, action) in enumerate(zip(oracles, actions, strict=True)):
            expected, _, fallen, _, _ = reference.step(action)
            assert terminated[i] == fallen
            seen = infos["final_obs"][i] if fallen else obs[i]
            np.testing.assert_allclose(seen, expected, rtol=1e-6, atol=1e-6)
            if fallen:
                ends += 1
                oracles[i] = oracle(obs[i])
    assert ends > 100


def test_starts_are_uniform_between_minus_and_plus_005():
    starts, _ = pufferenv.make("cartpole", 20_000, seed=7).reset()
    assert starts.min() >= -0.05
    assert starts.max() < 0.05
    np.testing.assert_allclose(starts.mean(0), 0, atol=0.001)
    np.testing.assert_allclose(starts.std(0), 0.1 / math.sqrt(12), rtol=0.02)


def test_the_time_limit_truncates_and_a_fall_terminates():
    env = pufferenv.make("cartpole", 3, seed=8, max_steps=50)
    obs, _ = env.reset()
    for step in range(1, 101):
        obs, _, terminated, truncated, infos = env.step(balance(obs))
        assert not terminated.any()
        assert truncated.all() == (step % 50 == 0)
        assert truncated.any() == truncated.all()
        if truncated.all():
            assert infos["final_info"]["score"].tolist() == [50.0] * 3
            assert infos["final_info"]["length"].tolist() == [50.0] * 3


def test_a_fall_in_the_last_allowed_step_is_terminal():
    push = np.ones(1, np.int32)
    env = pufferenv.make("cartpole", 1, seed=9)
    env.reset(seed=9)
    length = 1
    while not env.step(push)[2][0]:
        length += 1
    for limit, ended in ((length, "terminated"), (length - 1, "truncated")):
        env = pufferenv.make("cartpole", 1, seed=9, max_steps=limit)
        env.reset()
        for _ in range(limit):
            _, _, terminated, truncated, _ = env.step(push)
        assert (terminated[0], truncated[0]) == (ended == "terminated", ended == "truncated")


@pytest.mark.parametrize("name", ["sin", "cos"])
def test_the_headers_polynomials_are_within_1e_15(name, tmp_path):
    source, library = tmp_path / "angles.c", tmp_path / "angles.so"
    source.write_text(
        '#include "ocean/cartpole.h"\n'
        "void small(const double *angles, double *out, long n) {\n"
        f"    for (long i = 0; i < n; i++) out[i] = small_{name}(angles[i]);\n"
        "}\n"
    )
    flags = ["-w", "-O2", "-ffp-contract=off", "-shared", "-fPIC", f"-I{ROOT}"]
    subprocess.run(["cc", *flags, str(source), "-o", str(library)], check=True)
    angles = np.linspace(-THETA_LIMIT, THETA_LIMIT, 200_001)
    values = np.empty_like(angles)
    doubles = ctypes.POINTER(ctypes.c_double)
    ctypes.CDLL(str(library)).small(
        angles.ctypes.data_as(doubles), values.ctypes.data_as(doubles), ctypes.c_long(angles.size)
    )
    assert np.abs(values - getattr(np, name)(angles)).max() < 1e-15
