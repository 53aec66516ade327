"""Bands against a direct computation, grids that never extrapolate, moving means."""

import itertools

import numpy as np
import pytest

from pufferlib.plotting.statistics import GRID, bootstrap, common_grid, interpolate, smooth


def test_the_band_of_two_runs_is_known_exactly():
    """Of two runs a resample is (a, a), (b, b) or (a, b) with 1/4, 1/4, 1/2: the tails are a, b."""
    band = bootstrap(np.array([[1.0, 10.0, 5.0], [3.0, 4.0, 5.0]]))
    assert band.mean.tolist() == [2, 7, 5]
    assert band.low.tolist() == [1, 4, 5]
    assert band.high.tolist() == [3, 10, 5]


def test_the_band_agrees_with_the_distribution_of_all_resamples():
    values = np.array([0.0, 1.0, 4.0, 9.0, 16.0])
    means = np.sort([np.mean(drawn) for drawn in itertools.product(values, repeat=5)])  # 5^5
    low, high = np.quantile(means, [0.025, 0.975])
    band = bootstrap(values[:, None])
    assert band.mean[0] == 6
    assert band.low[0] == pytest.approx(low, abs=0.2)  # neighbouring means are 0.2 apart
    assert band.high[0] == pytest.approx(high, abs=0.2)


def test_the_band_is_the_same_each_time_and_that_of_one_run_is_the_run():
    values = np.random.default_rng(1).normal(size=(4, 7))
    first, second = bootstrap(values), bootstrap(values)
    for a, b in zip(first, second, strict=True):
        np.testing.assert_array_equal(a, b)
    assert (first.low <= first.mean).all() and (first.mean <= first.high).all()
    for row in bootstrap(values[:1]):
        np.testing.assert_array_equal(row, values[0])


def test_the_grid_is_what_all_runs_have():
    grid = common_grid([np.array([1.0, 5.0, 9.0]), np.array([2.0, 7.0]), np.array([0.0, 8.0])])
    assert len(grid) == GRID
    assert (grid[0], grid[-1]) == (2, 7)
    np.testing.assert_allclose(np.diff(grid), 5 / (GRID - 1))


def test_runs_without_a_common_range_have_no_grid_and_one_common_point_is_one():
    assert len(common_grid([np.array([1.0, 2.0]), np.array([3.0, 4.0])])) == 0
    assert common_grid([np.array([4.0]), np.array([4.0])]).tolist() == [4]
    assert common_grid([np.array([1.0, 4.0]), np.array([4.0, 9.0])]).tolist() == [4]


def test_between_its_points_a_run_is_linear():
    grid = np.array([1.0, 2.0, 2.5, 3.0])
    values = interpolate(
        grid,
        [np.array([1.0, 3.0]), np.array([0.0, 2.0, 4.0])],
        [np.array([10.0, 30.0]), np.array([0.0, 4.0, 0.0])],
    )
    assert values.tolist() == [[10, 20, 25, 30], [2, 4, 3, 2]]


@pytest.mark.parametrize(
    ("points", "expected"),
    [
        (1, [3, 0, 6, 9, 12]),
        (3, [1.5, 3, 5, 9, 10.5]),
        (5, [3, 4.5, 6, 6.75, 9]),
        (99, [6, 6, 6, 6, 6]),
    ],
)
def test_a_moving_mean_is_centred_and_shorter_at_the_ends(points, expected):
    assert smooth(np.array([3.0, 0.0, 6.0, 9.0, 12.0]), points).tolist() == expected
