"""A window that shows envs in a grid, at their game's pace, moving smoothly between two steps.

Lists are drawn at the size that their place in the window has, so everything stays sharp when the
window is resized.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from pufferenv.drawing._drawing import DisplayList
from pufferenv.drawing.caption import caption
from pufferenv.drawing.grid import GAP, NIGHT, Cell, Grid, caption_size, tile
from pufferenv.drawing.window import Events, Window

Frame = npt.NDArray[np.uint8]  # (H, W, 3)

FPS = 60  # frames per second between two steps
FIRST_SIZE = 1280, 960  # pixels of the window, at most, unless a single env is larger


class Pick(NamedTuple):
    """A place in the window: in which env, and where in its world (or its frame, in pixels)."""

    env: int
    x: float
    y: float


class Viewer:
    """A window with a place for each of `count` envs.

    title: of the window. pace: steps per second; may be changed at any time. width, height: pixels
    of one env at first. captions: leave room for a line of text above each env.
    Raises what Window raises.
    """

    pace: float
    window: Window

    def __init__(
        self,
        title: str,
        pace: float,
        count: int,
        width: int,
        height: int,
        *,
        captions: bool = False,
    ) -> None:
        self.pace, self._count, self._captions = pace, count, captions
        strip = caption_size(width) if captions else 0
        grid = Grid(count, width, height, aspect=4 / 3, caption_height=strip)
        most = FIRST_SIZE if count > 1 else (grid.width, grid.height)
        scale = min(1.0, most[0] / grid.width, most[1] / grid.height)
        self.window = Window(title, round(grid.width * scale), round(grid.height * scale))
        self._shape = width / height
        self._lists: Sequence[DisplayList] | None = None
        self._frames: Sequence[Frame] | None = None
        self._labels: Sequence[str] | None = None
        self._cells: list[Cell] = []
        self._canvas = np.empty((0, 0, 3), np.uint8)
        self._due = 0.0  # when the next step begins

    @property
    def closed(self) -> bool:
        """Whether the window was closed."""
        return self.window.closed

    def events(self) -> Events:
        """Return what happened since the last call."""
        return self.window.events()

    def close(self) -> None:
        """Close the window. A second call does nothing."""
        self.window.close()

    def show(
        self,
        lists: Sequence[DisplayList],
        labels: Sequence[str] | None = None,
        *,
        wait: bool = True,
        smooth: bool | Sequence[bool] = True,
    ) -> None:
        """Show the lists (count,) of a step, until the next step is due.

        labels: a caption for each. wait: False returns at once. smooth: False shows the step at
        once, as after a reset; or one bool for each list.
        """
        moving = [smooth] * len(lists) if isinstance(smooth, bool) else smooth
        before, self._lists, self._frames, self._labels = self._lists, lists, None, labels
        steps = round(FPS / self.pace)
        if not (wait and any(moving) and before and len(before) == len(lists) and steps > 1):
            self._draw(lists)
            if wait:
                self._wait(self._end())
            return
        end = self._end()
        begin = end - 1 / self.pace
        for k in range(1, steps + 1):
            due = begin + k / (steps * self.pace)
            if k < steps and due < time.monotonic():
                continue  # late
            part = k / steps
            moved = [
                a.interpolated(b, part) if move else b
                for a, b, move in zip(before, lists, moving, strict=True)
            ]
            self._draw(moved if k < steps else lists)
            self._wait(due)
            if self.closed:
                return

    def show_frames(
        self, frames: Sequence[Frame], labels: Sequence[str] | None = None, *, wait: bool = True
    ) -> None:
        """Show frames (count, H, W, 3) of a step, until the next step is due."""
        self._lists, self._frames, self._labels = None, frames, labels
        self._redraw()
        if wait:
            self._wait(self._end())

    def pick(self, x: float, y: float) -> Pick | None:
        """Return what is at a pixel of the window's frame (see Click); None: no env."""
        for index, cell in enumerate(self._cells):
            left, top = x - cell.x, y - cell.y
            if not (0 <= left < cell.width and 0 <= top < cell.height):
                continue
            if self._lists is None:
                return Pick(index, left, top)
            view = self._lists[index].view
            scale = min(cell.width / view[2], cell.height / view[3])
            left -= (cell.width - view[2] * scale) / 2
            top -= (cell.height - view[3] * scale) / 2
            return Pick(index, view[0] + left / scale, view[1] + top / scale)
        return None

    def _end(self) -> float:
        """Return when the step that begins now is over."""
        now = time.monotonic()
        begin = self._due if now - self._due < 1 / self.pace else now
        self._due = begin + 1 / self.pace
        return self._due

    def _wait(self, until: float) -> None:
        """Wait, and draw again when the window is resized."""
        window = self.window
        while not window.closed and (left := until - time.monotonic()) > 0:
            window.wait(time.monotonic() + min(left, 1 / FPS))
            if not window.closed and self._canvas.shape[:2] != (window.height, window.width):
                self._redraw()

    def _redraw(self) -> None:
        if self._lists is not None:
            self._draw(self._lists)
        elif self._frames is not None:
            shape = self.window.width / self.window.height
            self._canvas = np.empty((self.window.height, self.window.width, 0), np.uint8)
            self._cells = self._tiled(self._frames)
            self.window.show(tile(self._frames, aspect=shape, labels=self._labels))

    def _tiled(self, frames: Sequence[Frame]) -> list[Cell]:
        """Return the places that `tile` gives the frames."""
        height, width = frames[0].shape[:2]
        strip = 0 if self._labels is None else caption_size(width)
        shape = self.window.width / self.window.height
        return Grid(len(frames), width, height, aspect=shape, caption_height=strip).cells

    def _draw(self, lists: Sequence[DisplayList]) -> None:
        if self.window.closed:
            return
        height, width = self.window.height, self.window.width
        if self._canvas.shape != (height, width, 3):
            self._canvas = np.empty((height, width, 3), np.uint8)
            self._canvas[:] = NIGHT
            self._cells = places(len(lists), width, height, self._shape, self._captions)
        for i, (one, cell) in enumerate(zip(lists, self._cells, strict=True)):
            part = self._canvas[cell.y : cell.y + cell.height, cell.x : cell.x + cell.width]
            one.raster(part)
            if self._labels is not None and self._captions:
                strip = caption_size(cell.width)
                above = self._canvas[cell.y - strip : cell.y, cell.x : cell.x + cell.width]
                caption(self._labels[i], above)
        self.window.show(self._canvas)


def places(count: int, width: int, height: int, shape: float, captions: bool) -> list[Cell]:
    """Return the places of `count` envs of a shape (width / height) in a window, row by row.

    The number of columns is the one that shows the envs largest.
    """

    def cells(columns: int) -> list[Cell]:
        rows = -(-count // columns)
        across = (width - GAP * (columns - 1)) // columns
        strip = caption_size(max(1, across)) if captions else 0
        down = (height - GAP * (rows - 1)) // rows - strip
        across, down = max(1, across), max(1, down)
        return [
            Cell(
                min(i % columns * (across + GAP), width - 1),
                min(i // columns * (down + strip + GAP) + strip, height - 1),
                across,
                down,
            )
            for i in range(count)
        ]

    def size(columns: int) -> float:
        cell = cells(columns)[0]
        return min(cell.width / shape, cell.height)

    return cells(max(range(1, count + 1), key=size))
