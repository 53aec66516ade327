"""A line of text as a picture, in the rasterizer's own font."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

from pufferenv.drawing._drawing import DisplayList

OP_RECT, OP_TEXT = 3, 8  # PufOp of draw.h
NIGHT, WHITE = 0x0B1020FF, 0xEEF2FFFF  # PUF_NIGHT and PUF_WHITE
MOST_BYTES = 96  # PUF_TEXT_BYTES
ADVANCE = 0.62  # width of a character, of the size of the text; most are narrower


def caption(text: str, image: npt.NDArray[np.uint8]) -> None:
    """Write `text` in the middle of an image (H, W, C) on PUF_NIGHT, as large as H allows.

    Text that is too long ends with "...". Characters other than ASCII become "?".
    """
    height, width = image.shape[:2]
    room = max(0, min(MOST_BYTES, int(width / (ADVANCE * _size(height)))))
    data = text.encode("ascii", "replace")
    data = data if len(data) <= room else data[: max(0, room - 3)] + b"..."[:room]
    caption_list(data, width, height).raster(image)


def caption_list(data: bytes, width: int, height: int) -> DisplayList:
    """Return the display list of ASCII text in the middle of an area of `width` x `height`."""
    words = [*_command(OP_RECT, NIGHT, _floats(0, 0, width, height, 0))]
    if data:
        padded = data + bytes(-len(data) % 4)
        place = _floats(width / 2, height * 0.72, _size(height), 0)
        text = np.frombuffer(padded, np.uint32)
        words += _command(OP_TEXT, WHITE, [*place, len(data), *text])
    return DisplayList(np.array([*words, 0], np.uint32), (0, 0, width, height))


def _size(height: int) -> float:
    """Return the size of text for a strip of `height` pixels."""
    return height * 0.78


def _floats(*values: float) -> npt.NDArray[np.uint32]:
    return np.array(values, np.float32).view(np.uint32)


def _command(op: int, colour: int, arguments: Iterable[int]) -> list[int]:
    """Return the words of one command of a display list; see draw.h."""
    words = [int(word) for word in arguments]
    return [op | (2 + len(words)) << 8, colour, *words]
