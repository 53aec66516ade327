"""A linear layer and its ReLU as one autograd function.

Kept apart, torch writes the sum, reads it, writes the rectified copy and keeps both. Here the sum
is rectified in place and only the result is kept, so that less memory is moved.
"""

from typing import Any, cast

import torch
from torch import Tensor


class _LinearReLU(torch.autograd.Function):
    """y = max(0, x W^T + b) of x (N, F), weight (D, F), bias (D,)."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        """Keep y: where it is 0, no gradient passes."""
        y = torch.addmm(bias, x, weight.t()).relu_()
        ctx.save_for_backward(x, weight, y)
        return y

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, Tensor, Tensor]:
        """The incoming gradient is not written to: others may hold it."""
        x, weight, y = ctx.saved_tensors
        grad = torch.ops.aten.threshold_backward(grads[0], y, 0)
        grad_x = grad @ weight if ctx.needs_input_grad[0] else None
        return grad_x, grad.t() @ x, grad.sum(0)


def linear_relu(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """Return max(0, x W^T + b) (N, D) of x (N, F), strided or not."""
    return cast(Tensor, _LinearReLU.apply(x, weight, bias))  # type: ignore[no-untyped-call]
