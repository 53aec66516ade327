"""What a viewer adds to a game's display list: lines of text, and a frame around an agent.

The text is in the game's world units, beside its view, so it is as sharp as everything else, and a
place in the picture is still a place in the game's world.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from pufferenv.drawing._drawing import DisplayList

OP_KEY, OP_AGENT, OP_RECT, OP_LINE, OP_TEXT = 1, 2, 3, 6, 8  # PufOp of draw.h
NIGHT, GREY, WHITE, GREEN, CYAN = 0x0B1020FF, 0x8190B5FF, 0xEEF2FFFF, 0x43DD94FF, 0x36D1E8FF
NOBODY = 0xFFFFFFFF  # agent -1
FRAME_KEYS = 0x7F000000  # keys of the frames, one for each agent; games use small numbers
COLUMNS = 58  # characters of a line
LINE = 1 / 32  # height of a line, of the width or height of the view, whichever is larger
MOST_BYTES = 96  # PUF_TEXT_BYTES


def with_text(
    one: DisplayList, left: str, right: str, below: Sequence[str], colour: int = WHITE
) -> DisplayList:
    """Return the list with a line above it, `left` and `right` in it, and lines below it.

    colour: of `right`. The view grows upwards and downwards. Characters that are not ASCII become
    "?".
    """
    x, y, width, height = one.view
    line = max(width, height) * LINE
    across = max(width, line * COLUMNS * 0.5)  # a narrow game is not made narrower by its text
    x0 = x - (across - width) / 2
    top, bottom = 1.5 * line, (0.6 + 1.15 * len(below)) * line if below else 0.0
    words = [OP_KEY | 2 << 8, 0, OP_AGENT | 2 << 8, NOBODY]
    # Shapes may reach out of the view of the game, where only the text is to be seen.
    words += _rect(x0, y - top, across, top) + _rect(x0, y + height, across, bottom)
    if across > width:
        side = (across - width) / 2
        words += _rect(x0, y, side, height) + _rect(x + width, y, side, height)
    words += _text(left, x0 + 0.4 * line, y - 0.5 * line, 0.9 * line, -1, WHITE)
    words += _text(right, x0 + across - 0.4 * line, y - 0.5 * line, 0.9 * line, 1, colour)
    for i, text in enumerate(below):
        base = y + height + (1.25 + 1.15 * i) * line
        words += _text(text, x0 + 0.4 * line, base, 0.9 * line, -1, GREY)
    return DisplayList(_appended(one, words), (x0, y - top, across, height + top + bottom))


def with_frame(one: DisplayList, agent: int) -> DisplayList:
    """Return the list with a frame around the shapes of an agent, which moves with it."""
    area = one.outline(agent)
    if area is None:
        return one
    line = max(one.view[2:]) * LINE / 8
    x, y, width, height = area
    x, y, right, low = x - 3 * line, y - 3 * line, x + width + 3 * line, y + height + 3 * line
    path = _floats(line, x, y, right, y, right, low, x, low, x, y)
    words = [OP_KEY | 2 << 8, FRAME_KEYS + agent, OP_AGENT | 2 << 8, NOBODY]
    words += [OP_LINE | (2 + len(path)) << 8, WHITE, *path]
    return DisplayList(_appended(one, words), one.view)


def wrapped(entries: Sequence[str], columns: int = COLUMNS) -> list[str]:
    """Put entries into lines of at most `columns` characters, where they are not longer."""
    lines: list[str] = []
    for entry in entries:
        if lines and len(lines[-1]) + 3 + len(entry) <= columns:
            lines[-1] += "   " + entry
        else:
            lines.append(entry)
    return lines


def _appended(one: DisplayList, words: Sequence[int]) -> npt.NDArray[np.uint32]:
    """Return the words of a list with more commands before its END, which is its last word."""
    return np.concatenate([one.words[:-1], np.array([*words, 0], np.uint32)])


def _rect(x: float, y: float, width: float, height: float) -> list[int]:
    return [OP_RECT | 7 << 8, NIGHT, *_floats(x, y, width, height, 0)]


def _text(text: str, x: float, y: float, size: float, align: int, colour: int) -> list[int]:
    data = text.encode("ascii", "replace")[:MOST_BYTES]
    letters = np.frombuffer(data + bytes(-len(data) % 4), np.uint32).tolist()
    words = [colour, *_floats(x, y, size, align), len(data), *letters]
    return [OP_TEXT | (1 + len(words)) << 8, *words]


def _floats(*values: float) -> list[int]:
    numbers: list[int] = np.array(values, np.float32).view(np.uint32).tolist()
    return numbers
