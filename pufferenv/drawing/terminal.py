"""Frames as coloured text in a terminal: two pixels, one above the other, per character.

Each character is an upper half block whose foreground is the upper pixel and whose background is
the lower one, so pixels are about square. Only characters that changed are written. Letters in
shapes: H, W height and width of a frame in pixels; R, C rows and columns of characters.
"""

from __future__ import annotations

import functools
import os
import signal
import sys
import threading
from collections.abc import Mapping
from types import FrameType
from typing import Any, BinaryIO, TextIO

import numpy as np
import numpy.typing as npt

Frame = npt.NDArray[np.uint8]  # (H, W, 3)
Pixels = npt.NDArray[np.uint8]  # (2 R, C, 3), the pixels that the characters show

TRUECOLOR, PALETTE, PLAIN = "truecolor", "256", "plain"
RAMP = " .:-=+*#%@"  # characters from dark to bright, where there are no colours
LEAST_CHANGE = 6  # of a colour, 0 to 255, for which a character is written again
CLEAR, HOME, RESET = b"\x1b[2J", b"\x1b[H", b"\x1b[0m"
ENTER = b"\x1b[?1049h\x1b[?25l" + RESET + CLEAR  # another screen, without a cursor
LEAVE = RESET + b"\x1b[?25h\x1b[?1049l"
BEGIN, END = b"\x1b[?2026h", b"\x1b[?2026l"  # a terminal that knows them shows a frame at once
UPPER, FULL = "▀".encode(), "█".encode()


def colours_of(environment: Mapping[str, str], is_terminal: bool = True) -> str:
    """Return what a terminal can show: TRUECOLOR, PALETTE (256 colours) or PLAIN (none).

    NO_COLOR, if it is not empty, asks for none; COLORTERM says that there are more than 256.
    """
    if not is_terminal or environment.get("NO_COLOR") or environment.get("TERM") == "dumb":
        return PLAIN
    many = environment.get("COLORTERM") in ("truecolor", "24bit")
    return TRUECOLOR if many or environment.get("TERM", "").endswith("-direct") else PALETTE


class TerminalScreen:
    """Shows frames in a terminal, as a context manager that restores the terminal at its end.

    stream: where to write; standard output by default. If it is no terminal (`is_terminal` is
        False), each frame is written as plain text of `columns` x `rows` and nothing is restored.
    colours: TRUECOLOR, PALETTE or PLAIN; by default what the environment says.
    columns, rows: characters; by default the size of the terminal, also after it has changed.
    """

    is_terminal: bool
    colours: str

    def __init__(
        self,
        stream: TextIO | BinaryIO | None = None,
        *,
        colours: str | None = None,
        columns: int | None = None,
        rows: int | None = None,
    ) -> None:
        out: Any = sys.stdout if stream is None else stream
        self.is_terminal = bool(out.isatty())
        self.colours = colours or colours_of(os.environ, self.is_terminal)
        if self.colours not in (TRUECOLOR, PALETTE, PLAIN):
            raise ValueError(f"colours={colours!r}: it must be 'truecolor', '256' or 'plain'")
        self._out, self._given = out, (columns, rows)
        self._encoder = Encoder(self.colours)
        self._entered = False
        self._status = ""
        self._restore_signal: Any = None

    @property
    def size(self) -> tuple[int, int]:
        """Columns and rows of characters."""
        columns, rows = self._given
        if columns is None or rows is None:
            found = os.terminal_size((80, 25))
            if self.is_terminal:
                found = os.get_terminal_size(self._out.fileno())
            columns, rows = columns or found.columns or 80, rows or found.lines or 25
        return columns, rows

    def __enter__(self) -> TerminalScreen:
        if self.is_terminal and not self._entered:
            self._entered = True
            self._encoder.forget()
            # SIGTERM ends a process without a word, and would leave the terminal as it is now.
            if (
                threading.current_thread() is threading.main_thread()
                and signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
            ):
                self._restore_signal = signal.signal(signal.SIGTERM, _exit)
            self._write(ENTER)
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """Give the terminal its screen, cursor and colours back. A second call does nothing."""
        if self._entered:
            self._entered = False
            if self._restore_signal is not None:
                signal.signal(signal.SIGTERM, self._restore_signal)
            self._write(LEAVE)

    def show(self, frame: Frame, status: str = "") -> int:
        """Show a frame (H, W, 3), and a line of text below it. Return the bytes written.

        Outside of a `with` block the frame is written at the top of the screen.
        """
        columns, rows = self.size
        pixels = fitted(frame, columns, rows - 1)
        if not self.is_terminal:
            text = self._encoder.text(pixels)
            return self._write(text + status.encode(errors="replace") + b"\n")
        data = self._encoder.changes(pixels, columns, rows)
        if status != self._status or self._encoder.cleared:
            self._status = status
            line = status[:columns].encode(errors="replace")
            data += b"\x1b[%d;1H" % rows + RESET + line + b"\x1b[K"
        return self._write(BEGIN + data + END) if data else 0

    def _write(self, data: bytes) -> int:
        binary = getattr(self._out, "buffer", None)  # of a text stream
        if binary is not None:
            self._out.flush()
            binary.write(data)
        elif hasattr(self._out, "encoding"):
            self._out.write(data.decode())
        else:
            self._out.write(data)
        self._out.flush()
        return len(data)


class Encoder:
    """Turns pixels (2 R, C, 3) into the text that shows them."""

    cleared: bool  # the last call of `changes` cleared the screen

    def __init__(self, colours: str) -> None:
        self._colours = colours
        self.forget()

    def forget(self) -> None:
        """Take the screen to be empty, so that everything is written again."""
        self._shown: npt.NDArray[np.int32] | None = None  # (2 R, C, 3), what the screen shows
        self._place = (0, 0)
        self.cleared = False

    def text(self, pixels: Pixels) -> bytes:
        """Return the lines of a whole picture, without moves of the cursor."""
        if self._colours == PLAIN:
            return _plain(pixels)
        lines = []
        for upper, lower in zip(pixels[0::2], pixels[1::2], strict=True):
            pen, line = _Pen(self._colours), bytearray()
            for column in range(len(upper)):
                line += pen.cell(tuple(upper[column].tolist()), tuple(lower[column].tolist()))
            lines.append(bytes(line) + RESET + b"\n")
        return b"".join(lines)

    def changes(self, pixels: Pixels, columns: int, rows: int) -> bytes:
        """Return what turns the screen of `columns` x `rows` from the last pixels into these."""
        pixels = pixels if self._colours != PLAIN else _greys(pixels)
        now = pixels.astype(np.int32)
        place = columns, rows
        self.cleared = self._shown is None or self._shown.shape != now.shape
        self.cleared = self.cleared or place != self._place
        if self.cleared:
            self._shown, self._place = np.full_like(now, -1000), place
        assert self._shown is not None
        moved = (np.abs(now - self._shown) >= LEAST_CHANGE).any(axis=2)
        changed = moved[0::2] | moved[1::2]  # (R, C)
        for shown, new in ((self._shown[0::2], now[0::2]), (self._shown[1::2], now[1::2])):
            shown[changed] = new[changed]
        top = (rows - 1 - len(changed)) // 2 + 1
        left = (columns - changed.shape[1]) // 2 + 1
        written = self._runs(pixels, changed, top, left)
        return RESET + CLEAR + written if self.cleared else written

    def _runs(self, pixels: Pixels, changed: npt.NDArray[np.bool_], top: int, left: int) -> bytes:
        """Return the changed characters, each run of them behind a move of the cursor."""
        pen, out, at = _Pen(self._colours), bytearray(), (-1, -1)
        rows, columns = np.nonzero(changed)
        upper = pixels[2 * rows, columns].tolist()
        lower = pixels[2 * rows + 1, columns].tolist()
        for row, column, one, other in zip(
            rows.tolist(), columns.tolist(), upper, lower, strict=True
        ):
            if at != (row, column):
                gap = column - at[1] if at[0] == row else 0
                out += b"\x1b[%dC" % gap if gap else b"\x1b[%d;%dH" % (top + row, left + column)
            out += pen.cell(tuple(one), tuple(other))
            at = row, column + 1
        return bytes(out) + RESET if out else b""


class _Pen:
    """Writes characters, and colours only where they differ from those of the last character."""

    def __init__(self, colours: str) -> None:
        self._code = {TRUECOLOR: _true, PALETTE: _indexed}.get(colours)
        self._front, self._back = b"", b""  # codes of the colours

    def cell(self, upper: tuple[int, ...], lower: tuple[int, ...]) -> bytes:
        """Return the text that shows one pixel above another."""
        if self._code is None:
            return RAMP[upper[0] * len(RAMP) // 256].encode()
        one, other = self._code(upper), self._code(lower)
        if one == other:
            if one == self._back:
                return b" "
            if one == self._front:
                return FULL
            self._back = one
            return b"\x1b[48;%sm " % one
        codes = []
        if one != self._front:
            codes.append(b"38;" + one)
        if other != self._back:
            codes.append(b"48;" + other)
        self._front, self._back = one, other
        return (b"\x1b[%sm" % b";".join(codes) if codes else b"") + UPPER


@functools.lru_cache(65536)
def _true(colour: tuple[int, ...]) -> bytes:
    return b"2;%d;%d;%d" % colour


@functools.lru_cache(65536)
def _indexed(colour: tuple[int, ...]) -> bytes:
    """Return the nearest of xterm's 256 colours: a cube of 6 x 6 x 6, and 24 greys."""
    cube = [0 if c < 48 else 1 if c < 115 else (c - 35) // 40 for c in colour]
    levels = [(0, 95, 135, 175, 215, 255)[i] for i in cube]
    grey = min(23, max(0, (sum(colour) // 3 - 3) // 10))

    def distance(other: list[int]) -> int:
        return sum((a - b) ** 2 for a, b in zip(colour, other, strict=True))

    if distance([8 + 10 * grey] * 3) < distance(levels):
        return b"5;%d" % (232 + grey)
    return b"5;%d" % (16 + 36 * cube[0] + 6 * cube[1] + cube[2])


def fitted(frame: Frame, columns: int, rows: int) -> Pixels:
    """Return a frame (H, W, 3) as pixels (2 R, C, 3) that fit into `columns` x `rows` characters.

    Each pixel is the mean of the area of the frame that it stands for.
    """
    height, width = frame.shape[:2]
    scale = min(max(1, columns) / width, 2 * max(1, rows) / height)
    across = max(1, round(width * scale))
    down = max(2, round(height * scale / 2) * 2)
    flat = frame[:, :, :3].reshape(height, -1)
    short = np.zeros((down, flat.shape[1]), np.float32)
    for rows_at, share in _areas(height, down):
        short += share[:, None] * flat[rows_at]
    wide = short.reshape(down, width, 3)
    pixels = np.full((down, across, 3), 0.5, np.float32)  # rounds to the nearest
    for columns_at, share in _areas(width, across):
        pixels += share[:, None] * wide[:, columns_at]
    return pixels.astype(np.uint8)


@functools.lru_cache(16)
def _areas(size: int, count: int) -> list[tuple[npt.NDArray[np.intp], npt.NDArray[np.float32]]]:
    """Divide a line of `size` pixels into `count` equal parts, whose means are to be taken.

    The k-th entry has the k-th pixel of each part (count,) and its share of that part (count,),
    which is 0 behind the part's end. Plain sums of these are quicker than a product of matrices,
    for which BLAS would start threads.
    """
    edges = np.arange(count + 1) * (size / count)
    first = edges[:-1].astype(np.intp)
    most = int(np.ceil(edges[1:] - first).max())
    pairs = []
    for k in range(most):
        overlap = np.minimum(edges[1:], first + k + 1) - np.maximum(edges[:-1], first + k)
        share = np.maximum(overlap, 0) * (count / size)
        pairs.append((np.minimum(first + k, size - 1), share.astype(np.float32)))
    return pairs


def _greys(pixels: Pixels) -> Pixels:
    """Return the brightness of each character, in place of its two pixels."""
    weights = np.array([77, 150, 29], np.int32)
    grey = pixels.astype(np.int32) @ weights >> 8
    mean = (grey[0::2] + grey[1::2]) >> 1
    steps = (mean * len(RAMP) >> 8) * 256 // len(RAMP) + 256 // (2 * len(RAMP))
    return np.asarray(np.repeat(steps, 2, axis=0)[:, :, None].repeat(3, 2), np.uint8)


def _plain(pixels: Pixels) -> bytes:
    steps = (_greys(pixels)[0::2, :, 0].astype(np.int32) * len(RAMP)) >> 8
    return b"".join(
        "".join(RAMP[step] for step in row).rstrip().encode() + b"\n" for row in steps.tolist()
    )


def frame_text(frame: Frame, columns: int, rows: int, colours: str) -> str:
    """Return a frame (H, W, 3) as lines of text that fit into `columns` x `rows` characters."""
    return Encoder(colours).text(fitted(frame, columns, rows)).decode()


def _exit(number: int, frame: FrameType | None) -> None:
    raise SystemExit(128 + number)
