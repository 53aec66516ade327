"""Screens: where frames are shown to a person, a window or a terminal, or written, a file.

A screen is opened by its first frame. `fps` is the number of its frames per second, and `pace` that
of the steps that they show; a screen with more frames than steps gets pictures of what is between
two steps. Live screens take the time that this takes. A person ends them with q, Escape or by
closing the window, pauses them with the space bar, and changes their speed with + and -. A click
in a window selects an agent (watch.py).
Letters in shapes: H, W height and width in pixels.
"""

import contextlib
import math
import os
import select
import sys
import time
from pathlib import Path
from typing import Any, Protocol, TextIO

import numpy as np
import numpy.typing as npt

from pufferenv.drawing.terminal import TerminalScreen as Terminal
from pufferenv.drawing.video import VideoWriter
from pufferenv.drawing.window import Window

Frame = npt.NDArray[np.uint8]  # (H, W, 3)

HOLD = 1.0  # seconds for which the last frame of an episode stays
SPEEDS = (1 / 16, 64)  # the slowest and the fastest, in units of the game's pace
KEYS_HELP = "q ends, space pauses, + and - change the speed"


class Screen(Protocol):
    """Shows one frame after the other, all of one size."""

    live: bool  # a person watches, and ends the evaluation by ending the screen
    between: bool  # it has frames between two steps

    def times(self, *, first: bool = False, last: bool = False) -> list[float]:
        """Return when frames are to be shown, between the step before, 0, and this step, 1.

        Call it once for each step. first: there is no step before; an episode begins. last: the
        step is the last one of an episode, which is to be seen in any case.
        """

    def show(self, frame: Frame, status: str = "", *, last: bool = False) -> bool:
        """Show a frame and return whether the screen takes another one.

        status: a line of text, for a screen that has room for it. last: the frame is the last one
            of an episode, which is to be seen for longer.
        """

    def take_clicks(self) -> list[tuple[float, float]]:
        """Return the pixels of the frame, x and y, that were clicked on since the last call."""

    def close(self) -> None:
        """Close the screen; complete its file. May be called twice."""


class Times:
    """Divides the time between steps into frames."""

    def __init__(self) -> None:
        self._next = 0.0  # steps from the last step to the next frame

    def of_step(self, steps_per_frame: float, first: bool, last: bool) -> list[float]:
        """Return the times of the frames of one step, as Screen.times does."""
        if first:
            self._next = steps_per_frame
            return [1.0]
        times = []
        while self._next <= 1 + 1e-9:
            times.append(min(self._next, 1.0))
            self._next += steps_per_frame
        self._next -= 1
        if last and times[-1:] != [1.0]:
            times.append(1.0)
        return times


class VideoFile:
    """Writes frames to a file.

    seconds, max_frames: the most that the file lasts and has.
    episodes: the number of `last` frames with which the file is complete; None: any number.
    """

    live = False

    def __init__(
        self,
        path: Path,
        fps: float,
        *,
        pace: float | None = None,
        seconds: float = math.inf,
        max_frames: float = math.inf,
        episodes: int | None = None,
    ) -> None:
        self.path, self._fps, self._episodes = path, fps, episodes
        self._times, self._steps_per_frame = Times(), (pace or fps) / fps
        self.between = self._steps_per_frame % 1 != 0
        self._most = max(1, round(min(max_frames, seconds * fps, 1e9)))
        self._writer: VideoWriter | None = None

    def times(self, *, first: bool = False, last: bool = False) -> list[float]:
        """Return when frames are to be shown, as Screen documents it."""
        return self._times.of_step(self._steps_per_frame, first, last)

    def show(self, frame: Frame, status: str = "", *, last: bool = False) -> bool:
        """Append a frame; `last` repeats it, so that it is to be seen for longer."""
        if self._writer is None:
            self._writer = VideoWriter(self.path, frame.shape[1], frame.shape[0], self._fps)
        for _ in range(max(1, int(HOLD * self._fps)) if last else 1):
            if self._writer.frames < self._most:
                self._writer.add(frame)
        if last and self._episodes is not None:
            self._episodes -= 1
        complete = self._writer.frames >= self._most or self._episodes == 0
        return not complete

    def take_clicks(self) -> list[tuple[float, float]]:
        """Return no clicks."""
        return []

    def close(self) -> None:
        """Complete the file and give it its name."""
        if self._writer is not None:
            self._writer.close()

    def describe(self) -> str:
        """Return one line about the file that was written."""
        writer = self._writer
        if writer is None or not writer.frames:
            return f"{self.path}: no frame was drawn, so there is no file"
        if not writer.complete:
            return f"{self.path} was not written"
        size = self.path.stat().st_size
        about = f"{writer.width} x {writer.height}"
        if self.path.suffix.lower() != ".png":
            about += f", {writer.frames / self._fps:.1f} s, {writer.frames} frames"
        return f"wrote {self.path}: {about}, {size / 1000:.0f} kB"


class Live:
    """Keeps the time of a live screen, and what a person's keys have made of it."""

    def __init__(self, fps: float, pace: float) -> None:
        self._fps, self._pace, self._times = fps, pace, Times()
        self.speed, self.paused, self.ended = 1.0, False, False
        self._due = 0.0  # time.monotonic() of the next frame

    def press(self, key: str) -> None:
        """Take a key that a person pressed."""
        if key in ("q", "escape"):
            self.ended = True
        elif key == "space":
            self.paused = not self.paused
        elif key in ("plus", "minus"):
            self.speed *= 2 if key == "plus" else 0.5
            self.speed = min(max(self.speed, SPEEDS[0]), SPEEDS[1])

    def times(self, first: bool, last: bool) -> list[float]:
        """Return when frames are to be shown; only the last one where drawing cannot keep up."""
        times = self._times.of_step(self._pace * self.speed / self._fps, first, last)
        if time.monotonic() > self._due + 1 / self._fps and len(times) > 1:
            self._due += (len(times) - 1) / self._fps  # the time of those that are left out
            times = times[-1:]
        return times

    def next_due(self, last: bool) -> float:
        """Return until when (time.monotonic()) the frame that is shown now is to be seen."""
        now = time.monotonic()
        # A late frame is followed by one that is early, but no time is made up after a pause.
        begun = self._due if now - self._due < 0.1 else now
        self._due = begun + (HOLD if last else 1 / self._fps)
        return self._due


class LiveWindow:
    """Shows frames in a window, which has their size until a person resizes it."""

    live = True
    between = True  # at least when a person slows it down

    def __init__(self, title: str, fps: float, pace: float | None = None) -> None:
        self._title, self._live = title, Live(fps, pace or fps)
        self._window: Window | None = None
        self._clicks: list[tuple[float, float]] = []

    def times(self, *, first: bool = False, last: bool = False) -> list[float]:
        """Return when frames are to be shown, as Screen documents it."""
        return self._live.times(first, last)

    def show(self, frame: Frame, status: str = "", *, last: bool = False) -> bool:
        """Show a frame for as long as the pace demands."""
        if self._window is None:
            self._window = Window(f"{self._title} ({KEYS_HELP})", frame.shape[1], frame.shape[0])
        window, live = self._window, self._live
        window.show(frame)
        due = live.next_due(last)
        while not live.ended:
            events = window.events()
            for key in events.taps:
                live.press(key)
            self._clicks += [(click.x, click.y) for click in events.clicks]
            if events.closed:
                live.ended = True
            if events.resized:
                window.show(frame)
            left = due - time.monotonic()
            if left <= 0 and not live.paused:
                break
            window.wait(time.monotonic() + (min(left, 0.05) if left > 0 else 0.05))
        return not live.ended

    def take_clicks(self) -> list[tuple[float, float]]:
        """Return the clicks of any mouse button."""
        clicks, self._clicks = self._clicks, []
        return clicks

    def close(self) -> None:
        """Close the window."""
        if self._window is not None:
            self._window.close()


class LiveTerminal:
    """Shows frames in a terminal, with the status and the keys below them."""

    live = True
    between = True  # at least when a person slows it down

    def __init__(
        self, stream: TextIO, fps: float, pace: float | None = None, keys: TextIO | None = None
    ) -> None:
        self._terminal, self._live = Terminal(stream), Live(fps, pace or fps)
        self._keys = TerminalKeys(sys.stdin if keys is None else keys)
        self._open = False

    def times(self, *, first: bool = False, last: bool = False) -> list[float]:
        """Return when frames are to be shown, as Screen documents it."""
        return self._live.times(first, last)

    def show(self, frame: Frame, status: str = "", *, last: bool = False) -> bool:
        """Show a frame for as long as the pace demands."""
        if not self._open:
            self._open = True
            self._keys.open()
            self._terminal.__enter__()
        live = self._live
        due = live.next_due(last)
        while not live.ended:
            self._terminal.show(frame, self._status(status))
            left = max(0.0, due - time.monotonic())
            for key in self._keys.wait(0.1 if live.paused else left):
                live.press(key)
            if not live.paused and due <= time.monotonic():
                break
        return not live.ended

    def _status(self, text: str) -> str:
        speed = f"x{self._live.speed:g}" if self._live.speed != 1 else ""
        paused = "paused" if self._live.paused else ""
        return "   ".join(part for part in (text, paused, speed, KEYS_HELP) if part)

    def take_clicks(self) -> list[tuple[float, float]]:
        """Return no clicks."""
        return []

    def close(self) -> None:
        """Give the terminal back as it was."""
        if self._open:
            self._open = False
            self._terminal.close()
            self._keys.close()


class TerminalKeys:
    """Reads single keys from a terminal, without echo; from anything else it reads none."""

    _NAMES = {"+": "plus", "=": "plus", "-": "minus", " ": "space", "\x1b": "escape"}  # noqa: RUF012

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._saved: list[Any] | None = None

    def open(self) -> None:
        """Make the terminal report each key at once."""
        with contextlib.suppress(ImportError, OSError, ValueError, AttributeError):
            import termios
            import tty

            if self._stream.isatty():
                self._saved = termios.tcgetattr(self._stream)
                tty.setcbreak(self._stream)

    def wait(self, seconds: float) -> list[str]:
        """Wait for a key, at most for `seconds`; return the names of the keys pressed."""
        if self._saved is None:
            time.sleep(seconds)
            return []
        if not select.select([self._stream], [], [], seconds)[0]:
            return []
        typed = os.read(self._stream.fileno(), 64).decode(errors="replace")
        if len(typed) > 1 and typed[0] == "\x1b":
            return []  # an arrow or another key that sends several characters
        return [self._NAMES.get(letter, letter.lower()) for letter in typed]

    def close(self) -> None:
        """Give the terminal its settings back."""
        if self._saved is not None:
            import termios

            termios.tcsetattr(self._stream, termios.TCSADRAIN, self._saved)
            self._saved = None
