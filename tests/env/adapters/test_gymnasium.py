"""Gymnasium's registry: `make` and `make_vec` on every game, its checkers, its own vector env."""

from __future__ import annotations

import warnings
from functools import cache, partial

import gymnasium
import numpy as np
import pytest
from gymnasium.error import ResetNeeded
from gymnasium.utils import performance
from gymnasium.utils.env_checker import check_env
from gymnasium.utils.env_match import check_environments_match
from gymnasium.vector import AutoresetMode, SyncVectorEnv

import pufferenv
from pufferenv import games
from tests.env.toolchain.test_packaging import python
from tests.games.test_every_game import actions_of
from tests.support.games import load_game
from tests.support.paths import GAME_HEADERS as TESTS

NAMES = games.names()
MODES = list(AutoresetMode)


@cache
def agents(name):
    env = pufferenv.make(name, 1)
    return env.env_agents


SINGLE = [name for name in NAMES if agents(name) == 1]
MANY = [name for name in NAMES if agents(name) > 1]


# --- the registry ------------------------------------------------------------------------------
@pytest.mark.parametrize(
    "imports", ["import gymnasium, pufferenv", "import pufferenv, gymnasium", "import gymnasium"]
)
def test_the_ids_are_there_whatever_is_imported_first(imports):
    prefix = "" if "pufferenv" in imports else "pufferenv:"
    code = f"""
{imports}
env = gymnasium.make_vec("{prefix}puffer/squared-v0", num_envs=3, size=5)
print(env.reset(seed=1)[0].shape, *sorted(name for name in gymnasium.registry if "puffer" in name))
"""
    done = python(code)
    assert done.stdout.split() == ["(3,", "5,", "5)", *(f"puffer/{n}-v0" for n in NAMES)], done


def test_registering_loads_no_engine_and_no_torch():
    code = """
import sys, gymnasium, pufferenv
assert "puffer/squared-v0" in gymnasium.registry
print({"torch", "pufferlib", "pufferenv.engine._engine", "pufferenv.vector_env"} & {*sys.modules})
"""
    assert python(code).stdout == "set()\n"


def test_a_spec_makes_its_env_again():
    one = gymnasium.make("puffer/squared-v0", size=5)
    assert one.spec.id == "puffer/squared-v0"
    assert one.spec.make().observation_space.shape == (5, 5)
    assert gymnasium.envs.registration.EnvSpec.from_json(one.spec.to_json()) == one.spec
    many = gymnasium.make_vec("puffer/squared-v0", num_envs=3, size=5, autoreset_mode="disabled")
    again = gymnasium.make_vec(many.spec)
    assert again.spec == many.spec
    assert again.observation_space.shape == (3, 5, 5)
    assert again.autoreset_mode is AutoresetMode.DISABLED


def test_what_make_vec_returns_is_the_callers_to_keep_unless_copy_is_false():
    env = gymnasium.make_vec("puffer/squared-v0", num_envs=2)
    seen = [env.reset()[0], *(env.step(np.ones(2, int))[0] for _ in range(2))]
    assert not np.shares_memory(seen[0], seen[1])
    assert not np.shares_memory(seen[1], seen[2])
    lent = gymnasium.make_vec("puffer/squared-v0", num_envs=2, copy=False)
    assert lent.reset()[0] is lent.step(np.ones(2, int))[0]


def test_make_vec_has_gymnasiums_default_mode():
    env = gymnasium.make_vec("puffer/squared-v0", num_envs=2)
    theirs = gymnasium.make_vec("CartPole-v1", num_envs=2, vectorization_mode="sync")
    assert env.metadata["autoreset_mode"] is env.autoreset_mode is theirs.metadata["autoreset_mode"]


@pytest.mark.parametrize("name", MANY)
def test_of_a_game_of_many_agents_make_vec_makes_places_and_make_says_who_has_many(name):
    env = gymnasium.make_vec(f"puffer/{name}-v0", num_envs=3)
    assert env.num_envs == 3 * agents(name)
    message = (
        rf"{name} has {agents(name)} agents .* a gymnasium.Env has one: use a PettingZoo ParallelE"
    )
    with pytest.raises(ValueError, match=message):
        gymnasium.make(f"puffer/{name}-v0")


def test_a_config_of_one_agent_makes_a_single_env_of_a_game_of_many():
    env = gymnasium.make("puffer/snake-v0", snakes=1)
    check_env(env.unwrapped)


# --- Gymnasium's checkers ----------------------------------------------------------------------
@pytest.mark.parametrize("name", SINGLE)
def test_check_env_has_nothing_to_say_but_that_floats_have_no_bounds(name):
    env = gymnasium.make(f"puffer/{name}-v0").unwrapped
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        if env.observation_space.dtype.kind == "f":
            message = ".*Box observation space m..imum value is -?infinity"
            warnings.filterwarnings("ignore", message)
        check_env(env)


@pytest.mark.parametrize("name", SINGLE)
def test_two_of_a_kind_match(name):
    one, other = (gymnasium.make(f"puffer/{name}-v0") for _ in range(2))
    check_environments_match(one, other, num_steps=300, seed=3)
    assert one.unwrapped.np_random_seed == other.unwrapped.np_random_seed


@pytest.mark.skipif(not hasattr(performance, "benchmark_vector_step"), reason="gymnasium>=1.3")
@pytest.mark.parametrize(
    ("name", "mode"),
    # In DISABLED mode the benchmark resets agents one by one; envs of several agents forbid that.
    [(n, m) for n in NAMES for m in MODES if n in SINGLE or m is not AutoresetMode.DISABLED],
)
def test_gymnasiums_benchmark_runs(name, mode):
    env = gymnasium.make_vec(f"puffer/{name}-v0", num_envs=4, autoreset_mode=mode)
    assert performance.benchmark_vector_step(env, target_duration=0, seed=1) > 0
    if agents(name) == 1:
        env = gymnasium.make(f"puffer/{name}-v0")
        assert performance.benchmark_step(env, target_duration=0, seed=1) > 0


# --- against Gymnasium's own vector env over the single ones -------------------------------------
def assert_infos_equal(ours, theirs):
    """Assert equal keys, equal masks, and equal values where the masks are set."""
    assert set(ours) == set(theirs)
    for key in ours:
        if key.startswith("_"):
            np.testing.assert_array_equal(ours[key], theirs[key])
        elif isinstance(ours[key], dict):
            assert_infos_equal(ours[key], theirs[key])
        else:
            mask = theirs[f"_{key}"]
            wanted = theirs[key][mask]
            wanted = np.stack(wanted) if wanted.dtype == object else wanted
            np.testing.assert_array_equal(ours[key][mask], wanted)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(
    ("game", "config"), [*((name, {}) for name in SINGLE), (TESTS / "masked.h", {"agents": 1})]
)
def test_every_step_is_as_gymnasiums_own_vector_env_has_it(game, config, mode):
    count, seed, ends = 6, 11, 0
    ours = pufferenv.make_vec(game, count, autoreset_mode=mode, **config)
    single = partial(pufferenv.PufferEnv, game, **config)
    theirs = SyncVectorEnv([single] * count, autoreset_mode=mode)
    assert ours.metadata["autoreset_mode"] is theirs.metadata["autoreset_mode"]
    assert ours.single_action_space == theirs.single_action_space
    assert ours.observation_space == theirs.observation_space
    seen, infos = ours.reset(seed=list(range(seed, seed + count)))
    wanted, their_infos = theirs.reset(seed=seed)  # env i gets seed + i
    np.testing.assert_array_equal(seen, wanted)
    assert_infos_equal(infos, their_infos)
    for step in range(500):
        actions = actions_of(ours, step)
        *mine, infos = ours.step(actions)
        *wanted, their_infos = theirs.step(actions)
        for got, want in zip(mine, wanted, strict=True):
            np.testing.assert_array_equal(got, want)
            assert (
                got.dtype == want.dtype or got.dtype.kind == "f"
            )  # SyncVectorEnv's rewards are float64
        assert_infos_equal(infos, their_infos)
        over = mine[2] | mine[3]
        ends += over.sum()
        if mode is AutoresetMode.DISABLED and over.any():
            seen = ours.reset(options={"reset_mask": over})[0]
            wanted = theirs.reset(options={"reset_mask": over})[0]
            np.testing.assert_array_equal(seen, wanted)
    assert ends > count


def test_single_envs_run_in_processes():
    run = {}
    for kind in ("sync", "async"):
        envs = gymnasium.make_vec("puffer/squared-v0", num_envs=2, vectorization_mode=kind)
        steps = [envs.reset(seed=5)[0], *(envs.step(np.array([1, 3]))[0] for _ in range(12))]
        run[kind] = np.stack(steps)
        envs.close()
    np.testing.assert_array_equal(run["sync"], run["async"])


# --- the single env ------------------------------------------------------------------------------
def test_the_life_of_its_agent_is_its_episode():
    env = pufferenv.PufferEnv(load_game("script"), agents=1)
    with pytest.raises(ResetNeeded, match="outside an episode"):
        env.step([0, 0, 0])
    seen = [env.reset(seed=1)[0]]
    for fate, end in ((0, 0), (1, 0), (0, 0), (2, 0), (3, 0), (0, 1), (0, 2)):
        obs, reward, terminated, truncated, info = env.step(np.array([fate, end, 0]))
        seen.append((obs[2:].tolist(), reward, terminated, truncated, info))
        if terminated or truncated:
            with pytest.raises(ResetNeeded, match="outside an episode"):
                env.step([0, 0, 0])
            env.reset()
    assert seen[0][1:].tolist() == [0, 1, 0]
    assert seen[1:] == [
        ([1, 1], 0, False, False, {}),
        ([0, 0], 1, True, False, {}),  # dead: zeros
        ([2, 1], 0, False, False, {}),
        ([2, 2], 1, False, True, {}),  # cut short: its last observation
        ([4, 0], 0, True, False, {}),  # the first observation of its next life
        ([5, 1], 0, True, False, {"length": 1}),
        ([6, 1], 0, False, True, {"length": 1}),
    ]


def test_an_episode_that_begins_without_the_agent_is_refused():
    env = pufferenv.PufferEnv(load_game("script"), agents=1)
    env.reset()
    env.step([0, 1, 1])
    with pytest.raises(RuntimeError, match="script begins an episode without its agent"):
        env.reset()


def test_masks_come_with_every_info_of_a_game_that_has_them():
    one = pufferenv.PufferEnv(load_game("masked"), agents=1)
    many = pufferenv.make(load_game("masked"), agents=1)
    kept = [one.reset()[1]["action_mask"]]
    np.testing.assert_array_equal(kept[0], many.reset()[1]["action_mask"][0])
    for _ in range(3):
        info, infos = one.step(np.array([3, 1]))[4], many.step([[3, 1]])[4]
        np.testing.assert_array_equal(info["action_mask"], infos["action_mask"][0])
        kept.append(info["action_mask"])
    assert len({mask.tobytes() for mask in kept}) > 1
