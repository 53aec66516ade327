"""make(): spaces, seeds, results that depend only on the seed, actions, buffers, copies."""

from __future__ import annotations

import hashlib
import pickle
from multiprocessing.shared_memory import SharedMemory

import gymnasium
import numpy as np
import pytest
from gymnasium.error import ClosedEnvironmentError, ResetNeeded
from gymnasium.spaces import Box, Dict, Discrete, MultiDiscrete
from gymnasium.vector import AutoresetMode

import pufferenv
from pufferenv import games
from tests.support.games import load_game
from tests.support.paths import GAME_HEADERS

# Configs with many events: deaths, spawns, cuts, short episodes.
LIVELY = {
    "squared": {"size": 5},
    "probe": {"steps": 9, "shorter": 5, "die": 0.1, "spawn": 0.3, "cut": 0.1, "absent": 0.2},
}


def actions_of(env, rng):
    """Return legal random actions for any action space, integers as int32."""

    def of(space):
        if isinstance(space, Dict):
            return {key: of(inner) for key, inner in space.items()}
        if space.dtype.kind == "f":
            return rng.uniform(space.low, space.high).astype(np.float32)
        high = space.nvec - 1 if isinstance(space, MultiDiscrete) else space.high
        return rng.integers(0, high, endpoint=True).astype(np.int32)

    return of(env.action_space)


def digest(env, steps):
    """Return a hash of everything that a reset and `steps` steps of random actions return."""
    rng, seen = np.random.default_rng(0), hashlib.sha256()

    def add(name, value):
        seen.update(name.encode())
        if isinstance(value, dict):
            for key in sorted(value):
                add(key, value[key])
        else:
            seen.update(value.tobytes())

    add("reset", env.reset()[0])
    for _ in range(steps):
        *arrays, infos = env.step(actions_of(env, rng))
        for array in arrays:
            add("array", array)
        add("infos", infos)
    return seen.hexdigest()


# --- determinism ---------------------------------------------------------------------------
@pytest.mark.parametrize("name", games.names())
def test_results_are_the_same_bytes_for_any_number_of_threads(name):
    def run(threads):
        with_config = LIVELY.get(name, {})
        env = pufferenv.make(name, 300, num_threads=threads, seed=5, **with_config)
        return digest(env, 60)

    one = run(1)
    assert [run(threads) for threads in (2, 3, 8)] == [one] * 3


@pytest.mark.parametrize("mode", ["next_step", "disabled"])
def test_threads_change_nothing_in_the_other_modes_either(mode):
    def run(threads):
        env = pufferenv.make(
            "probe", 200, num_threads=threads, seed=5, autoreset_mode=mode, **LIVELY["probe"]
        )
        return digest(env, 60)

    assert run(3) == run(1)


@pytest.mark.parametrize("name", ["squared", "cartpole", "breakout", "probe"])
def test_an_env_lives_the_same_life_among_four_or_a_hundred(name):
    few, many = (pufferenv.make(name, n, seed=9, **LIVELY.get(name, {})) for n in (4, 100))
    count = few.num_envs
    for env in (few, many):
        env.reset()
    rng = np.random.default_rng(0)
    for _ in range(200):
        actions = actions_of(many, rng)
        if isinstance(actions, dict):
            part = {key: value[:count] for key, value in actions.items()}
        else:
            part = actions[:count]
        for ours, theirs in zip(few.step(part)[:4], many.step(actions)[:4], strict=True):
            np.testing.assert_array_equal(ours, theirs[:count])


def test_reset_with_a_seed_begins_the_same_run_again_and_without_goes_on():
    env = pufferenv.make("squared", 8, seed=3, size=5)
    first = digest(env, 50)
    assert digest(env, 50) != first  # other episodes of the same streams
    env.reset(seed=3)
    env2 = pufferenv.make("squared", 8, seed=4, size=5)
    np.testing.assert_array_equal(env2.reset(seed=np.int64(3))[0], env.reset(seed=3)[0])
    assert env.np_random_seed == 3
    again = pufferenv.make("squared", 8, seed=3, size=5)
    assert digest(again, 50) == first
    # reset() after construction begins the first episode, as reset(seed=...) does
    np.testing.assert_array_equal(
        pufferenv.make("squared", 8, seed=3, size=5).reset()[0], env.reset(seed=3)[0]
    )


def test_a_list_of_seeds_is_one_per_env():
    env = pufferenv.make("squared", 3, seed=[5, 6, 5])
    seen = env.reset()[0].copy()
    np.testing.assert_array_equal(seen[0], seen[2])
    np.testing.assert_array_equal(seen[1], env.reset(seed=[6, 6, 6])[0][1])
    np.testing.assert_array_equal(seen[0], pufferenv.make("squared", 1, seed=5).reset()[0][0])
    with pytest.raises(ValueError, match="seed has 2 entries; it must have one per env: 3"):
        env.reset(seed=[1, 2])


def test_no_seed_is_another_run_each_time():
    runs = [pufferenv.make("squared", 64).reset()[0].tobytes() for _ in range(2)]
    assert runs[0] != runs[1]


# --- Gymnasium's interface -------------------------------------------------------------------
@pytest.mark.parametrize(
    ("game", "observation", "action"),
    [
        ("squared", Box(0, 255, (11, 11), np.uint8), Discrete(5)),
        ("cartpole", Box(-np.inf, np.inf, (4,), np.float32), Discrete(2)),
        ("int8", Box(-128, 127, (2, 3, 4), np.int8), Discrete(4)),
        (
            "multihead",
            Box(-(2**31), 2**31 - 1, (2, 1, 3, 2), np.int32),
            MultiDiscrete([2, 3, 5]),
        ),
        ("continuous", Box(-np.inf, np.inf, (2,), np.float32), Box(-1, 1, (2,), np.float32)),
        (
            "probe",
            Box(-np.inf, np.inf, (4,), np.float32),
            Dict(discrete=MultiDiscrete([3, 5]), continuous=Box(-1, 1, (1,), np.float32)),
        ),
    ],
)
def test_spaces_come_from_the_header(game, observation, action):
    header = GAME_HEADERS / f"{game}.h"
    env = pufferenv.make(header if header.exists() else game, 3)
    assert env.single_observation_space == observation
    assert env.single_action_space == action
    assert env.num_envs == 3 * env.env_agents
    assert env.observation_space.shape == (env.num_envs, *observation.shape)
    assert env.observation_space.contains(env.reset(seed=1)[0])
    env.action_space.seed(0)
    for _ in range(5):
        observations, rewards, terminations, truncations, infos = env.step(
            env.action_space.sample()
        )
        assert env.observation_space.contains(observations)
        assert (rewards.dtype, rewards.shape) == (np.float32, (env.num_envs,))
        assert (terminations.dtype, terminations.shape) == (np.bool_, (env.num_envs,))
        assert (truncations.dtype, truncations.shape) == (np.bool_, (env.num_envs,))
        assert isinstance(infos, dict)


def test_it_is_a_gymnasium_vector_env():
    env = pufferenv.make("squared", 2)
    assert isinstance(env, gymnasium.vector.VectorEnv)
    assert isinstance(env, pufferenv.PufferVectorEnv)
    assert (env.spec, env.render_mode, env.closed) == (None, None, False)
    assert env.autoreset_mode is env.metadata["autoreset_mode"] is AutoresetMode.SAME_STEP
    assert env.unwrapped is env
    assert repr(env) == "PufferVectorEnv(num_envs=2)"
    assert env.alive.tolist() == [True, True]
    for given in ("next_step", "NextStep", "NEXT_STEP", AutoresetMode.NEXT_STEP):
        made = pufferenv.make("squared", 1, autoreset_mode=given)
        assert made.autoreset_mode is AutoresetMode.NEXT_STEP
    with pytest.raises(
        ValueError, match="autoreset_mode='never'; it must be one of 'next_step', 'same"
    ):
        pufferenv.make("squared", 1, autoreset_mode="never")
    with pytest.raises((TypeError, pickle.PicklingError)):
        pickle.dumps(env)


def test_the_log_is_of_the_episodes_since_the_last_call():
    env = pufferenv.make("squared", 4, seed=0, size=3)
    env.reset()
    scores = []
    for _ in range(9):  # down and off the grid, unless the target is there
        _, rewards, terminations, truncations, _ = env.step(np.ones(4, np.int32))
        scores += rewards[terminations | truncations].tolist()
    log = env.log()
    assert log["episodes"][0] == len(scores)
    assert log["score"] == pytest.approx((np.mean(scores), np.std(scores), -1, 1))
    assert env.log() == {"episodes": (0, 0, 0, 0)}


# --- actions ---------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("actions", "message"),
    [
        (np.zeros(3, np.int32), r"actions has shape \(3,\) and dtype int32; it must be \(4,\)"),
        (
            np.zeros((4, 2), np.int32),
            r"actions has shape \(4, 2\) .* it must be \(4,\) or \(4, 1\)",
        ),
        (np.zeros(4, np.float32), "dtype float32; it must be .* int32 or int64"),
        (np.zeros(4, np.bool_), "dtype bool; it must be .* int32 or int64"),
        (np.array([0, 0, 5, 0], np.int32), r"actions\[2\]: move=5 is outside \[0, 4\]: stay, down"),
        (np.array([0, -1, 0, 9]), r"actions\[1\]: move=-1 is outside \[0, 4\]"),
        (np.array([0, 2**32, 0, 0]), r"actions\[1\]: move=4294967296 is outside \[0, 4\]"),
        (None, "squared takes 1 per agent, and nothing was given"),
        ("left", "dtype <U4; it must be"),
    ],
)
def test_wrong_actions_are_named_and_nothing_moves(actions, message):
    env, twin = (pufferenv.make("squared", 4, seed=1) for _ in range(2))
    env.reset(), twin.reset()
    with pytest.raises(ValueError, match=message):
        env.step(actions)
    legal = np.array([1, 2, 3, 4])
    for ours, theirs in zip(env.step(legal)[:4], twin.step(legal)[:4], strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_actions_may_be_a_list_a_column_or_strided():
    legal = np.array([1, 2, 3, 4], np.int32)
    for given in (legal.tolist(), legal[:, None], np.repeat(legal, 2)[::2], legal.astype(np.uint8)):
        env, twin = (pufferenv.make("squared", 4, seed=1) for _ in range(2))
        env.reset(), twin.reset()
        np.testing.assert_array_equal(env.step(given)[0], twin.step(legal)[0])


def test_a_wrong_choice_of_one_of_several_heads_names_the_head():
    env = pufferenv.make(load_game("multihead"), 2)
    env.reset()
    with pytest.raises(ValueError, match=r"actions\[1\]: middle=3 is outside \[0, 2\]: digit"):
        env.step(np.array([[0, 0, 0], [1, 3, 4]]))
    with pytest.raises(ValueError, match=r"shape \(2,\) .* it must be \(2, 3\) and int32 or int64"):
        env.step(np.zeros(2, np.int32))


def test_axes_are_clipped_and_a_nan_is_named():
    env, twin = (pufferenv.make(load_game("continuous"), 2, seed=1) for _ in range(2))
    env.reset(), twin.reset()
    np.testing.assert_array_equal(
        env.step(np.full((2, 2), 7.0, np.float32))[0], twin.step(np.ones((2, 2)))[0]
    )
    with pytest.raises(ValueError, match=r"axes\[1\]: up=nan is not a number"):
        env.step(np.array([[0, 0], [0, np.nan]], np.float32))
    with pytest.raises(ValueError, match=r"axes has shape \(2, 2\) and dtype int64; it must be"):
        env.step(np.zeros((2, 2), np.int64))


def test_both_kinds_of_action_come_as_a_dict():
    env = pufferenv.make("probe", 1, agents=2)
    env.reset()
    with pytest.raises(TypeError, match=r"dict with 'discrete' and 'continuous', not ndarray"):
        env.step(np.zeros((2, 2), np.int32))
    with pytest.raises(TypeError, match="dict with 'discrete' and 'continuous', not 'left'"):
        env.step({"left": 0})
    rewards = []
    for first, second, push in ((0, 0, 0.0), (2, 4, 1.0), (2, 4, 9.0)):  # clipped to 1
        env.reset(seed=1)
        choices = np.array([[first, second], [0, 0]], np.int32)
        rewards.append(env.step({"discrete": choices, "continuous": [[push], [0.0]]})[1].copy())
    assert (rewards[1] - rewards[0]).tolist() == [5 * 2 + 4 + 0.5, 0]
    assert (rewards[2] - rewards[0]).tolist() == [5 * 2 + 4 + 0.5, 0]


# --- memory ----------------------------------------------------------------------------------
def test_without_copy_the_arrays_are_the_same_memory_and_with_copy_their_own():
    env = pufferenv.make("squared", 4, seed=1)
    first = env.reset()[0]
    results = env.step(np.ones(4, np.int32))
    assert results[0] is first
    assert all(a is b for a, b in zip(results[:4], env.step(np.ones(4, np.int32))[:4], strict=True))
    copying = pufferenv.make("squared", 4, seed=1, copy=True, size=3)
    kept = [copying.reset()[0]]
    for _ in range(20):
        *arrays, infos = copying.step(np.ones(4, np.int32))
        kept += arrays
        kept += [value for value in infos.values() if isinstance(value, np.ndarray)]
        kept += list(infos.get("final_info", {}).values())
    seen = [array.copy() for array in kept]
    copying.step(np.full(4, 2, np.int32))
    copying.reset(seed=9)
    for array, before in zip(kept, seen, strict=True):
        np.testing.assert_array_equal(array, before)
    assert not any(np.shares_memory(a, b) for a in kept[:5] for b in kept[5:])


def test_results_land_in_the_callers_buffers():
    memory = SharedMemory(create=True, size=4096)
    try:
        buffers = {
            "observations": np.full((4, 11, 11), 77, np.uint8),
            "rewards": bytearray(16),
            "terminations": memory.buf[:4],
            "truncations": memoryview(np.ones(4, np.bool_)),
        }
        env, twin = (pufferenv.make("squared", 4, seed=1, buffers=b) for b in (buffers, None))
        env.reset(), twin.reset()
        for _ in range(40):
            actions = np.array([1, 2, 3, 4], np.int32)
            ours, theirs = env.step(actions)[:4], twin.step(actions)[:4]
            for got, given, wanted in zip(ours, buffers.values(), theirs, strict=True):
                assert np.shares_memory(got, np.frombuffer(given, np.uint8))
                np.testing.assert_array_equal(got, wanted)
        env.close()
        del env, ours, got, given, buffers
    finally:
        memory.close()
        memory.unlink()


@pytest.mark.parametrize(
    ("buffers", "message"),
    [
        ({"rewards": np.zeros(5, np.float32)}, r"rewards needs .* \(4,\) .* has shape \(5,\)"),
        ({"rewards": np.zeros(4)}, "rewards needs .* dtype float32; this one has .* float64"),
        ({"rewards": bytes(16)}, "rewards needs .* read-only"),
        ({"rewards": np.zeros(8, np.float32)[::2]}, "rewards needs .* strides"),
        ({"observations": np.zeros((4, 121), np.uint8)}, r"needs .* \(4, 11, 11\) .* \(4, 121\)"),
        ({"truncations": [False] * 4}, "truncations needs .* list has no buffer"),
        (
            {"reward": np.zeros(4, np.float32)},
            "buffers has no 'reward', only observations, rewards",
        ),
    ],
)
def test_buffers_that_do_not_fit_are_refused_by_name(buffers, message):
    with pytest.raises(ValueError, match=message):
        pufferenv.make("squared", 4, buffers=buffers)


def test_two_buffers_may_not_be_the_same_memory():
    both = np.zeros(4, np.bool_)
    with pytest.raises(
        ValueError, match=r"\['terminations'\] and .*\['truncations'\] share memory"
    ):
        pufferenv.make("squared", 4, buffers={"terminations": both, "truncations": both})


# --- beginning and end -------------------------------------------------------------------------
def test_closing_twice_is_fine_and_using_it_afterwards_is_an_error():
    env = pufferenv.make("squared", 4, num_threads=3)
    with pytest.raises(ResetNeeded, match=r"step\(\) was called before the first reset"):
        env.step(np.zeros(4, np.int32))
    env.reset()
    env.close()
    env.close()
    assert env.closed
    for use in (lambda: env.step(np.zeros(4, np.int32)), env.reset, env.log):
        with pytest.raises(ClosedEnvironmentError, match="squared: the vector env was closed"):
            use()


def test_a_game_outside_the_package_is_made_by_its_path(tmp_path):
    folder = tmp_path / "my games"
    folder.mkdir()
    header = folder / "multihead.h"
    header.write_bytes((GAME_HEADERS / "multihead.h").read_bytes())
    ours, theirs = (
        pufferenv.make(path, 4, seed=2) for path in (header, GAME_HEADERS / "multihead.h")
    )
    assert digest(ours, 40) == digest(theirs, 40)
