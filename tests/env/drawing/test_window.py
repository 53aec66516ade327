"""A window without a screen (SDL's dummy driver): frames, keys, clicks, resizing, closing."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
import time
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import pytest

from pufferenv.drawing.grid import NIGHT
from pufferenv.drawing.window import NoDisplay, Window, has_display

pygame = pytest.importorskip("pygame", reason="pygame opens the window; the extra `render` has it")


@pytest.fixture(autouse=True)
def dummy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SDL_VIDEODRIVER", "dummy")


@pytest.fixture
def window() -> Iterator[Window]:
    window = Window("breakout", 300, 200)
    yield window
    window.close()


def frame(height: int, width: int) -> npt.NDArray[np.uint8]:
    return np.random.default_rng(3).integers(0, 256, (height, width, 3), np.uint8)


def pixels() -> npt.NDArray[np.uint8]:
    """Return what the window shows, (H, W, 3)."""
    array: npt.NDArray[np.uint8] = pygame.surfarray.array3d(pygame.display.get_surface())
    return array.swapaxes(0, 1)


def press(key: int, kind: int | None = None) -> None:
    pygame.event.post(pygame.event.Event(kind or pygame.KEYDOWN, key=key, unicode="", mod=0))


def resize(width: int, height: int) -> None:
    pygame.display.set_mode((width, height), pygame.RESIZABLE)


def test_a_frame_of_the_windows_size_is_shown_pixel_by_pixel(window: Window) -> None:
    assert (window.width, window.height) == (300, 200)
    given = frame(200, 300)
    window.show(given)
    assert (pixels() == given).all()
    assert pygame.display.get_caption()[0] == "breakout"


def test_another_frame_is_scaled_in_its_shape_to_the_middle(window: Window) -> None:
    window.show(np.full((50, 50, 3), 255, np.uint8))
    shown = pixels()
    assert (shown[:, 50:250] == 255).all()
    assert (shown[:, :50] == NIGHT).all()
    assert (shown[:, 250:] == NIGHT).all()


def test_keys_are_held_until_they_are_let_go_and_tapped_once(window: Window) -> None:
    press(pygame.K_LEFT)
    press(pygame.K_a)
    press(pygame.K_RSHIFT)
    press(pygame.K_SPACE)
    press(pygame.K_a, pygame.KEYUP)
    events = window.events()
    assert events.held == {"left", "shift", "space"}
    assert events.taps == ("left", "a", "shift", "space")
    assert events.keys == (*((key, True) for key in events.taps), ("a", False))
    events = window.events()
    assert events.held == {"left", "shift", "space"}
    assert events.taps == ()
    pygame.event.post(pygame.event.Event(pygame.WINDOWFOCUSLOST))
    events = window.events()
    assert events.held == frozenset()
    assert events.keys == (("left", False), ("shift", False), ("space", False))


def test_clicks_and_the_mouse_are_in_pixels_of_the_frame(window: Window) -> None:
    window.show(np.zeros((50, 50, 3), np.uint8))  # shown 4 times as large, from x = 50
    post, kind = pygame.event.post, pygame.event.Event
    post(kind(pygame.MOUSEBUTTONDOWN, button=1, pos=(90, 40)))
    post(kind(pygame.MOUSEBUTTONDOWN, button=3, pos=(10, 40)))
    post(kind(pygame.MOUSEMOTION, pos=(150, 100), rel=(0, 0), buttons=(0, 0, 0)))
    events = window.events()
    assert events.clicks == ((1, 10, 10),)
    assert events.mouse == (25, 25)
    post(kind(pygame.WINDOWLEAVE))
    assert window.events().mouse is None


def test_a_resized_window_says_so_and_has_its_new_size(window: Window) -> None:
    resize(640, 480)
    assert window.events().resized
    assert (window.width, window.height) == (640, 480)
    assert not window.events().resized
    given = frame(480, 640)
    window.show(given)
    assert (pixels() == given).all()


def test_a_wait_ends_when_the_window_is_closed(window: Window) -> None:
    pygame.event.post(pygame.event.Event(pygame.QUIT))
    window.wait(time.monotonic() + 3600)
    assert window.closed
    assert window.events().closed
    window.show(frame(10, 10))  # does nothing


def test_one_window_is_open_at_a_time(window: Window) -> None:
    with pytest.raises(RuntimeError, match="snake: the window 'breakout' is open"):
        Window("snake", 100, 100)
    window.close()
    other = Window("snake", 100, 100)
    del other
    gc.collect()
    Window("tag", 100, 100).close()


def test_a_window_is_no_larger_than_the_screen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pygame.display, "get_desktop_sizes", lambda: [(1000, 1000)])
    window = Window("wide", 4000, 2000)
    assert (window.width, window.height) == (900, 450)
    window.close()


def test_no_display_is_an_error_that_names_the_way_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SDL_VIDEODRIVER", "no-such-driver")
    pygame.display.quit()
    with pytest.raises(NoDisplay, match=r"no-such-driver.*draw into a file or a terminal"):
        Window("breakout", 100, 100)
    assert not has_display({}, "linux")
    assert has_display({"DISPLAY": ":0"}, "linux")
    assert has_display({"WAYLAND_DISPLAY": "wayland-0"}, "linux")
    assert has_display({}, "darwin")


@pytest.mark.skipif(sys.platform != "linux", reason="other systems name no display")
def test_without_a_named_display_no_window_is_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("DISPLAY", "WAYLAND_DISPLAY", "SDL_VIDEODRIVER"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(NoDisplay, match="neither DISPLAY nor WAYLAND_DISPLAY is set"):
        Window("breakout", 100, 100)


@pytest.mark.skipif(sys.platform != "linux", reason="other systems name no display")
def test_a_display_that_cannot_be_opened_is_named() -> None:
    program = (
        "from pufferenv.drawing.window import NoDisplay, Window\n"
        "try: Window('x', 10, 10)\n"
        "except NoDisplay as error: print(error)"
    )
    others = ("SDL_VIDEODRIVER", "WAYLAND_DISPLAY")
    environment = {key: value for key, value in os.environ.items() if key not in others}
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={**environment, "DISPLAY": ":12345"},
        capture_output=True,
        text=True,
    )
    assert "there is no display for a window" in done.stdout


def test_a_missing_pygame_names_the_extra() -> None:
    program = (
        "import sys; sys.modules['pygame'] = None\n"
        "from pufferenv.drawing.window import Window\n"
        "try: Window('x', 10, 10)\n"
        "except ImportError as error: print(error)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stdout.strip() == (
        "a window needs pygame, which is not installed: run `pip install 'pufferenv[render]'`"
    )
