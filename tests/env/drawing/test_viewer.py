"""A window with envs in a grid: places, pace, captions, resizing, and what is under the mouse."""

from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from pufferenv.drawing import viewer, window
from pufferenv.drawing._drawing import DisplayList
from pufferenv.drawing.caption import caption_list
from pufferenv.drawing.grid import GAP, NIGHT, caption_size
from pufferenv.drawing.viewer import Viewer, places

pygame = pytest.importorskip("pygame", reason="pygame opens the window; the extra `render` has it")


class Clock:
    """Time that passes only while somebody sleeps."""

    def __init__(self) -> None:
        self.now = 100.0

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    monkeypatch.setenv("SDL_VIDEODRIVER", "dummy")
    clock = Clock()
    time = SimpleNamespace(monotonic=clock.monotonic, sleep=clock.sleep)
    for module in (viewer, window):
        monkeypatch.setattr(module, "time", time)
    return clock


@pytest.fixture
def made(clock: Clock) -> Iterator[Any]:
    viewers = []

    def make(*args: Any, **options: Any) -> Viewer:
        viewers.append(Viewer("game", *args, **options))
        return viewers[-1]

    yield make
    for one in viewers:
        one.close()


def square(text: bytes = b"") -> DisplayList:
    """Return a list whose view is 10 x 10, with some text."""
    words = caption_list(text, 10, 10).words
    return DisplayList(words, (0, 0, 10, 10))


def with_disc(x: float) -> DisplayList:
    """Return a list with a disc that moves, at x."""
    disc = np.array([x, 5, 1], np.float32).view(np.uint32)
    key, green = [1 | 2 << 8, 1], 0x43DD94FF
    words = [*square().words[:-1], *key, 4 | 5 << 8, green, *disc, 0]
    return DisplayList(np.array(words, np.uint32), (0, 0, 10, 10))


def pixels() -> npt.NDArray[np.uint8]:
    array: npt.NDArray[np.uint8] = pygame.surfarray.array3d(pygame.display.get_surface())
    return array.swapaxes(0, 1)


def drawn(one: DisplayList, width: int, height: int) -> npt.NDArray[np.uint8]:
    image = np.empty((height, width, 3), np.uint8)
    one.raster(image)
    return image


def resize(width: int, height: int) -> None:
    pygame.display.set_mode((width, height), pygame.RESIZABLE)


def test_each_step_lasts_as_long_as_the_pace_says(made: Any, clock: Clock) -> None:
    shown = made(10, 1, 100, 100)
    began = clock.now
    for _ in range(5):
        shown.show([square(b"abc")])
        clock.now += 0.03  # the env and the policy need time too
    assert clock.now - began == pytest.approx(0.53)
    shown.pace = 20
    shown.show([square()])
    shown.show([square()])
    assert clock.now - began == pytest.approx(0.60)
    shown.show([square()], wait=False)
    assert clock.now - began == pytest.approx(0.60)
    clock.now += 5  # a long pause is not made up for
    shown.show([square()])
    assert clock.now - began == pytest.approx(5.65)


def test_things_move_between_two_steps(
    made: Any, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """60 frames a second: at 15 steps a second, three between two steps, and then the step."""
    shown, pictures, times = made(15, 1, 100, 100), [], []
    show = shown.window.show

    def record(frame: npt.NDArray[np.uint8]) -> None:
        pictures.append(frame.copy())
        times.append(clock.now)
        show(frame)

    monkeypatch.setattr(shown.window, "show", record)
    lists = [with_disc(2.0), with_disc(3.0)]
    shown.show([lists[0]])
    shown.show([lists[1]])
    parts = [lists[0], *(with_disc(2 + part) for part in (0.25, 0.5, 0.75)), lists[1]]
    assert len(pictures) == 5
    for picture, expected in zip(pictures, parts, strict=True):
        assert (picture == drawn(expected, 100, 100)).all()
    assert np.diff(times[1:]) == pytest.approx(1 / 60)
    shown.show([lists[0]], smooth=False)
    assert len(pictures) == 6
    shown.pace = 60
    shown.show([lists[1]])
    assert len(pictures) == 7


def test_a_resized_window_is_drawn_again_at_its_new_size(made: Any) -> None:
    shown = made(10, 1, 100, 100)
    shown.show([square(b"a")])
    assert (pixels() == drawn(square(b"a"), 100, 100)).all()
    resize(300, 200)
    shown.show([square(b"a")])
    assert (pixels() == drawn(square(b"a"), 300, 200)).all()
    resize(150, 180)  # while a step is being shown
    shown._wait(window.time.monotonic() + 1)
    assert (pixels() == drawn(square(b"a"), 150, 180)).all()


def test_envs_stand_in_a_grid_with_their_captions(made: Any) -> None:
    shown = made(10, 2, 200, 100, captions=True)
    strip = caption_size(200)
    lists = [square(b"a"), square(b"b")]
    shown.show(lists, ["first", "second"], wait=False)
    height = 100 + strip
    assert pixels().shape == (2 * height + GAP, 200, 3)
    assert (pixels()[strip:height] == drawn(lists[0], 200, 100)).all()
    assert (pixels()[height : height + GAP] == NIGHT).all()
    assert (pixels()[height + GAP + strip :] == drawn(lists[1], 200, 100)).all()
    assert (pixels()[:strip] != NIGHT).any()
    assert (pixels()[:strip] != pixels()[height + GAP : height + GAP + strip]).any()


def test_the_place_under_the_mouse_is_an_env_and_a_point_of_its_world(made: Any) -> None:
    shown = made(10, 2, 100, 100)
    shown.show([square(), square()], wait=False)
    assert shown.window.width == 208
    assert shown.pick(50, 25) == (0, 5, 2.5)
    assert shown.pick(158, 100 - 1) == (1, 5, 9.9)
    assert shown.pick(104, 50) is None
    resize(408, 100)  # each picture now stands in the middle of 200 pixels
    shown.events()
    shown.show([square(), square()], wait=False)
    assert shown.pick(100, 50) == (0, 5, 5)
    assert shown.pick(50, 0) == (0, 0, 0)


def test_frames_are_shown_where_there_are_no_lists(made: Any, clock: Clock) -> None:
    shown, began = made(10, 2, 40, 30), clock.now
    frames = [np.full((30, 40, 3), value, np.uint8) for value in (10, 20)]
    shown.show_frames(frames)
    assert clock.now - began == pytest.approx(0.1)
    tall = (pixels() == 10).all(2)
    assert tall.any()
    assert shown.pick(1, 1) == (0, 1, 1)
    shown.show_frames(frames, ["first", "second"], wait=False)
    assert not (pixels() == 10).all(2)[0].any()  # the caption is above the frame


def test_a_closed_window_ends_a_step_at_once(made: Any, clock: Clock) -> None:
    shown = made(0.01, 1, 100, 100)
    shown.show([square()], wait=False)
    pygame.event.post(pygame.event.Event(pygame.QUIT))
    began = clock.now
    shown.show([square()])
    assert shown.closed
    assert clock.now - began < 1
    assert shown.events().closed
    shown.show([square()], wait=False)


@pytest.mark.parametrize(
    ("count", "width", "height", "columns"),
    [(1, 100, 100, 1), (2, 400, 100, 2), (2, 100, 400, 1), (4, 200, 200, 2), (6, 300, 200, 3)],
)
def test_a_window_has_the_columns_that_show_envs_largest(
    count: int, width: int, height: int, columns: int
) -> None:
    cells = places(count, width, height, 1.0, captions=False)
    assert len({cell.x for cell in cells}) == columns
    assert len(cells) == count
    assert max(cell.x + cell.width for cell in cells) <= width
    assert max(cell.y + cell.height for cell in cells) <= height


def test_a_window_that_is_too_small_for_its_envs_still_has_a_pixel_of_each() -> None:
    for cell in places(9, 3, 3, 1.0, captions=True):
        assert 0 <= cell.x < 3
        assert 0 <= cell.y < 3
        assert cell.width >= 1 and cell.height >= 1
