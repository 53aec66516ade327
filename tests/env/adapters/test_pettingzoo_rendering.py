"""Rendering of the ParallelEnv and of its AEC conversion, with PettingZoo's own test."""

from __future__ import annotations

import warnings
from collections.abc import Iterator

import numpy as np
import pytest
from gymnasium.error import ResetNeeded
from pettingzoo.test.render_test import render_test

import pufferenv
from pufferenv import pettingzoo
from pufferenv.games import NotDrawn
from pufferenv.pettingzoo import parallel_env
from tests.support.paths import GAME_HEADERS

pygame = pytest.importorskip("pygame", reason="pygame opens the window; the extra `render` has it")


@pytest.fixture(autouse=True)
def dummy(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("SDL_VIDEODRIVER", "dummy")
    yield
    pygame.quit()


@pytest.mark.parametrize("game", ["tag", "royale"])
def test_pettingzoos_render_test_passes(game: str) -> None:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*does not have possible_agents defined")
        render_test(lambda **options: pettingzoo.env(game, seed=1, render_size=64, **options))


def test_a_parallel_env_draws_what_a_vector_env_of_one_draws() -> None:
    env = parallel_env("tag", seed=3, render_mode="rgb_array", render_size=100)
    other = pufferenv.make("tag", seed=3, render_mode="rgb_array", render_size=100, render_envs=1)
    env.reset()
    other.reset()
    for choice in (1, 2, 3):
        env.step(dict.fromkeys(env.agents, choice))
        other.step(np.full(other.num_envs, choice))
        assert (env.render() == other.render()[0]).all()
    assert env.metadata["render_modes"] == ["rgb_array", "human", "ansi"]
    assert env.metadata["render_fps"] == round(other.renderer.pace)
    assert env.metadata["name"] == "tag"
    assert env.metadata["is_parallelizable"] is True
    assert env.render_mode == "rgb_array"


def test_a_window_follows_the_steps_of_a_parallel_env() -> None:
    env = parallel_env("tag", seed=3, render_mode="human", render_size=64)
    env.reset()
    first = pygame.surfarray.array3d(pygame.display.get_surface())
    env.step(dict.fromkeys(env.agents, 1))
    assert (pygame.surfarray.array3d(pygame.display.get_surface()) != first).any()
    assert env.render() is None
    env.close()
    assert not pygame.display.get_init()


def test_errors_of_a_parallel_env() -> None:
    env = parallel_env("tag", render_mode="rgb_array")
    with pytest.raises(ResetNeeded):
        env.render()
    with pytest.raises(ValueError, match="tag: render_mode='x'; it must be one of 'rgb_array'"):
        parallel_env("tag", render_mode="x")
    with pytest.raises(NotDrawn, match="masked does not draw itself"):
        parallel_env(GAME_HEADERS / "masked.h", render_mode="human")
