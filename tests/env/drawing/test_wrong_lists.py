"""Lists and views that the rasterizer refuses, and places that it clips."""

from __future__ import annotations

import math

import numpy as np
import pytest

from pufferenv.drawing._drawing import DisplayListError
from tests.support.display_lists import (
    WHITE,
    disc,
    display_list,
    fill,
    path,
    picture,
    rect,
    ring,
    text,
)

NAN, HUGE = float("nan"), 1e30


@pytest.mark.parametrize("number", [NAN, math.inf, -math.inf, HUGE, -HUGE])
def test_numbers_that_are_not_finite_or_huge_are_refused(number):
    good = [1.0, 2, 3, 4, 1]
    makers = [(rect, 4), (disc, 3), (ring, 4)]
    for make, count in makers:
        for k in range(count):
            args = [*good[:k], number, *good[k + 1 : count]]
            check_refused(make(*args))
    check_refused(rect(1, 2, 3, 4, radius=number))
    check_refused(path([(1, 1), (2, number)], 1))
    check_refused(path([(1, 1), (2, 2)], number))
    check_refused(fill([(1, 1), (number, 2), (3, 3)]))
    for args in ((number, 1, 1), (1, number, 1), (1, 1, number)):
        check_refused(text(*args, "text"))


def test_negative_sizes_are_refused():
    for wrong in (
        rect(1, 1, -0.1, 1), rect(1, 1, 1, -0.1), rect(1, 1, 1, 1, radius=-1), disc(1, 1, -1),
        ring(1, 1, -1, 2), ring(1, 1, 1, -1), path([(1, 1), (2, 2)], -1), text(1, 1, -1, "text"),
    ):  # fmt: skip
        check_refused(wrong)


def test_words_that_are_no_command_are_refused():
    lengths = [(9, 2), (255, 4), (1, 3), (2, 1), (3, 6), (3, 8), (4, 4), (5, 5), (6, 4), (6, 6)]
    for op, size in [*lengths, (7, 6), (7, 9), (8, 6)]:
        words = np.ones(max(size, 2), np.float32).view(np.uint32)
        words[0] = op | size << 8
        check_refused(words)
    check_refused(np.array([3, WHITE], np.uint32))  # of no words
    check_refused(rect(1, 1, 2, 2)[:-1])  # cut off: END is read as its radius
    check_refused(np.array([3 | 0xFFFFFF << 8, WHITE], np.uint32))
    longer = text(1, 9, 4, "four")
    longer[6] = 5  # bytes, of which there is no room for the last
    check_refused(longer)
    aligned = text(1, 9, 4, "four")
    aligned[5] = np.float32(0.5).view(np.uint32)
    check_refused(aligned)


def check_refused(wrong):
    """Assert that a command is an error, and that what stands before it is drawn."""
    image = np.zeros((16, 16, 1), np.uint8)
    with pytest.raises(DisplayListError):
        display_list(rect(0, 0, 16, 16, 0x000000FF), disc(2, 2, 1.5), wrong).raster(image)
    assert image[2, 2] == 255 and image[14, 14] == 0


def test_a_wrong_shape_is_left_out_and_the_others_are_drawn():
    image = np.zeros((16, 16, 1), np.uint8)
    with pytest.raises(DisplayListError, match=r"puf_disc\(1, nan, 2\)"):
        display_list(disc(1, NAN, 2), rect(8, 8, 8, 8)).raster(image)
    assert image[12, 12] == 255


WRONG_VIEWS = [(0, 0, 0, 1), (0, 0, 1, -1), (0, 0, NAN, 1), (NAN, 0, 1, 1), (0, 0, math.inf, 1)]


@pytest.mark.parametrize("view", [*WRONG_VIEWS, (1e30, 0, 1, 1)])
def test_a_view_that_shows_nothing_is_refused(view):
    image = np.zeros((4, 4, 3), np.uint8)
    with pytest.raises((ValueError, DisplayListError), match="view"):
        display_list(disc(1, 1, 1), view=view).raster(image)


def test_places_far_outside_are_clipped():
    shapes = [
        rect(0, 0, 20, 20, 0x000000FF), rect(-1e9, 4, 1e9, 2), rect(-1e8, 8, 2e8, 1),
        disc(1e9, 1e9, 3), ring(10, 10, 9e8, 5), path([(-1e9, 12.5), (1e9, 12.5)], 1),
        fill([(-1e9, 14), (1e9, 14), (1e9, 15), (-1e9, 15)]),
        text(1e9, 3, 5, "far"), text(-1e9, 3, 5, "far"),
    ]  # fmt: skip
    rows = picture(display_list(*shapes, view=(0, 0, 20, 20)), 20, channels=1)[:, 10, 0]
    assert rows[8] == rows[12] == rows[14] == 255
    assert rows[:8].max() == rows[9:12].max() == rows[13] == rows[15:].max() == 0
