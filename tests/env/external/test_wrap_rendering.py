"""Pictures of external envs: those that their own render() returns, by index, in every mode."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import gymnasium
import numpy as np
import numpy.typing as npt
import pytest
from gymnasium.spaces import Box, Discrete
from gymnasium.vector import AutoresetMode, SyncVectorEnv

import pufferenv
from pufferenv.drawing.grid import tile
from pufferenv.external.game import EnvError
from pufferenv.games import NotDrawn

pygame = pytest.importorskip("pygame", reason="pygame opens the window; the extra `render` has it")


class Painted(gymnasium.Env[Any, Any]):
    """Draws its step in red and its seed in green, on 6 x 4 pixels."""

    metadata = {"render_modes": ["rgb_array", "ansi"], "render_fps": 20}  # noqa: RUF012
    observation_space = Box(-1e9, 1e9, (1,), np.float32)
    action_space = Discrete(3)

    def __init__(self, render_mode: str | None = "rgb_array", shape: Any = (4, 6, 3)) -> None:
        self.render_mode, self.shape, self.tag = render_mode, shape, 0

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        self.steps = 0
        if seed is not None:
            self.tag = seed % 251
        return np.zeros(1, np.float32), {}

    def step(self, action: Any) -> Any:
        self.steps += int(action)
        return np.zeros(1, np.float32), 0.0, self.steps >= 100, False, {}

    def render(self) -> Any:
        frame = np.zeros(self.shape, np.uint8)
        frame[..., :1] = self.steps
        if self.shape[-1:] == (3,):
            frame[..., 1] = self.tag
        return frame

    def get_keys_to_action(self) -> Any:
        return {(ord("a"),): 1, (ord("d"), ord("w")): 2}


@pytest.fixture(autouse=True)
def dummy(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("SDL_VIDEODRIVER", "dummy")
    yield
    pygame.quit()


def painted(steps: int, tag: int) -> npt.NDArray[np.uint8]:
    return np.broadcast_to(np.array([steps, tag, 0], np.uint8), (4, 6, 3))


def tags(env: Any) -> list[int]:
    """Return the tag of each env: Gymnasium's seeds are the upper 31 bits of the engine's."""
    return [int(seed >> np.uint64(33)) % 251 for seed in env._engine._seeds]


@pytest.mark.parametrize("backend", ["serial", "threads"])
def test_each_frame_is_that_of_its_env(backend: str) -> None:
    env = pufferenv.wrap(
        Painted, 5, backend=backend, num_workers=2, seed=1, render_mode="rgb_array"
    )
    env.reset()
    env.step(np.array([0, 1, 2, 0, 1]))
    env.step(np.array([0, 1, 2, 1, 0]))
    frames = env.render()
    assert len(frames) == env.num_envs == 5
    for frame, steps, tag in zip(frames, [0, 2, 4, 1, 1], tags(env), strict=True):
        assert (frame == painted(steps, tag)).all()
    assert (env.render_grid() == tile(frames, aspect=4 / 3)).all()
    assert (env.renderer.frames(env._engine, [3, 0])[0] == frames[3]).all()
    assert env.metadata["render_fps"] == 20
    assert env.metadata["render_modes"] == ["rgb_array", "human", "ansi"]
    env.close()


def test_chosen_envs_of_a_vector_env_are_drawn() -> None:
    def make() -> SyncVectorEnv:
        return SyncVectorEnv([Painted] * 2, autoreset_mode=AutoresetMode.SAME_STEP)

    env = pufferenv.wrap(make, 4, seed=1, render_mode="rgb_array", render_envs=[3, 0])
    env.reset()
    env.step(np.array([1, 0, 0, 2]))
    assert [frame[0, 0, 0] for frame in env.render()] == [2, 1]


def test_a_window_shows_external_envs() -> None:
    env = pufferenv.wrap(Painted, 2, seed=1, render_mode="human")
    env.reset()
    env.step(np.array([50, 50]) % 3)
    assert pygame.display.get_caption()[0] == "Painted"
    assert (pygame.surfarray.array3d(pygame.display.get_surface())[..., 0] == 2).any()
    env.close()


def test_an_id_is_made_with_frames() -> None:
    env = pufferenv.wrap("CartPole-v1", 2, seed=1, render_mode="rgb_array")
    env.reset()
    assert [frame.shape for frame in env.render()] == [(400, 600, 3)] * 2
    env.close()


def test_all_agents_of_a_parallel_env_see_its_picture() -> None:
    mpe2 = pytest.importorskip("mpe2", reason="the env is of mpe2; the extra `pettingzoo` has it")
    del mpe2
    from mpe2 import simple_spread_v3

    env = pufferenv.wrap(
        lambda: simple_spread_v3.parallel_env(render_mode="rgb_array"),
        2,
        seed=1,
        render_mode="rgb_array",
    )
    env.reset()
    frames = env.render()
    assert len(frames) == env.num_envs == 2 * env.env_agents
    assert (frames[0] == frames[1]).all()
    assert (frames[0] != frames[-1]).any()


def test_grey_frames_become_rgb_and_lists_their_last_frame() -> None:
    env = pufferenv.wrap(lambda: Painted(shape=(4, 6)), seed=1, render_mode="rgb_array")
    env.reset()
    assert env.render()[0].shape == (4, 6, 3)
    env = pufferenv.wrap(
        lambda: gymnasium.make("CartPole-v1", render_mode="rgb_array_list"),
        seed=1,
        render_mode="rgb_array",
    )
    env.reset()
    assert env.render()[0].shape == (400, 600, 3)


def test_keys_are_those_of_the_env_itself() -> None:
    env = pufferenv.wrap(Painted, seed=1)
    keys = env.renderer.key_table()
    assert keys.action(["a"])[0].tolist() == [1]
    assert keys.action(["w", "d"])[0].tolist() == [2]
    assert not pufferenv.wrap("CartPole-v1", render_mode="rgb_array").renderer.key_table()


@pytest.mark.parametrize("declared", [0, -5, None, "fast", float("nan"), float("inf"), [20]])
def test_a_pace_that_is_no_rate_is_that_of_an_env_that_declares_none(declared: Any) -> None:
    class Odd(Painted):
        metadata = {"render_modes": ["rgb_array"], "render_fps": declared}  # noqa: RUF012

    assert pufferenv.wrap(Odd, seed=1).renderer.pace == 30


def test_errors_say_what_to_do() -> None:
    with pytest.raises(NotDrawn, match="Painted was made with render_mode=None: its pictures need"):
        pufferenv.wrap(lambda: Painted(None), render_mode="rgb_array")
    with pytest.raises(ValueError, match="other processes cannot be drawn: use backend='serial'"):
        pufferenv.wrap(Painted, 2, backend="processes", render_mode="rgb_array")
    with pytest.raises(ValueError, match="render_mode='x'; it must be one of"):
        pufferenv.wrap(Painted, render_mode="x")
    env = pufferenv.wrap(lambda: Painted(shape=(2, 4, 6, 3)), seed=1, render_mode="rgb_array")
    env.reset()
    with pytest.raises(EnvError, match=r"env 0: its render\(\) returned uint8 \(2, 4, 6, 3\)"):
        env.render()
    env.step(np.array([1]))  # the env goes on


def test_an_env_that_gives_no_frames_is_refused() -> None:
    class Text(Painted):
        metadata = {"render_modes": ["ansi"]}  # noqa: RUF012

    with pytest.raises(NotDrawn, match="its render modes are ansi, and a picture needs rgb_array"):
        pufferenv.wrap(lambda: Text("ansi"), render_mode="rgb_array")
