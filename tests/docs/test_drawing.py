"""The table of the display list in docs/drawing.md: what draw.h has and the rasterizer takes."""

from __future__ import annotations

import re
from typing import NamedTuple

import numpy as np
import pytest

from pufferenv.drawing._drawing import DisplayList, DisplayListError
from tests.support.paths import ROOT

DOCUMENT = (ROOT / "docs" / "drawing.md").read_text(encoding="utf-8")
HEADER = (ROOT / "pufferenv" / "draw.h").read_text(encoding="utf-8")
POINTS = 4  # n of the table
TEXT = b"5 of 9"  # b bytes
COLOUR = 0xEEF2FFFF


class Command(NamedTuple):
    """One row of the table of commands."""

    op: int
    name: str
    words: int  # with POINTS points and with TEXT
    content: str

    def floats(self) -> list[float]:
        """Return the numbers that the row names, as places within a view of 10 x 10."""
        return {
            "RECT": [1, 2, 3, 4, 0.5],
            "DISC": [5, 5, 2],
            "RING": [5, 5, 2, 1],
            "LINE": [0.5, 1, 1, 9, 1, 9, 9, 1, 9],
            "FILL": [1, 1, 9, 1, 9, 9, 1, 9],
            "TEXT": [5, 5, 2, 0],
        }[self.name]

    def encoded(self, words: int | None = None) -> list[int]:
        """Return the command's words, with another number of words in its first one if given."""
        head = self.op | (words or self.words) << 8
        if self.name in ("KEY", "AGENT"):
            return [head, 7]
        tail = np.array(self.floats(), np.float32).view(np.uint32).tolist()
        if self.name == "TEXT":
            padded = TEXT + bytes(-len(TEXT) % 4)
            tail += [len(TEXT), *np.frombuffer(padded, np.uint32).tolist()]
        return [head, COLOUR, *tail]


def commands() -> list[Command]:
    rows = re.findall(r"^\| (\d) \| ([A-Z]+) \| ([^|]+) \| ([^|]*)\|$", DOCUMENT, re.M)
    found = []
    for op, name, words, content in rows:
        formula = words.replace("2 n", str(2 * POINTS)).replace("rounded up", "").rstrip(" ,")
        if "b / 4" in formula:
            formula = formula.replace("b / 4", str(-(-len(TEXT) // 4)))
        count = sum(int(part) for part in formula.split("+"))
        found.append(Command(int(op), name, count, content))
    return found


SHAPES = [command for command in commands() if command.name != "END"]


def picture(words: list[int]) -> np.ndarray:
    image = np.zeros((20, 20, 3), np.uint8)
    DisplayList(np.array([*words, 0], np.uint32), (0, 0, 10, 10)).raster(image)
    return image


def test_the_table_has_the_commands_of_draw_h_in_their_order():
    body = re.search(r"typedef enum \{(.*?)\} PufOp;", HEADER, re.S)
    assert body
    names = re.findall(r"\bPUF_OP_([A-Z]+),", body[1])
    assert [(command.op, command.name) for command in commands()] == list(enumerate(names))


@pytest.mark.parametrize("command", SHAPES, ids=lambda command: command.name)
def test_a_command_of_the_documented_length_is_drawn(command):
    words = command.encoded()
    assert len(words) == command.words
    image, ground = picture(words), picture([])
    assert (image != ground).any() == (command.name not in ("KEY", "AGENT"))


@pytest.mark.parametrize("command", SHAPES, ids=lambda command: command.name)
def test_a_command_of_another_length_is_an_error(command):
    with pytest.raises(DisplayListError):
        picture(command.encoded(command.words - 1))


def test_what_comes_later_is_drawn_over_what_came_before():
    (rect,) = (command for command in SHAPES if command.name == "RECT")
    head, _, *place = rect.encoded()
    image = picture([head, 0xFF0000FF, *place, head, 0x00FF00FF, *place])
    assert image[8, 4].tolist() == [0, 255, 0]
    assert image[0, 0].tolist() == [0x0B, 0x10, 0x20]  # the ground
