"""Renderer: pictures of the envs of one engine, at one size.

It joins a game's Drawing, its config and a size, so that code that shows envs (vector envs, single
envs, windows, files) asks for frames only.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from pufferenv.drawing._drawing import MOST_SIDE, DisplayList, Drawing, KeyBinding

WIDTH = 600  # pixels of a frame by default


class Renderer:
    """Draws the envs of a game under one config.

    config: what `Game.pack` returned. size: the width of a frame in pixels, whose height follows
    from the view of the game, or (width, height); by default WIDTH.
    Raises TypeError or ValueError for an impossible size.
    """

    drawing: Drawing
    width: int  # pixels
    height: int
    view: tuple[float, float, float, float]  # x, y, width, height of the world, in world units
    pace: float  # steps per second for a person
    keys: tuple[KeyBinding, ...]

    def __init__(
        self, drawing: Drawing, config: bytes, size: int | tuple[int, int] | None = None
    ) -> None:
        self.drawing, self._config = drawing, config
        self.view, self.pace, self.keys = drawing.view(config), drawing.pace(config), drawing.keys
        self.width, self.height = frame_size(WIDTH if size is None else size, self.view)

    def frames(
        self, engine: Any, envs: Sequence[int], agents: Sequence[int] | None = None
    ) -> npt.NDArray[np.uint8]:
        """Draw envs (n,) -> RGB (n, H, W, 3), each as its agent of `agents` (n,) sees it.

        Raises RuntimeError while the engine steps, DisplayListError for a broken drawing.
        """
        images = np.empty((len(envs), self.height, self.width, 3), np.uint8)
        self.drawing.render(engine, envs, self._config, images, agents)
        return images

    def lists(self, engine: Any, envs: Sequence[int], agent: int = -1) -> list[DisplayList]:
        """Return the display list of each env as `agent` sees it; -1: as everybody does."""
        return [self.drawing.draw(engine, env, self._config, agent) for env in envs]


def frame_size(
    size: int | tuple[int, int], view: tuple[float, float, float, float]
) -> tuple[int, int]:
    """Return (width, height) in pixels, even numbers where `size` is only a width.

    Raises TypeError for no integers and ValueError for sides outside [1, MOST_SIDE].
    """
    pair = size if isinstance(size, Sequence) else (size,)
    if len(pair) not in (1, 2) or not all(
        isinstance(side, (int, np.integer)) and not isinstance(side, bool) for side in pair
    ):
        raise TypeError(f"size={size!r} must be the width of a frame in pixels, or (width, height)")
    for name, side in zip(("width", "height"), pair, strict=False):
        if not 1 <= side <= MOST_SIDE:
            raise ValueError(f"{name}={side} is outside [1, {MOST_SIDE}]: pixels of a frame")
    if len(pair) == 2:
        return int(pair[0]), int(pair[1])
    # Video codecs take even sides only.
    height = round(pair[0] * view[3] / view[2] / 2) * 2
    if not 1 <= height <= MOST_SIDE:
        raise ValueError(
            f"size={size}: with this width the height is {height}, outside [1, {MOST_SIDE}]"
        )
    return int(pair[0]), height
