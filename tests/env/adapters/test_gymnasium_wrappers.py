"""Every wrapper of gymnasium.wrappers.vector on every game, in every mode that it supports."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium.envs.classic_control import CartPoleEnv
from gymnasium.spaces import Box, Discrete
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from gymnasium.wrappers import vector

import pufferenv
from pufferenv import games
from tests.games.test_every_game import actions_of
from tests.support.paths import GAME_HEADERS

# The games of the ocean package, and one whose actions are axes only, which some wrappers need.
EVERY_GAME = [*games.names(), GAME_HEADERS / "continuous.h"]


def unchanged(x):
    return x


def any_env(env):
    return True


def no_env(env):
    """Return False, for wrappers of dicts, images or JAX arrays, which no game returns."""
    return False


def has_images(env):
    space = env.single_observation_space
    return len(space.shape) == 3 and space.shape[2] == 3 and space.dtype == np.uint8


def has_bounds(env):
    return env.single_observation_space.is_bounded()


def axes(env):
    return isinstance(env.single_action_space, Box)


def choices(env):
    return isinstance(env.single_action_space, Discrete)


def flat(obs):
    return obs.reshape(len(obs), -1)


def rescale(env):
    """Rescale floats only, because integers would become 0 or 1."""
    return vector.RescaleObservation(vector.DtypeObservation(env, np.float64), 0.0, 1.0)


def rescaled(obs):
    least, most = np.iinfo(obs.dtype).min, np.iinfo(obs.dtype).max
    return (obs.astype(np.float64) - least) / (most - least)


@dataclass(frozen=True)
class Case:
    """Make a wrapper, select envs for it, and predict its observations and rewards."""

    make: Callable[[Any], Any]
    takes: Callable[[Any], bool] = any_env
    obs: Callable[[Any], Any] | None = unchanged  # None: it depends on earlier steps
    rewards: Callable[[Any], Any] | None = unchanged
    actions: Callable[[Any], Any] = unchanged


def to_torch(actions):
    torch = pytest.importorskip("torch")
    if isinstance(actions, dict):
        return {key: torch.as_tensor(part) for key, part in actions.items()}
    return torch.as_tensor(actions)


def array_conversion(env):
    pytest.importorskip("array_api_compat")
    return vector.ArrayConversion(env, env_xp=np, target_xp=pytest.importorskip("torch"))


def numpy_to_torch(env):
    pytest.importorskip("array_api_compat")
    return vector.NumpyToTorch(env)


single = gymnasium.wrappers
CASES = {
    "VectorizeTransformObservation": Case(
        lambda env: vector.VectorizeTransformObservation(env, single.FlattenObservation), obs=flat
    ),
    "VectorizeTransformAction": Case(
        lambda env: vector.VectorizeTransformAction(
            env, single.TransformAction, func=unchanged, action_space=None
        ),
        choices,
    ),
    "VectorizeTransformReward": Case(
        lambda env: vector.VectorizeTransformReward(
            env, single.TransformReward, func=lambda reward: 2 * reward
        ),
        rewards=lambda rewards: 2 * rewards,
    ),
    "DictInfoToList": Case(vector.DictInfoToList),
    "TransformObservation": Case(
        lambda env: vector.TransformObservation(env, lambda obs: obs + 1), obs=lambda obs: obs + 1
    ),
    "FilterObservation": Case(unchanged, no_env),
    "FlattenObservation": Case(vector.FlattenObservation, obs=flat),
    "GrayscaleObservation": Case(unchanged, has_images),
    "ResizeObservation": Case(unchanged, has_images),
    "ReshapeObservation": Case(
        lambda env: vector.ReshapeObservation(env, (1, *env.single_observation_space.shape)),
        obs=lambda obs: obs[:, None],
    ),
    "RescaleObservation": Case(rescale, has_bounds, obs=rescaled),
    "DtypeObservation": Case(lambda env: vector.DtypeObservation(env, np.float64)),
    "NormalizeObservation": Case(vector.NormalizeObservation, obs=None),
    "TransformAction": Case(lambda env: vector.TransformAction(env, unchanged)),
    "ClipAction": Case(
        vector.ClipAction, axes, actions=lambda push: np.where(abs(push) == 1, 9 * push, push)
    ),
    "RescaleAction": Case(
        lambda env: vector.RescaleAction(env, np.float32(-2), np.float32(2)),
        axes,
        actions=lambda actions: 2 * actions,
    ),
    "TransformReward": Case(
        lambda env: vector.TransformReward(env, lambda rewards: rewards - 1),
        rewards=lambda rewards: rewards - 1,
    ),
    "ClipReward": Case(
        lambda env: vector.ClipReward(env, -0.5, 0.5), rewards=lambda r: np.clip(r, -0.5, 0.5)
    ),
    "NormalizeReward": Case(vector.NormalizeReward, rewards=None),
    "RecordEpisodeStatistics": Case(vector.RecordEpisodeStatistics),
    "RecordVideo": Case(unchanged, no_env),
    "HumanRendering": Case(unchanged, no_env),
    "ArrayConversion": Case(array_conversion, actions=to_torch),
    "JaxToNumpy": Case(unchanged, no_env),
    "JaxToTorch": Case(unchanged, no_env),
    "NumpyToTorch": Case(numpy_to_torch, actions=to_torch),
}


def pairs():
    """Return each wrapper with each game that it can wrap."""
    envs = {game: pufferenv.make(game, 1) for game in EVERY_GAME}
    return [
        pytest.param(game, wrapper, id=f"{env.game.name}-{wrapper}")
        for game, env in envs.items()
        for wrapper in vector.__all__
        if CASES[wrapper].takes(env)
    ]


@pytest.mark.parametrize(("game", "wrapper"), pairs())
def test_every_wrapper_does_what_it_is_for_in_every_mode_that_it_takes(game, wrapper):
    """A mode that a wrapper refuses is refused for Gymnasium's own vector env too."""
    case = CASES[wrapper]
    for mode in AutoresetMode:
        env, twin = (pufferenv.make_vec(game, 4, autoreset_mode=mode, seed=2) for _ in range(2))
        try:
            wrapped = case.make(env)
        except (AssertionError, ValueError):
            with pytest.raises((AssertionError, ValueError)):
                case.make(SyncVectorEnv([CartPoleEnv] * 4, autoreset_mode=mode))
            assert mode is not AutoresetMode.NEXT_STEP
            continue
        wrapped.reset(seed=3)
        twin.reset(seed=3)
        for step in range(80):
            actions = actions_of(twin, step)
            obs, rewards, terminations, truncations, _ = wrapped.step(case.actions(actions))
            seen, earned, over, cut, _ = twin.step(actions)
            np.testing.assert_array_equal(np.asarray(terminations), over)
            np.testing.assert_array_equal(np.asarray(truncations), cut)
            assert np.shape(obs) == wrapped.observation_space.shape
            if case.obs is not None:
                np.testing.assert_allclose(np.asarray(obs), case.obs(seen), rtol=1e-6)
            if case.rewards is not None:
                np.testing.assert_allclose(np.asarray(rewards), case.rewards(earned), rtol=1e-6)


def test_the_wrappers_that_no_game_suits_are_those_for_other_spaces():
    unused = {*vector.__all__} - {pair.values[1] for pair in pairs()}
    dicts_or_images = {"FilterObservation", "GrayscaleObservation", "ResizeObservation"}
    drawings_or_jax = {"RecordVideo", "HumanRendering", "JaxToNumpy", "JaxToTorch"}
    assert unused == (dicts_or_images | drawings_or_jax) & {*vector.__all__}
