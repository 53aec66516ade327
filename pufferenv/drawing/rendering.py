"""What `render()` of a vector env does in each render mode, with the envs that were chosen.

Letters in shapes: n pictures of one call, H, W height and width of a frame in pixels.
"""

from __future__ import annotations

import operator
import os
import shutil
import threading
from collections.abc import Sequence
from typing import Any, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from pufferenv.drawing._drawing import DisplayList, KeyBinding
from pufferenv.drawing.grid import tile
from pufferenv.drawing.terminal import colours_of, frame_text
from pufferenv.drawing.viewer import Viewer

MODES = ("rgb_array", "human", "ansi")
MOST_SHOWN = 16  # envs in a window or in text, if none were chosen
MOST_BYTES = 1 << 31  # of the frames of one call

RenderEnvs = int | Sequence[int] | None
RenderSize = int | tuple[int, int] | None
Frame = npt.NDArray[np.uint8]  # (H, W, 3)


class FrameSource(Protocol):
    """Draws the envs of an engine: a Renderer, or what takes its place for external envs."""

    width: int  # pixels of a frame
    height: int
    pace: float  # steps per second for a person
    keys: tuple[KeyBinding, ...]

    def frames(
        self, engine: Any, envs: Sequence[int], agents: Sequence[int] | None = None
    ) -> npt.NDArray[np.uint8]:
        """Return RGB (n, H, W, 3) of envs (n,), each as its agent of `agents` (n,) sees it."""

    def lists(self, engine: Any, envs: Sequence[int], agent: int = -1) -> list[DisplayList] | None:
        """Return the display list of each env; None for envs that only have frames."""


@runtime_checkable
class DrawnByItself(Protocol):
    """A game whose envs are not drawn by a drawing object, but in Python, by their own render()."""

    def make_renderer(self) -> FrameSource:
        """Return what draws the envs; raise NotDrawn if they give no frames."""


class Rendering:
    """Renders the chosen envs of one engine.

    mode: one of MODES. envs: the first `envs` of them, or their indices; None chooses all of them
        for rgb_array, and at most MOST_SHOWN for the others. title: of the window.
    Raises TypeError or ValueError for envs that there are not, and for more frames than fit into
    MOST_BYTES.
    """

    def __init__(
        self, mode: str, source: FrameSource, engine: Any, envs: RenderEnvs, title: str
    ) -> None:
        self.mode, self._source, self._engine, self._title = mode, source, engine, title
        self._envs = chosen(envs, engine.num_envs, title)
        self._in_grid = self._envs if envs is not None else self._envs[:MOST_SHOWN]
        self._agents: list[int] | None = None
        if mode == "rgb_array":
            if envs is None and engine.env_agents > 1:
                # One frame for every index of the batch.
                agents = engine.env_agents
                self._agents = [*range(agents)] * engine.num_envs
                self._envs = [env for env in self._envs for _ in range(agents)]
            self._check_bytes()
        else:
            self._envs = self._in_grid
        self._viewer: Viewer | None = None
        self._were_over = np.zeros(engine.num_envs, np.bool_)  # needs_reset when last shown

    def render(self) -> tuple[Frame, ...] | str | None:
        """Return frames, or text; or show the envs in the window and return None."""
        if self.mode == "rgb_array":
            return tuple(self._source.frames(self._engine, self._envs, self._agents))
        if self.mode == "human":
            self.show(wait=False)
            return None
        columns, rows = shutil.get_terminal_size((80, 25))
        return frame_text(self.grid(), columns, max(1, rows - 1), colours_of(os.environ))

    def grid(self) -> Frame:
        """Return one picture of the envs that are shown."""
        return tile(self._source.frames(self._engine, self._in_grid), aspect=4 / 3)

    def show(self, *, wait: bool = True, smooth: bool = True) -> bool:
        """Show the envs in the window at the game's pace; False: a person has closed it.

        Raises NoDisplay, or ImportError without pygame, when the window is opened.
        """
        if threading.current_thread() is not threading.main_thread():
            raise RuntimeError(
                f"{self._title}: render_mode='human' works in the main thread only, which the "
                "operating system gives the events of windows"
            )
        source, envs = self._source, self._envs
        lists = source.lists(self._engine, envs)
        if lists is not None:
            viewer = self._opened(source.width, source.height)
            began = self._began_episodes()
            viewer.show(lists, wait=wait, smooth=[smooth and not began[env] for env in envs])
        else:
            frames = list(source.frames(self._engine, envs))
            viewer = self._opened(frames[0].shape[1], frames[0].shape[0])
            viewer.show_frames(frames, wait=wait)
        return not viewer.events().closed

    def _began_episodes(self) -> npt.NDArray[np.bool_]:
        """Return the envs (E,) that began an episode since the last call: nothing glides there."""
        ended, over = (self._engine.arrays[key] for key in ("has_final_log", "needs_reset"))
        began: npt.NDArray[np.bool_] = (ended | self._were_over) & ~over
        self._were_over = over.copy()
        return began

    def _opened(self, width: int, height: int) -> Viewer:
        """Return the window, which is opened for envs of this size at first."""
        if self._viewer is None:
            pace, count = self._source.pace, len(self._envs)
            self._viewer = Viewer(self._title, pace, count, width, height)
        return self._viewer

    def close(self) -> None:
        """Close the window, if there is one."""
        if self._viewer is not None:
            self._viewer.close()

    def _check_bytes(self) -> None:
        source, count = self._source, len(self._envs)
        size = count * source.height * source.width * 3
        if size > MOST_BYTES:
            raise ValueError(
                f"{self._title}: {count} frames of {source.width} x {source.height} pixels are "
                f"{size / 1e9:.1f} GB in each render(): choose some envs with render_envs=16, or "
                "a smaller render_size"
            )


def check_mode(name: str, mode: Any) -> None:
    """Raise ValueError for a render mode that is not one of MODES; None is legal."""
    if mode is not None and mode not in MODES:
        legal = ", ".join(map(repr, MODES))
        raise ValueError(f"{name}: render_mode={mode!r}; it must be one of {legal}, or None")


def chosen(envs: RenderEnvs, num_envs: int, name: str) -> list[int]:
    """Return the indices of the envs to draw: the first ones, the given ones, or all for None.

    Raises TypeError or ValueError for what is no count and no index of an env.
    """
    if envs is None:
        return [*range(num_envs)]
    try:
        if isinstance(envs, bool):
            raise TypeError
        if not isinstance(envs, (Sequence, np.ndarray)):
            count = operator.index(envs)
            if not 1 <= count <= num_envs:
                raise ValueError(
                    f"{name}: render_envs={count} is outside [1, {num_envs}]: number of envs to "
                    "draw, from the first on"
                )
            return [*range(count)]
        indices = [operator.index(env) for env in envs]
    except TypeError:
        raise TypeError(
            f"{name}: render_envs={envs!r} must be a number of envs, or a sequence of indices"
        ) from None
    if not indices:
        raise ValueError(f"{name}: render_envs is empty: it must have at least one env")
    for env in indices:
        if not 0 <= env < num_envs:
            raise ValueError(
                f"{name}: render_envs has env {env}; it must be in [0, {num_envs - 1}] (envs, not "
                "agents)"
            )
    return indices
