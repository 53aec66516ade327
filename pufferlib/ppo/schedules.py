"""Schedules of learning rate and entropy bonus during a run."""

import math


def scheduled(kind: str, start: float, final: float, progress: float) -> float:
    """Return the value at `progress`, 0 to 1, of a schedule from `start` to `final * start`.

    `kind` is `constant`, which stays at `start`; `linear`; or `cosine`, half a period (Loshchilov,
    Hutter 2017, equation 5).
    """
    if kind == "constant":
        return start
    progress = min(max(progress, 0.0), 1.0)
    left = 1 - progress if kind == "linear" else (1 + math.cos(math.pi * progress)) / 2
    return start * (final + (1 - final) * left)
