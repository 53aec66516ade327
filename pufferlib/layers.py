"""A feed-forward network as one autograd function.

Kept apart, torch writes each sum, reads it, writes the activated copy and keeps both, and asks for
memory again on the way back. Here a layer's sum is activated in place and only the result is kept,
from which the activation's slope follows; small networks save most of autograd's own time too.
"""

from collections.abc import Callable
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor

aten = torch.ops.aten


class Activation(NamedTuple):
    """One whose slope follows from its result: `apply(x)` and `back(grad, y)`, both in place."""

    apply: Callable[[Tensor], Tensor]
    back: Callable[[Tensor, Tensor], Tensor]


IN_PLACE = {
    "relu": Activation(
        torch.relu_, lambda grad, y: aten.threshold_backward.grad_input(grad, y, 0, grad_input=grad)
    ),
    "tanh": Activation(
        torch.tanh_, lambda grad, y: aten.tanh_backward.grad_input(grad, y, grad_input=grad)
    ),
}


def _forward(activation: Activation, x: Tensor, parameters: tuple[Tensor, ...]) -> list[Tensor]:
    """Return what each layer is given, then the last one's result, which is not activated."""
    given = [x]
    for i in range(0, len(parameters), 2):
        x = torch.addmm(parameters[i + 1], x, parameters[i].t())
        given.append(activation.apply(x) if i + 2 < len(parameters) else x)
    return given


class _FeedForward(torch.autograd.Function):
    """y of x (N, F) and the weights (D, F) and biases (D,) of the layers, in turn."""

    @staticmethod
    def forward(ctx: Any, activation: Activation, x: Tensor, *parameters: Tensor) -> Tensor:
        """Keep what each layer was given."""
        *given, y = _forward(activation, x, parameters)
        ctx.activation = activation
        ctx.save_for_backward(*given, *parameters[::2])
        return y

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        """Go from the last layer to the first; the incoming gradient is not written to."""
        count = len(ctx.saved_tensors) // 2
        given, weights = ctx.saved_tensors[:count], ctx.saved_tensors[count:]
        grad, found = grads[0], []
        for layer in range(count - 1, -1, -1):
            found += [grad.sum(0), grad.t() @ given[layer]]
            if layer:
                grad = ctx.activation.back(grad @ weights[layer], given[layer])
        grad_x = grad @ weights[0] if ctx.needs_input_grad[1] else None
        return None, grad_x, *found[::-1]


def feed_forward(activation: Activation, x: Tensor, *parameters: Tensor) -> Tensor:
    """Return what layers of weight, bias, weight, ... give for x (N, F), strided or not."""
    if not torch.is_grad_enabled():
        return _forward(activation, x, parameters)[-1]
    return cast(Tensor, _FeedForward.apply(activation, x, *parameters))  # type: ignore[no-untyped-call]
