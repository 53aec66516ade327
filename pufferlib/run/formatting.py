"""Formatting of numbers for people: counts, measured values, shares, durations."""

import math
from collections.abc import Mapping
from typing import Any

Metrics = Mapping[str, Any]


def count(value: float) -> str:
    """Format a count with three digits and a unit: 950, 12.3k, 4.56M."""
    for unit, size in (("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if abs(value) >= size:
            return (
                f"{value / size:.3g}{unit}" if value / size < 999.5 else f"{value / size:.0f}{unit}"
            )
    return f"{value:.0f}"


def number(value: float | None) -> str:
    """Format a measured value with about four digits, None as `-`."""
    if value is None:
        return "-"
    if isinstance(value, int) and abs(value) < 1e6:
        return str(value)
    if value and not 1e-4 <= abs(value) < 1e6:
        return f"{value:.3g}"
    return f"{value:.1f}" if abs(value) >= 1000 else f"{value:.4g}"


def percent(share: float) -> str:
    """Format a share as a percentage, rounded down, so that only 1 becomes 100%."""
    return f"{math.floor(share * 1000) / 10:g}%"


def clock(seconds: float | None) -> str:
    """Format a duration as h:mm:ss or m:ss, None as `?`."""
    if seconds is None:
        return "?"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def time_left(metrics: Metrics, total_steps: int) -> float | None:
    """Return the seconds until `total_steps` at the current speed, None while it is unknown."""
    speed = metrics.get("sps")
    return max(0, total_steps - metrics["agent_steps"]) / speed if speed else None
