"""Output: a network's outputs for observations, which sampling and the loss read.

Letters: N observations, C choices of all discrete heads together, X continuous axes.
"""

from typing import NamedTuple

from torch import Tensor


class Output(NamedTuple):
    """A network's outputs for N observations; None if the game has no heads or no axes."""

    logits: Tensor | None  # (N, C), head after head
    mean: Tensor | None  # (N, X) in the units of the axes
    log_std: Tensor | None  # (X,) or (N, X)
    value: Tensor  # (N,)
