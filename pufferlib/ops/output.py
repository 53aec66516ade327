"""What a network says about observations: the heads' outputs, which sampling and the loss read.

Letters: N observations, C choices of all discrete heads together, X continuous axes.
"""

from typing import NamedTuple

from torch import Tensor


class Output(NamedTuple):
    """What a network says about N observations. Games without heads have no logits, and so on."""

    logits: Tensor | None  # (N, C), head after head
    mean: Tensor | None  # (N, X), in the axes' own units
    log_std: Tensor | None  # (X,) or (N, X)
    value: Tensor  # (N,)
