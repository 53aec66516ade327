"""Display lists written in Python, as pufferenv/draw.h writes them in C."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from pufferenv.drawing._drawing import DisplayList

END, KEY, AGENT, RECT, DISC, RING, LINE, FILL, TEXT = range(9)
WHITE, NIGHT = 0xFFFFFFFF, 0x0B1020FF

Words = npt.NDArray[np.uint32]


def command(op: int, colour: int, *floats: float) -> Words:
    """Return the words of a command whose arguments are floats."""
    head = np.array([op | (2 + len(floats)) << 8, colour], np.uint32)
    return np.concatenate([head, np.array(floats, np.float32).view(np.uint32)])


def key(number: int) -> Words:
    """Return the words of puf_key."""
    return command(KEY, number & 0xFFFFFFFF)


def agent(number: int) -> Words:
    """Return the words of puf_agent."""
    return command(AGENT, number & 0xFFFFFFFF)


def rect(
    x: float, y: float, width: float, height: float, colour: int = WHITE, radius: float = 0
) -> Words:
    """Return the words of puf_round; without a radius, of puf_rect."""
    return command(RECT, colour, x, y, width, height, radius)


def disc(x: float, y: float, radius: float, colour: int = WHITE) -> Words:
    """Return the words of puf_disc."""
    return command(DISC, colour, x, y, radius)


def ring(x: float, y: float, radius: float, width: float, colour: int = WHITE) -> Words:
    """Return the words of puf_ring."""
    return command(RING, colour, x, y, radius, width)


def path(points: Sequence[tuple[float, float]], width: float, colour: int = WHITE) -> Words:
    """Return the words of puf_path."""
    return command(LINE, colour, width, *(v for point in points for v in point))


def fill(points: Sequence[tuple[float, float]], colour: int = WHITE) -> Words:
    """Return the words of puf_fill."""
    return command(FILL, colour, *(v for point in points for v in point))


def text(
    x: float, y: float, size: float, string: str | bytes, colour: int = WHITE, align: int = -1
) -> Words:
    """Return the words of puf_text."""
    data = string.encode() if isinstance(string, str) else string
    padded = np.frombuffer(data.ljust(-(-len(data) // 4) * 4, b"\0"), np.uint32)
    words = np.concatenate([command(TEXT, colour, x, y, size, align, 0), padded])
    words[0], words[6] = TEXT | len(words) << 8, len(data)
    return words


def display_list(
    *commands: Words, view: tuple[float, float, float, float] = (0, 0, 16, 16)
) -> DisplayList:
    """Return a list of commands and the view it shows."""
    return DisplayList(np.concatenate([*commands, np.zeros(1, np.uint32)]), view)


def picture(
    shown: DisplayList, width: int, height: int | None = None, channels: int = 3
) -> npt.NDArray[np.uint8]:
    """Return a list's picture (H, W, C); it is as high as wide if `height` is None."""
    image = np.zeros((height or width, width, channels), np.uint8)
    shown.raster(image)
    return image
