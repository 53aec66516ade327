"""Frames as text: pixels per character, only changes, and a terminal that is as it was before."""

from __future__ import annotations

import contextlib
import io
import os
import pty
import re
import signal
import subprocess
import sys
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import pytest

from pufferenv.drawing.terminal import (
    ENTER,
    LEAVE,
    PALETTE,
    PLAIN,
    TRUECOLOR,
    Encoder,
    TerminalScreen,
    colours_of,
    fitted,
    frame_text,
)

RED, BLUE, BLACK = (255, 0, 0), (0, 0, 255), (0, 0, 0)


class Terminal(io.BytesIO):
    """A stream that takes itself for a terminal."""

    def isatty(self) -> bool:
        return True

    def take(self) -> bytes:
        """Return what was written since the last call."""
        written = self.getvalue()
        self.seek(0)
        self.truncate()
        return written


def frame(height: int, width: int, colour: tuple[int, int, int]) -> npt.NDArray[np.uint8]:
    return np.full((height, width, 3), colour, np.uint8)


def screen_of(data: bytes, columns: int, rows: int) -> list[list[tuple[object, object]]]:
    """Return the upper and the lower colour of every character that `data` writes."""
    screen: list[list[tuple[object, object]]] = [[(None, None)] * columns for _ in range(rows)]
    row = column = 0
    front: object = None
    back: object = None
    for move, run, pen, other, text in re.findall(
        r"\x1b\[(\d+;\d+)H|\x1b\[(\d+)C|\x1b\[([\d;]*)m|\x1b\[([?\dhlJK]*)|([ ▀█])", data.decode()
    ):
        if move:
            row, column = (int(part) - 1 for part in move.split(";"))
        elif run:
            column += int(run)
        elif text:
            screen[row][column] = {" ": (back, back), "█": (front, front)}.get(text, (front, back))
            column += 1
        elif not other:
            for ground, red, green, blue in re.findall(r"([34]8);2;(\d+);(\d+);(\d+)", pen):
                colour = int(red), int(green), int(blue)
                front, back = (colour, back) if ground == "38" else (front, colour)
    return screen


def test_each_character_shows_two_pixels() -> None:
    pixels = np.array([[RED, BLUE], [BLUE, BLUE], [BLACK, RED], [RED, RED]], np.uint8)
    data = Encoder(TRUECOLOR).changes(pixels, 2, 3)
    assert screen_of(data, 2, 3)[:2] == [
        [(RED, BLUE), (BLUE, BLUE)],
        [(BLACK, RED), (RED, RED)],
    ]


def test_only_changed_characters_are_written() -> None:
    encoder = Encoder(TRUECOLOR)
    pixels = np.zeros((20, 30, 3), np.uint8)
    encoder.changes(pixels, 30, 11)
    assert encoder.changes(pixels, 30, 11) == b""
    pixels = pixels.copy()
    pixels[7, 12] = RED
    data = encoder.changes(pixels, 30, 11)
    assert data == b"\x1b[4;13H\x1b[38;2;0;0;0;48;2;255;0;0m" + "▀".encode() + b"\x1b[0m"
    assert encoder.changes(pixels, 30, 11) == b""


def test_a_run_of_frames_leaves_the_screen_that_the_last_one_alone_gives() -> None:
    rng = np.random.default_rng(1)
    frames = np.kron(rng.integers(0, 2, (30, 12, 9, 1)) * 200, np.ones((1, 1, 1, 3))).astype("u1")
    encoder = Encoder(TRUECOLOR)
    data = b"".join(encoder.changes(one, 9, 7) for one in frames)
    expected = [
        [(tuple(a), tuple(b)) for a, b in zip(upper, lower, strict=True)]
        for upper, lower in zip(frames[-1][0::2].tolist(), frames[-1][1::2].tolist(), strict=True)
    ]
    assert screen_of(data, 9, 7)[:6] == expected


def test_a_pixel_is_the_mean_of_its_area() -> None:
    rng = np.random.default_rng(2)
    large = rng.integers(0, 256, (40, 60, 3), np.uint8)
    expected = large.reshape(4, 10, 6, 10, 3).mean((1, 3))
    assert np.abs(fitted(large, 6, 100).astype(float) - expected).max() <= 0.51
    # Where the parts are no whole pixels, the pixels between them count for both.
    line = np.zeros((2, 3, 3), np.uint8)
    line[:, 1] = 90
    assert fitted(line, 2, 1)[:, :, 0].tolist() == [[30, 30], [30, 30]]


@pytest.mark.parametrize(
    ("columns", "rows", "shape"),
    [(80, 24, (48, 77)), (10, 24, (6, 10)), (200, 10, (20, 32)), (1, 1, (2, 1))],
)
def test_a_frame_fits_into_the_terminal_in_its_own_shape(
    columns: int, rows: int, shape: tuple[int, int]
) -> None:
    assert fitted(frame(376, 600, RED), columns, rows).shape == (*shape, 3)


def test_the_picture_stands_in_the_middle_and_the_status_in_the_last_line() -> None:
    out = Terminal()
    screen = TerminalScreen(out, colours=TRUECOLOR, columns=10, rows=6)
    screen.show(frame(20, 20, RED), "score 12")
    data = out.take()
    cells = screen_of(data.replace(b"score 12", b""), 10, 6)
    assert [cell == (RED, RED) for cell in cells[2]] == [True] * 10
    assert [row[0] == (RED, RED) for row in cells] == [True] * 5 + [False]
    assert b"\x1b[6;1H\x1b[0mscore 12\x1b[K" in data
    screen.show(frame(20, 20, RED), "score 12")
    assert out.take() == b""
    screen.show(frame(20, 20, RED), "score 13, and more than fits")
    assert b"score 13, \x1b[K" in out.take()


def test_another_size_of_the_terminal_draws_everything_again() -> None:
    encoder, pixels = Encoder(TRUECOLOR), np.zeros((4, 4, 3), np.uint8)
    first = encoder.changes(pixels, 4, 3)
    assert encoder.changes(pixels, 20, 3).startswith(b"\x1b[0m\x1b[2J")
    assert encoder.changes(pixels, 20, 3) == b""
    assert encoder.changes(pixels, 4, 3) == first


def test_the_terminal_gets_its_cursor_and_screen_back_after_an_exception() -> None:
    out = Terminal()
    with contextlib.suppress(KeyboardInterrupt), TerminalScreen(out, columns=10, rows=6) as screen:
        screen.show(frame(4, 4, RED))
        raise KeyboardInterrupt
    data = out.take()
    assert data.startswith(ENTER)
    assert data.endswith(LEAVE)
    assert b"\x1b[?25h" in LEAVE
    screen.close()
    assert out.take() == b""


@pytest.mark.parametrize(
    ("environment", "colours"),
    [
        ({"COLORTERM": "truecolor", "TERM": "xterm-256color"}, TRUECOLOR),
        ({"COLORTERM": "24bit"}, TRUECOLOR),
        ({"TERM": "xterm-direct"}, TRUECOLOR),
        ({"TERM": "xterm-256color"}, PALETTE),
        ({}, PALETTE),
        ({"COLORTERM": "truecolor", "NO_COLOR": "1"}, PLAIN),
        ({"COLORTERM": "truecolor", "NO_COLOR": ""}, TRUECOLOR),
        ({"TERM": "dumb"}, PLAIN),
    ],
)
def test_colours_are_those_that_the_environment_says(
    environment: dict[str, str], colours: str
) -> None:
    assert colours_of(environment) == colours
    assert colours_of(environment, is_terminal=False) == PLAIN


@pytest.mark.parametrize(
    ("colour", "code"),
    [(BLACK, 16), (RED, 196), ((255, 255, 255), 231), ((128, 128, 128), 244), (BLUE, 21)],
)
def test_without_truecolor_the_nearest_of_256_colours_is_taken(
    colour: tuple[int, int, int], code: int
) -> None:
    assert frame_text(frame(2, 1, colour), 1, 1, PALETTE) == f"\x1b[48;5;{code}m \x1b[0m\n"


def test_without_colours_a_picture_is_characters_from_dark_to_bright() -> None:
    steps = np.repeat(np.linspace(0, 255, 10).astype(np.uint8), 1)[None, :, None]
    text = frame_text(np.repeat(np.repeat(steps, 2, 0), 3, 2), 10, 1, PLAIN)
    assert text == " .:-=+*#%@\n"


def test_what_is_no_terminal_gets_plain_lines_without_codes() -> None:
    out = io.BytesIO()
    with TerminalScreen(out, columns=4, rows=3) as screen:
        assert not screen.is_terminal
        screen.show(frame(4, 4, (255, 255, 255)), "step 1")
    assert out.getvalue() == b"@@@@\n@@@@\nstep 1\n"


def test_unknown_colours_are_named() -> None:
    with pytest.raises(ValueError, match=r"colours='16'.*'truecolor', '256' or 'plain'"):
        TerminalScreen(io.BytesIO(), colours="16")


@pytest.fixture
def pseudo_terminal() -> Iterator[tuple[int, int]]:
    ours, theirs = pty.openpty()
    yield ours, theirs
    os.close(ours)
    os.close(theirs)


PROGRAM = """
import numpy as np, signal, sys, time
signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored in the background
from pufferenv.drawing.terminal import TerminalScreen
with TerminalScreen() as screen:
    screen.show(np.zeros((4, 4, 3), np.uint8))
    time.sleep(60)
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_process_that_is_ended_restores_the_terminal(
    pseudo_terminal: tuple[int, int], number: signal.Signals
) -> None:
    ours, theirs = pseudo_terminal
    with subprocess.Popen(
        [sys.executable, "-c", PROGRAM], stdout=theirs, stderr=subprocess.DEVNULL
    ) as process:
        data = b""
        while b"\x1b[?2026l" not in data:
            data += os.read(ours, 65536)
        process.send_signal(number)
        while not data.endswith(LEAVE):
            data += os.read(ours, 65536)
    assert data.startswith(ENTER)
    assert process.returncode != 0
