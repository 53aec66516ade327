"""The scale of a continuous axis, from which a policy starts. This file imports no torch.

* Bounds of a width up to WIDEST: the mean starts in the middle; half the width is the unit.
* Wider bounds, or a missing one: the mean starts at 0, or where it is 1 away from the bound that
  excludes 0; the unit is that of the axis.
* Bounds that are equal: the axis always has that value, and nothing is learned about it.
"""

from typing import NamedTuple

WIDEST = 1e6  # bounds that are further apart limit the actions, but say nothing about their scale


class AxisScale(NamedTuple):
    """The mean of a new policy on an axis, and the unit of mean and deviation."""

    middle: float
    reach: float  # 0 for an axis of one value


def axis_scale(low: float, high: float) -> AxisScale:
    """Return the scale of an axis with these bounds, which may be infinite."""
    if high - low <= WIDEST:
        return AxisScale((low + high) / 2, (high - low) / 2)
    return AxisScale(min(max(0.0, low + 1), high - 1), 1.0)
