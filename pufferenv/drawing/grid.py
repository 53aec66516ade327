"""Several frames in one picture, in a grid, each with a caption if there is one.

Letters in shapes: H, W height and width of a frame in pixels, C its channels.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from pufferenv.drawing.caption import caption

GAP = 8  # pixels between two frames
NIGHT = (0x0B, 0x10, 0x20)  # PUF_NIGHT of draw.h

Frame = npt.NDArray[np.uint8]  # (H, W, C)


class Cell(NamedTuple):
    """The place of one frame in a picture, in pixels."""

    x: int
    y: int
    width: int
    height: int


class Grid:
    """The places of `count` frames of one size in a picture, row by row.

    width, height: pixels of a frame. gap: pixels between two frames. aspect: the wanted width of
        the picture divided by its height. caption_height: pixels above each frame.
    """

    width: int  # pixels of the whole picture
    height: int
    columns: int
    rows: int
    cells: list[Cell]  # (count,) of the frames, without their captions
    caption_height: int

    def __init__(
        self,
        count: int,
        width: int,
        height: int,
        *,
        gap: int = GAP,
        aspect: float = 1.0,
        caption_height: int = 0,
    ) -> None:
        if count < 1:
            raise ValueError(f"count={count}: a grid has at least one frame")
        if not aspect > 0 or not math.isfinite(aspect):
            raise ValueError(f"aspect={aspect} must be above 0: width of a picture / its height")
        across, down = width + gap, height + caption_height + gap  # from a frame to the next one

        def distance(columns: int) -> tuple[float, int]:
            rows = -(-count // columns)
            shape = (columns * across - gap) / (rows * down - gap)
            empty = (columns * rows - count) / count
            # Of two that are as near, the wider one.
            return round(abs(math.log(shape / aspect)) + empty, 6), -columns

        self.columns = min(range(1, count + 1), key=distance)
        self.rows = -(-count // self.columns)
        self.caption_height = caption_height
        self.width, self.height = self.columns * across - gap, self.rows * down - gap
        self.cells = [
            Cell(
                i % self.columns * across, i // self.columns * down + caption_height, width, height
            )
            for i in range(count)
        ]

    def at(self, x: float, y: float) -> int | None:
        """Return the index of the frame at a pixel of the picture; None: there is none."""
        for i, cell in enumerate(self.cells):
            if cell.x <= x < cell.x + cell.width and cell.y <= y < cell.y + cell.height:
                return i
        return None


def tile(
    frames: Sequence[Frame] | Frame,
    *,
    gap: int = GAP,
    aspect: float = 1.0,
    labels: Sequence[str] | None = None,
) -> Frame:
    """Return one picture (H, W, C) of frames (n, H, W, C), row by row, on PUF_NIGHT.

    A single frame without a label is returned as it is. Frames of different sizes stand in the
    middle of cells of the largest one's size.
    gap: pixels between two frames. aspect: the wanted width of the picture divided by its height.
    labels: one caption per frame, above it; what does not fit is left out.
    Raises ValueError for no frames, for frames that are no uint8 (H, W, C) with the same number of
    channels, and for a number of labels that is not that of the frames.
    """
    frames = list(frames)
    _check(frames, labels)
    if len(frames) == 1 and labels is None:
        return frames[0]
    width, height = (max(frame.shape[axis] for frame in frames) for axis in (1, 0))
    grid = Grid(
        len(frames),
        width,
        height,
        gap=gap,
        aspect=aspect,
        caption_height=0 if labels is None else caption_size(width),
    )
    channels = frames[0].shape[2]
    picture = np.empty((grid.height, grid.width, channels), np.uint8)
    picture[:] = night(channels)
    for i, (frame, cell) in enumerate(zip(frames, grid.cells, strict=True)):
        h, w = frame.shape[:2]
        x, y = cell.x + (width - w) // 2, cell.y + (height - h) // 2
        picture[y : y + h, x : x + w] = frame
        if labels is not None:
            top = cell.y - grid.caption_height
            caption(labels[i], picture[top : cell.y, cell.x : cell.x + width])
    return picture


def caption_size(width: int) -> int:
    """Return the height in pixels of the caption of a frame of this width; an even number."""
    return min(32, max(14, width // 20 * 2))


def night(channels: int) -> tuple[int, ...]:
    """Return PUF_NIGHT as a pixel with 1 (grey), 3 (RGB) or 4 (RGBA) channels."""
    if channels == 1:
        # The rasterizer's weights: ITU-R BT.601, in 256ths.
        return ((77 * NIGHT[0] + 150 * NIGHT[1] + 29 * NIGHT[2] + 128) >> 8,)
    return (*NIGHT, 255)[:channels]


def _check(frames: Sequence[Frame], labels: Sequence[str] | None) -> None:
    if not frames:
        raise ValueError("frames is empty: a picture needs at least one frame")
    for i, frame in enumerate(frames):
        if frame.dtype != np.uint8 or frame.ndim != 3 or frame.shape[2] not in (1, 3, 4):
            raise ValueError(
                f"frames[{i}] is {frame.dtype} {frame.shape}; it must be uint8 (height, width, "
                "channels) with 1, 3 or 4 channels"
            )
        if frame.shape[2] != frames[0].shape[2]:
            raise ValueError(
                f"frames[{i}] has {frame.shape[2]} channels, frames[0] has {frames[0].shape[2]}"
            )
    if labels is not None and len(labels) != len(frames):
        raise ValueError(f"labels has {len(labels)} entries; it must have {len(frames)}, one each")
