"""Keys that a person presses in a terminal, as presses and releases with the names of key_names.py.

A terminal reports that a key was typed, again and again while it is held, and never that it was
released. So a key counts as held for a while after it was typed: until the terminal repeats it for
the first time, then from one repetition to the next. What comes sooner than a first repetition is
another press. A capital letter or an arrow with Shift holds Shift as well.
"""

from __future__ import annotations

import contextlib
import os
import re
import select
import time
from typing import Any, TextIO

from pufferenv.drawing.key_names import name_of

FIRST, REPEATED = 0.5, 0.15  # seconds for which a key that was typed counts as held
SOONEST = 0.2  # seconds until a terminal repeats a key for the first time, at least
LETTERS = {"A": "up", "B": "down", "C": "right", "D": "left", "H": "home", "F": "end",
           "P": "f1", "Q": "f2", "R": "f3", "S": "f4"}  # fmt: skip
NUMBERS = {1: "home", 2: "insert", 3: "delete", 4: "end", 5: "pageup", 6: "pagedown", 11: "f1",
           12: "f2", 13: "f3", 14: "f4", 15: "f5", 17: "f6", 18: "f7", 19: "f8", 20: "f9",
           21: "f10", 23: "f11", 24: "f12"}  # fmt: skip
SPECIAL = {"\r": "enter", "\n": "enter", "\t": "tab", "\x7f": "backspace", "\b": "backspace",
           "\x1b": "escape", "=": "plus", "+": "plus", "-": "minus"}  # fmt: skip
SEQUENCE = re.compile(r"\x1b(?:O|\[)(?:(\d+)(?:;(\d+))?)?([A-Za-z~])")  # of ECMA-48, as xterm sends


def typed_keys(text: str) -> list[tuple[str, bool]]:
    """Return the names of the keys that a terminal sent as `text`, and whether Shift was held."""
    keys: list[tuple[str, bool]] = []
    at = 0
    while at < len(text):
        found = SEQUENCE.match(text, at)
        if found:
            number, modifier, letter = found.groups()
            name = NUMBERS.get(int(number or 0)) if letter == "~" else LETTERS.get(letter)
            if letter == "Z":  # Shift and Tab
                name, modifier = "tab", "2"
            if name:
                keys.append((name, bool(modifier) and bool(int(modifier) - 1 & 1)))
            at = found.end()
            continue
        letter = text[at]
        at += 1
        name = SPECIAL.get(letter) or name_of(ord(letter))
        if name:
            keys.append((name, "A" <= letter <= "Z"))
    return keys


class TerminalKeyboard:
    """Reads keys from a terminal while it is open, as a context manager that restores it.

    From a stream that is no terminal no keys are read. Ctrl-C still interrupts.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._saved: list[Any] | None = None
        self._until: dict[str, float] = {}  # by held key: when it counts as released
        self._since: dict[str, float | None] = {}  # when it was pressed; None: it is repeated

    def __enter__(self) -> TerminalKeyboard:
        with contextlib.suppress(ImportError, OSError, ValueError, AttributeError):
            import termios
            import tty

            if self._stream.isatty():
                self._saved = termios.tcgetattr(self._stream)
                tty.setcbreak(self._stream)
        return self

    def __exit__(self, *error: object) -> None:
        if self._saved is not None:
            import termios

            termios.tcsetattr(self._stream, termios.TCSADRAIN, self._saved)
            self._saved = None

    def events(self, now: float | None = None) -> list[tuple[str, bool]]:
        """Return (name, went down) of what happened since the last call, in order."""
        return self.take(self._read(), time.monotonic() if now is None else now)

    def take(self, text: str, now: float) -> list[tuple[str, bool]]:
        """Return the presses and releases for what the terminal sent up to `now`, in seconds."""
        events = [(key, False) for key, until in self._until.items() if until <= now]
        for key, _ in events:
            del self._until[key]
        for key, shifted in typed_keys(text):
            for name in ("shift", key) if shifted else (key,):
                since = self._since.get(name)
                again = name in self._until and since is not None and now - since < SOONEST
                if again:
                    events.append((name, False))
                if again or name not in self._until:
                    events.append((name, True))
                    self._since[name], lasts = now, FIRST
                else:
                    self._since[name], lasts = None, REPEATED
                self._until[name] = max(self._until.get(name, 0), now + lasts)
        return events

    def wait(self, seconds: float) -> None:
        """Wait, at most until a key is typed."""
        if self._saved is None:
            time.sleep(max(0.0, seconds))
        else:
            select.select([self._stream], [], [], max(0.0, seconds))

    def _read(self) -> str:
        if self._saved is None or not select.select([self._stream], [], [], 0)[0]:
            return ""
        return os.read(self._stream.fileno(), 1024).decode(errors="replace")
