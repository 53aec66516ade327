"""The fused minGRU, which runs layer by layer; each product covers all steps of a chunk.

Letters as in network.py.
"""

import torch
from torch import Tensor

from pufferlib.fused.recurrent import FusedRecurrent
from pufferlib.kernels import _kernels
from pufferlib.ops.recurrent import MinGRUSteps
from pufferlib.runtime import allocator
from pufferlib.runtime.graph import Graph


class MinGRUWorkspace:
    """The workspace of B rows of H steps in row-major order: the steps of a row are adjacent."""

    def __init__(self, network: "FusedMinGRU", obs: Tensor, state: Tensor, reset: Tensor) -> None:
        (rows, horizon), new, empty_gemm = reset.shape, allocator.zeros, network.empty_gemm
        size, num_outputs = network.policy.size, network.num_outputs
        self.network, self.obs, self.state, self.reset = network, obs, state, reset
        self.first_x = obs  # input (B * H, F) of the first layer, after `forward`
        # Layers are created from the first up, because the output of each is the input of the next.
        # The heads' product reads float32, the others read the dtype of the weights.
        self.keep, self.layers = new((rows, horizon)), list[MinGRUSteps]()
        x = self.x = empty_gemm((rows, horizon, size))
        for i, (weight, bias) in enumerate(network.weights):
            is_last = i == len(network.weights) - 1
            out = (new if is_last else empty_gemm)((rows, horizon, size))
            args = (weight, bias, self.keep, x, out, new, empty_gemm)
            self.layers.append(MinGRUSteps(*args, in_place=True))
            x = out
        # The layers share one gradient tensor: each replaces the gradient of its output by that of
        # its input.
        self.hidden, self.grad_x = x.view(-1, size), new((rows, horizon, size))
        self.outputs, self.grad = new((2, rows * horizon, num_outputs))
        self.output = network.split_heads(self.outputs)
        self.gradient = network.split_head_grads(self.grad)

    def forward(self, graph: Graph) -> None:
        """Record the forward pass."""
        network, reset = self.network, self.reset.view(torch.uint8).numpy()
        self.first_x = network.prepare_rows(graph, self.obs).flatten(0, 1)
        graph.call(_kernels.not_reset, reset=reset, out=self.keep.numpy())
        x, product = self.x.flatten(0, 1), network.first_product(self.layers[0].gates)
        network.first.forward(graph, self.first_x, x, product)
        for steps, state in zip(self.layers, network.layer_states(self.state), strict=True):
            steps.forward(state, graph)
        network.last.forward(graph, self.hidden, self.outputs)

    def backward(self, graph: Graph) -> None:
        """Record the backward pass, from the heads down to the first layer."""
        network, grad_x = self.network, self.grad_x.flatten(0, 1)
        network.last.backward(graph, self.hidden, self.outputs, self.grad, grad_x)
        for steps, weight_grads in reversed(
            list(zip(self.layers, network.weight_grads, strict=True))
        ):
            graph.call(_kernels.fill, out=steps.grad_state.numpy())
            steps.backward(self.grad_x, *weight_grads, graph)
        network.first.backward(graph, self.first_x, self.x.flatten(0, 1), grad_x, None)


class FusedMinGRU(FusedRecurrent):
    """A minGRU. See `make_fused` for the arguments."""

    workspace = MinGRUWorkspace
