"""Several frames in one picture: places, sizes, captions, errors."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest

from pufferenv.drawing.grid import GAP, NIGHT, Grid, caption_size, night, tile


def frame(value: int, height: int = 20, width: int = 30) -> npt.NDArray[np.uint8]:
    return np.full((height, width, 3), value, np.uint8)


@pytest.mark.parametrize(
    ("count", "aspect", "columns", "rows"),
    [(1, 1, 1, 1), (2, 1, 1, 2), (4, 1, 2, 2), (6, 1, 2, 3), (6, 3, 3, 2), (16, 1, 3, 6)],
)
def test_a_grid_of_wide_frames_comes_near_to_the_wanted_shape(
    count: int, aspect: float, columns: int, rows: int
) -> None:
    grid = Grid(count, 200, 100, gap=0, aspect=aspect)
    assert (grid.columns, grid.rows) == (columns, rows)
    assert (grid.width, grid.height) == (200 * columns, 100 * rows)


def test_a_grid_has_few_empty_places() -> None:
    for count, columns in ((3, 2), (4, 2), (5, 3), (6, 3), (9, 3), (12, 4), (16, 4)):
        assert Grid(count, 100, 100, aspect=4 / 3).columns == columns


def test_frames_stand_row_by_row_with_gaps_of_the_ground() -> None:
    assert tile([frame(1), frame(2), frame(3)]).shape == (20 * 2 + GAP, 30 * 2 + GAP, 3)
    picture = tile([frame(1), frame(2), frame(3)], gap=2, aspect=1.5)
    assert picture.shape == (42, 62, 3)
    assert (picture[:20, :30] == 1).all()
    assert (picture[:20, 32:] == 2).all()
    assert (picture[22:, :30] == 3).all()
    assert (picture[:20, 30:32] == NIGHT).all()
    assert (picture[20:22] == NIGHT).all()
    assert (picture[22:, 30:] == NIGHT).all()


def test_one_frame_is_its_own_picture() -> None:
    one = frame(7)
    assert tile([one]) is one


def test_a_smaller_frame_stands_in_the_middle_of_its_cell() -> None:
    picture = tile([frame(1, 20, 20), frame(2, 10, 10)], gap=0, aspect=2)
    assert picture.shape == (20, 40, 3)
    assert (picture[5:15, 25:35] == 2).all()
    assert (picture == 2).sum() == 300


def test_each_frame_has_its_caption_above_it() -> None:
    frames = [frame(1, 60, 200), frame(2, 60, 200)]
    picture = tile(frames, gap=4, aspect=3, labels=["ppo 123", "random"])
    strip = caption_size(200)
    assert picture.shape == (60 + strip, 404, 3)
    assert (picture[strip:, :200] == 1).all()
    assert (picture[strip:, 204:] == 2).all()
    left, right = picture[:strip, :200], picture[:strip, 204:]
    assert (left != NIGHT).any()
    assert (left != right).any()
    assert (left[:, :2] == NIGHT).all()


def test_a_caption_that_is_too_long_ends_within_its_frame() -> None:
    labels = ["a very long caption indeed, much longer than the frame"] * 2
    picture = tile([frame(1, 20, 60), frame(1, 20, 60)], gap=6, aspect=3, labels=labels)
    assert (picture[:, 60:66] == NIGHT).all()


def test_a_point_of_a_picture_is_in_a_frame_or_in_none() -> None:
    grid = Grid(3, 30, 20, gap=2, aspect=1.5, caption_height=0)
    assert [grid.at(0, 0), grid.at(29, 19), grid.at(30, 0), grid.at(33, 1)] == [0, 0, None, 1]
    assert [grid.at(0, 22), grid.at(40, 30)] == [2, None]


def test_grey_frames_stand_on_the_grey_of_the_ground() -> None:
    picture = tile([np.zeros((4, 4, 1), np.uint8)] * 2, gap=2, aspect=3)
    assert (picture[:, 4:6] == night(1)).all()
    assert night(4) == (*NIGHT, 255)


def test_bad_frames_are_named() -> None:
    with pytest.raises(ValueError, match="frames is empty"):
        tile([])
    with pytest.raises(ValueError, match=r"frames\[1\] is float64 \(20, 30, 3\); it must be uint8"):
        tile([frame(1), frame(1).astype(float)])
    with pytest.raises(ValueError, match=r"frames\[1\] has 1 channels, frames\[0\] has 3"):
        tile([frame(1), np.zeros((4, 4, 1), np.uint8)])
    with pytest.raises(ValueError, match="labels has 1 entries; it must have 2"):
        tile([frame(1), frame(2)], labels=["one"])
    with pytest.raises(ValueError, match="aspect=0 must be above 0"):
        tile([frame(1), frame(2)], aspect=0)
