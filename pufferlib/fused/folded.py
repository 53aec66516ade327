"""ScaledLinear: the heads' layer of continuous actions, with the ranges of the axes in its weights.

`fold_weights` recomputes the effective weights after the policy's change. Backward passes add to
the gradients of the effective weights, and `unfold_grads` maps these to gradients of the policy's.

Letters: D outputs of the layer.
"""

from typing import Any

import torch
from torch import Tensor

from pufferlib.ops.linear import Linear


class ScaledLinear(Linear):
    """The last layer: middle + reach * (W x + b) as one product, which reads `effective` weights.

    This gives the heads' means (policies/layers.py) in the units of their axes. The effective
    weights are W' = reach * W by rows and b' = middle + reach * b.
    """

    def __init__(self, reach: Tensor, middle: Tensor, *args: Any) -> None:
        super().__init__(*args)
        self.reach, self.middle = reach, middle  # (D,)
        self.effective = torch.empty_like(self.weight), torch.empty_like(self.bias)
        self.effective_grads = torch.empty_like(self.weight), torch.empty_like(self.bias)

    def fold_weights(self) -> None:
        """Compute W' and b' from the policy's current weights."""
        torch.mul(self.weight, self.reach.unsqueeze(1), out=self.effective[0])
        torch.addcmul(self.middle, self.reach, self.bias, out=self.effective[1])

    def zero_folded_grads(self) -> None:
        """Zero the gradients of the effective weights; call it before backward passes."""
        for grad in self.effective_grads:
            grad.zero_()

    def unfold_grads(self) -> None:
        """Add dL/dW = reach * dL/dW' and dL/db = reach * dL/db' to the policy's gradients."""
        self.grads[0].addcmul_(self.effective_grads[0], self.reach.unsqueeze(1))
        self.grads[1].addcmul_(self.effective_grads[1], self.reach)
