"""Mean and confidence of several runs: interpolation on a common grid, bootstrap, smoothing.

Letters: R runs, P points of a curve, G points of the grid, B resamples.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from pufferlib.plotting.run_log import Floats

CONFIDENCE = 0.95
RESAMPLES = 10_000
SEED = 0  # of the resampling, so that a plot can be repeated
GRID = 200


class Band(NamedTuple):
    """A mean over runs with its confidence interval."""

    mean: Floats  # (G,)
    low: Floats  # (G,)
    high: Floats  # (G,)


def bootstrap(values: Floats) -> Band:
    """Return the mean over runs, values (R, G), and the percentile bootstrap interval of the mean.

    A resample draws R of the R runs with replacement (Efron 1979, *Bootstrap methods: another look
    at the jackknife*). With one run the interval is the run itself.
    """
    runs = len(values)
    drawn = np.random.default_rng(SEED).integers(0, runs, (RESAMPLES, runs))
    weights = np.zeros((RESAMPLES, runs))  # (B, R) share of each run in each resample
    np.add.at(weights, (np.arange(RESAMPLES)[:, None], drawn), 1 / runs)
    tail = (1 - CONFIDENCE) / 2
    low, high = np.quantile(weights @ values, [tail, 1 - tail], axis=0)
    return Band(values.mean(0), low, high)


def common_grid(positions: Sequence[Floats]) -> Floats:
    """Return G positions from the latest start of the runs to their earliest end.

    No run is extrapolated, so the grid ends where the shortest run ends. It is empty if the runs
    have no range in common.
    """
    begin = max(x[0] for x in positions)
    end = min(x[-1] for x in positions)
    if begin >= end:
        return np.full(int(begin == end), begin)
    return np.linspace(begin, end, GRID)


def interpolate(grid: Floats, positions: Sequence[Floats], values: Sequence[Floats]) -> Floats:
    """Return each run's values on the grid (R, G), linear between its points."""
    return np.stack([np.interp(grid, x, y) for x, y in zip(positions, values, strict=True)])


def smooth(values: Floats, points: int) -> Floats:
    """Return the centred moving mean over an odd number of points; at the ends, over those there.

    An even number of points counts as the next odd one.
    """
    half = points // 2
    sums = np.concatenate([[0.0], np.cumsum(values)])
    at = np.arange(len(values))
    begin, end = np.maximum(at - half, 0), np.minimum(at + half + 1, len(values))
    means: Floats = (sums[end] - sums[begin]) / (end - begin)
    return means
