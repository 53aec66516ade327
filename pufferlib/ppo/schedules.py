"""How step size and entropy bonus fall while a run goes on."""

import math


def scheduled(kind: str, start: float, final: float, progress: float) -> float:
    """Return what is `start` at the start and `final * start` at the end, at `progress`, 0 to 1.

    kind: `constant`; `linear`; `cosine`, half a wave (Loshchilov, Hutter 2017, equation 5).
    """
    if kind == "constant":
        return start
    progress = min(max(progress, 0.0), 1.0)
    left = 1 - progress if kind == "linear" else (1 + math.cos(math.pi * progress)) / 2
    return start * (final + (1 - final) * left)
