"""How the step size falls while a run goes on."""

import math


def step_size(kind: str, start: float, final: float, progress: float) -> float:
    """Return the step size at `progress`, 0 to 1 of the run; at its end it is `final` * `start`.

    kind: `constant`; `linear`; `cosine`, half a wave (Loshchilov, Hutter 2017, equation 5).
    """
    if kind == "constant":
        return start
    progress = min(max(progress, 0.0), 1.0)
    left = 1 - progress if kind == "linear" else (1 + math.cos(math.pi * progress)) / 2
    return start * (final + (1 - final) * left)
