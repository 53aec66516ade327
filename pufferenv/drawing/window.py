"""A window that shows frames, by pygame. It needs the extra `render`, and a display.

pygame has one window per process, so one Window is open at a time. It does not scale text: a caller
that draws at `width` x `height`, which change when the window is resized, shows sharp frames.
"""

from __future__ import annotations

import contextlib
import os
import sys
import time
import weakref
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from pufferenv.drawing.grid import NIGHT
from pufferenv.drawing.key_names import name_of

Frame = npt.NDArray[np.uint8]  # (H, W, 3)

LEAST_SIDE = 64  # pixels of a window
HIDDEN_DRIVERS = ("offscreen", "dummy")
PIECE = 1 / 120  # seconds between two looks at the events during a wait


class NoDisplay(RuntimeError):
    """There is no display on which a window could be opened.

    reason: the message without the advice.
    """

    def __init__(self, why: str) -> None:
        self.reason = f"there is no display for a window ({why})"
        super().__init__(
            f"{self.reason}: draw into a file or a terminal instead, or use render_mode='rgb_array'"
        )


class Click(NamedTuple):
    """A press of a mouse button: its number (1: left), and the place in the frame shown last."""

    button: int
    x: float  # pixels of that frame
    y: float


class Events(NamedTuple):
    """What happened in a window since the last call of `events`."""

    keys: tuple[tuple[str, bool], ...]  # (name, went down), in order; names as in key_names.py
    held: frozenset[str]  # keys that are down now
    taps: tuple[str, ...]  # keys that went down, in order
    clicks: tuple[Click, ...]
    mouse: tuple[float, float] | None  # pixels of the frame shown last; None: outside of it
    closed: bool
    resized: bool


_open: weakref.ref[Window] | None = None


class Window:
    """A window of `width` x `height` pixels, smaller if the screen is; a person may resize it.

    Raises NoDisplay without a display, ImportError without pygame, and RuntimeError if another
    Window of this process is open.
    """

    title: str
    width: int  # pixels, at the moment
    height: int
    closed: bool

    def __init__(self, title: str, width: int, height: int) -> None:
        global _open
        self.closed = True
        other = None if _open is None else _open()
        if other is not None and not other.closed:
            raise RuntimeError(
                f"{title}: the window {other.title!r} is open, and pygame has one per process: "
                "close that env first, or draw both as rgb_array"
            )
        self.title = title
        self._pygame = load_pygame()
        self._display = display = _display(self._pygame)
        width, height = _on_screen(display, width, height)
        try:
            self._surface = display.set_mode((width, height), self._pygame.RESIZABLE)
        except self._pygame.error as error:
            raise NoDisplay(str(error)) from None
        display.set_caption(title)
        self.closed, _open = False, weakref.ref(self)
        self.width, self.height = self._surface.get_size()
        self._held: set[str] = set()
        self._keys: list[tuple[str, bool]] = []
        self._clicks: list[tuple[int, float, float]] = []
        self._resized = False
        self._mouse: tuple[float, float] | None = None
        self._frame: tuple[float, float, float] | None = None  # x, y, scale of the frame

    def show(self, frame: Frame) -> None:
        """Show a frame (H, W, 3): as it is, or scaled to the window if its size differs."""
        if self.closed:
            return
        pygame = self._pygame
        frame = np.ascontiguousarray(frame[:, :, :3])
        height, width = frame.shape[:2]
        image = pygame.image.frombuffer(frame, (width, height), "RGB")
        scale = 1.0
        if (width, height) != (self.width, self.height):
            scale = min(self.width / width, self.height / height)
            size = max(1, round(width * scale)), max(1, round(height * scale))
            image = pygame.transform.smoothscale(image, size)
            self._surface.fill(NIGHT)
        x, y = (self.width - image.get_width()) // 2, (self.height - image.get_height()) // 2
        self._surface.blit(image, (x, y))
        self._frame = x, y, scale
        self._display.flip()
        self._pump()

    def events(self) -> Events:
        """Return what happened since the last call, and what is held now."""
        self._pump()
        found = Events(
            tuple(self._keys),
            frozenset(self._held),
            tuple(name for name, down in self._keys if down),
            tuple(Click(button, *place) for button, *at in self._clicks if (place := self._in(at))),
            self._in(self._mouse),
            self.closed,
            self._resized,
        )
        self._keys, self._clicks, self._resized = [], [], False
        return found

    def wait(self, until: float) -> None:
        """Wait until `time.monotonic()` is `until`, or until the window is closed."""
        while not self.closed and (left := until - time.monotonic()) > 0:
            time.sleep(min(left, PIECE))
            self._pump()

    def close(self) -> None:
        """Close the window. A second call does nothing."""
        global _open
        if not self.closed:
            self.closed, _open = True, None
            self._held.clear()
            self._display.quit()

    def __del__(self) -> None:
        with contextlib.suppress(Exception):  # at the end of the interpreter
            self.close()

    def _in(self, at: Any) -> tuple[float, float] | None:
        """Return a place in the window as one in the frame; None: outside of it."""
        if at is None or self._frame is None:
            return None
        x, y, scale = self._frame
        place = (at[0] - x) / scale, (at[1] - y) / scale
        inside = x <= at[0] < self.width - x and y <= at[1] < self.height - y
        return place if inside else None

    def _pump(self) -> None:
        """Take the events of the operating system."""
        if self.closed:
            return
        pygame = self._pygame
        for event in pygame.event.get():
            if event.type == pygame.QUIT:
                self.close()
                return
            if event.type in (pygame.KEYDOWN, pygame.KEYUP):
                self._key(event)
            elif event.type == pygame.MOUSEBUTTONDOWN:
                self._clicks.append((event.button, *event.pos))
            elif event.type == pygame.MOUSEMOTION:
                self._mouse = event.pos
            elif event.type == pygame.WINDOWLEAVE:
                self._mouse = None
            elif event.type == pygame.WINDOWFOCUSLOST:
                # Another window gets the events in which these keys are released.
                self._keys += [(name, False) for name in sorted(self._held)]
                self._held.clear()
        self._surface = self._display.get_surface()  # of another size if the window was resized
        if (size := self._surface.get_size()) != (self.width, self.height):
            self._resized, (self.width, self.height) = True, size

    def _key(self, event: Any) -> None:
        name, down = name_of(event.key), event.type == self._pygame.KEYDOWN
        if name is not None:
            self._keys.append((name, down))
            (self._held.add if down else self._held.discard)(name)


def load_pygame() -> Any:
    """Import pygame, whose greeting is left out. Raises ImportError that names the extra."""
    os.environ.setdefault("PYGAME_HIDE_SUPPORT_PROMPT", "1")
    try:
        import pygame
    except ModuleNotFoundError:
        raise ImportError(
            "a window needs pygame, which is not installed: run `pip install 'pufferenv[render]'`"
        ) from None
    return pygame


def check_display() -> None:
    """Raise NoDisplay unless a window can be opened; ImportError without pygame."""
    _display(load_pygame())


def has_display(environment: Mapping[str, str] = os.environ, platform: str = sys.platform) -> bool:
    """Return whether the environment names a display; other systems than Linux always have one."""
    names = ("DISPLAY", "WAYLAND_DISPLAY", "SDL_VIDEODRIVER")
    return not platform.startswith("linux") or any(environment.get(name) for name in names)


def _display(pygame: Any) -> Any:
    """Start pygame's display and return its module; raise NoDisplay if there is none."""
    if not has_display():
        raise NoDisplay("neither DISPLAY nor WAYLAND_DISPLAY is set")
    try:
        pygame.display.init()
    except pygame.error as error:
        raise NoDisplay(str(error)) from None
    # SDL takes one of these, which show nothing, where it cannot open the display that is named.
    if pygame.display.get_driver() in HIDDEN_DRIVERS and "SDL_VIDEODRIVER" not in os.environ:
        pygame.display.quit()
        name = os.environ.get("WAYLAND_DISPLAY") or os.environ.get("DISPLAY")
        raise NoDisplay(f"the display {name!r} cannot be opened")
    return pygame.display


def _on_screen(display: Any, width: int, height: int) -> tuple[int, int]:
    """Return a size of the same shape that leaves a margin on the screen."""
    sizes = display.get_desktop_sizes()
    across, down = sizes[0] if sizes else (width, height)
    scale = min(1.0, 0.9 * across / width, 0.85 * down / height)
    return max(LEAST_SIDE, int(width * scale)), max(LEAST_SIDE, int(height * scale))
