"""Linear layers without autograd: one product and one native pass, forward and back.

Letters: N steps, F inputs and D units of a layer.
"""

from typing import Any

import torch
from torch import Tensor

from pufferlib.kernels import _kernels
from pufferlib.policies.normalization import ObservationNorm
from pufferlib.runtime.graph import Executor, GraphInput
from pufferlib.runtime.tensors import as_array, as_bfloat16


class Linear:
    """One layer, y = f(x W' + b); f is named as the native pass has it. With a `rounded` weight x
    is bfloat16, and y may be, if another such layer takes it. Gradients are float32."""

    def __init__(
        self,
        weight: Tensor,  # (D, F)
        bias: Tensor,  # (D,)
        grads: tuple[Tensor, Tensor],  # of both, added to
        activation: str,
        rounded: Tensor | None = None,  # (D, F) bfloat16
    ) -> None:
        self.weight, self.bias, self.grads, self.activation = weight, bias, grads, activation
        # What products take, and its gradients.
        self.effective, self.effective_grads = (weight if rounded is None else rounded, bias), grads

    @property
    def dtype(self) -> torch.dtype:
        """Of x."""
        return self.effective[0].dtype

    def forward(
        self, do: Executor, x: Tensor | GraphInput, y: Tensor, product: Tensor | None = None
    ) -> None:
        """X (N, F) -> y (N, D); `product` (N, D) is where the product is made, if not in y."""
        (weight, bias), made = self.effective, y if product is None else product
        do.product(x, weight.t(), made)
        given = {"product": made.numpy(), "y": as_array(y), "bias": bias.numpy()}
        do.call(_kernels.linear, activation=self.activation, **given)

    def backward(
        self, do: Executor, x: Tensor | GraphInput, y: Tensor, grad: Tensor, grad_x: Tensor | None
    ) -> None:
        """Go back from `grad` (N, D), of y, which becomes the product's, to that of x (N, F)."""
        weight, bias = self.effective_grads
        product = grad if self.dtype == torch.float32 else as_bfloat16(grad)
        given = {"y": as_array(y), "grad": grad.numpy(), "out": as_array(product)}
        do.call(
            _kernels.linear_backward, activation=self.activation, grad_bias=bias.numpy(), **given
        )
        do.product(product.t(), x, weight, add=True)
        if grad_x is not None:
            do.product(product, self.effective[0], grad_x)


class FoldedLinear(Linear):
    """A layer that takes weights made of the policy's, into which something fixed is folded."""

    def __init__(self, *given: Any) -> None:
        super().__init__(*given)
        self.effective = torch.empty_like(self.weight), torch.empty_like(self.bias)
        self.effective_grads = torch.empty_like(self.weight), torch.empty_like(self.bias)

    def fold_weights(self) -> None:
        """Make the weights anew."""
        raise NotImplementedError

    def zero_folded_grads(self) -> None:
        """Before any number of `back`."""
        for part in self.effective_grads:
            part.zero_()

    def unfold_grads(self) -> None:
        """After them: from the gradients of the made weights to those of the policy's."""
        raise NotImplementedError


class NormalizedLinear(FoldedLinear):
    """The first layer, of normal entries, which takes raw ones."""

    def __init__(self, norm: ObservationNorm, *given: Any) -> None:
        super().__init__(*given)
        self.norm = norm

    def fold_weights(self) -> None:
        """W scale, b - W scale mean."""
        self.norm.fold(self.weight, self.bias, out=self.effective)

    def unfold_grads(self) -> None:
        """Go back through that."""
        (weight, bias), (folded, effective_grads) = self.grads, self.effective_grads
        weight.addcmul_(folded.addr_(effective_grads, self.norm.mean, alpha=-1), self.norm.scale)
        bias += effective_grads


class ScaledLinear(FoldedLinear):
    """The last layer, of which some outputs are middle + reach * what the weights say."""

    def __init__(self, reach: Tensor, middle: Tensor, *given: Any) -> None:
        super().__init__(*given)
        self.reach, self.middle = reach, middle  # (D,)

    def fold_weights(self) -> None:
        """Reach W, middle + reach b."""
        torch.mul(self.weight, self.reach.unsqueeze(1), out=self.effective[0])
        torch.addcmul(self.middle, self.reach, self.bias, out=self.effective[1])

    def unfold_grads(self) -> None:
        """Go back through that."""
        self.grads[0].addcmul_(self.effective_grads[0], self.reach.unsqueeze(1))
        self.grads[1].addcmul_(self.effective_grads[1], self.reach)
