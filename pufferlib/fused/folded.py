"""Linear layers whose effective weights are the policy's with an affine map folded in.

`fold_weights` recomputes the effective weights after the policy's change. Backward passes add to
the gradients of the effective weights, and `unfold_grads` maps these to gradients of the policy's.

Letters: F inputs and D outputs of a layer.
"""

from typing import Any

import torch
from torch import Tensor

from pufferlib.ops.linear import Linear
from pufferlib.policies.normalization import ObservationNorm


class FoldedLinear(Linear):
    """A layer whose product reads `effective` weights in place of the policy's."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.effective = torch.empty_like(self.weight), torch.empty_like(self.bias)
        self.effective_grads = torch.empty_like(self.weight), torch.empty_like(self.bias)

    def fold_weights(self) -> None:
        """Compute the effective weights from the policy's current weights."""
        raise NotImplementedError

    def zero_folded_grads(self) -> None:
        """Zero the gradients of the effective weights; call it before backward passes."""
        for grad in self.effective_grads:
            grad.zero_()

    def unfold_grads(self) -> None:
        """Add the gradients of the effective weights to the policy's, by the chain rule."""
        raise NotImplementedError


class NormalizedLinear(FoldedLinear):
    """The first layer: W ((x - mean) * scale) + b as one product with raw observations x (N, F).

    The effective weights are W' = W * scale and b' = b - W' mean. Hence dL/dW = (dL/dW' - dL/db'
    mean^T) * scale and dL/db = dL/db'.
    """

    def __init__(self, norm: ObservationNorm, *args: Any) -> None:
        super().__init__(*args)
        self.norm = norm

    def fold_weights(self) -> None:
        """Compute W' and b'."""
        self.norm.fold(self.weight, self.bias, out=self.effective)

    def unfold_grads(self) -> None:
        """Add dL/dW and dL/db; the gradient of W' is overwritten."""
        (grad_weight, grad_bias), (folded_weight, folded_bias) = self.grads, self.effective_grads
        folded_weight.addr_(folded_bias, self.norm.mean, alpha=-1)
        grad_weight.addcmul_(folded_weight, self.norm.scale)
        grad_bias += folded_bias


class ScaledLinear(FoldedLinear):
    """The last layer: middle + reach * (W x + b) as one product.

    This gives the heads' means (policies/layers.py) in the units of their axes. The effective
    weights are W' = reach * W by rows and b' = middle + reach * b.
    """

    def __init__(self, reach: Tensor, middle: Tensor, *args: Any) -> None:
        super().__init__(*args)
        self.reach, self.middle = reach, middle  # (D,)

    def fold_weights(self) -> None:
        """Compute W' and b'."""
        torch.mul(self.weight, self.reach.unsqueeze(1), out=self.effective[0])
        torch.addcmul(self.middle, self.reach, self.bias, out=self.effective[1])

    def unfold_grads(self) -> None:
        """Add dL/dW = reach * dL/dW' and dL/db = reach * dL/db'."""
        self.grads[0].addcmul_(self.effective_grads[0], self.reach.unsqueeze(1))
        self.grads[1].addcmul_(self.effective_grads[1], self.reach)
