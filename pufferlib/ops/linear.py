"""A linear layer and its activation without autograd, by matrix products and a native kernel.

Letters: N steps, F inputs and D outputs of a layer.
"""

import torch
from torch import Tensor

from pufferlib.kernels import _kernels
from pufferlib.runtime.graph import Executor, GraphInput
from pufferlib.runtime.tensors import as_array, as_bfloat16


class Linear:
    """y = f(x W^T + b), where f is the activation: identity, relu or tanh.

    With a weight `rounded` to bfloat16, x is bfloat16, and so is y if the next layer reads
    bfloat16. Sums and gradients are float32.
    """

    def __init__(
        self,
        weight: Tensor,  # (D, F)
        bias: Tensor,  # (D,)
        grads: tuple[Tensor, Tensor],  # of weight and bias; backward passes add to them
        activation: str,
        rounded: Tensor | None = None,  # (D, F) bfloat16
    ) -> None:
        self.weight, self.bias, self.grads, self.activation = weight, bias, grads, activation
        # The weights that products read, and their gradients; a subclass may replace both.
        self.effective, self.effective_grads = (weight if rounded is None else rounded, bias), grads

    @property
    def dtype(self) -> torch.dtype:
        """The dtype of x."""
        return self.effective[0].dtype

    def forward(
        self,
        executor: Executor,
        x: Tensor | GraphInput,
        y: Tensor,
        product: Tensor | None = None,
    ) -> None:
        """Compute y (N, D) from x (N, F).

        `product` (N, D) float32 holds the intermediate x W^T; if it is None, y holds it.
        """
        (weight, bias), out = self.effective, y if product is None else product
        executor.product(x, weight.t(), out)
        arrays = {"product": out.numpy(), "y": as_array(y), "bias": bias.numpy()}
        executor.call(_kernels.linear, activation=self.activation, **arrays)

    def backward(
        self,
        executor: Executor,
        x: Tensor | GraphInput,
        y: Tensor,
        grad: Tensor,
        grad_x: Tensor | None,
    ) -> None:
        """Add dL/dW and dL/db, given x (N, F), y (N, D) and `grad` (N, D) = dL/dy.

        `grad` is overwritten by dL/d(x W^T), rounded in place if x is bfloat16. dL/dx is written to
        `grad_x` (N, F) unless that is None.
        """
        grad_weight, grad_bias = self.effective_grads
        grad_product = grad if self.dtype == torch.float32 else as_bfloat16(grad)
        # dL/d(product) = dL/dy * f'(product), with f' computed from y; dL/db is its sum over N.
        arrays = {"y": as_array(y), "grad": grad.numpy(), "out": as_array(grad_product)}
        executor.call(
            _kernels.linear_backward,
            activation=self.activation,
            grad_bias=grad_bias.numpy(),
            **arrays,
        )
        # dL/dW += dL/d(product)^T x, dL/dx = dL/d(product) W
        executor.product(grad_product.t(), x, grad_weight, add=True)
        if grad_x is not None:
            executor.product(grad_product, self.effective[0], grad_x)
