"""The fused MLP: all layers over a chunk of steps, forward and then backward.

Letters as in network.py.
"""

from collections.abc import Mapping

import torch
from torch import Tensor

from pufferlib.fused.network import FusedNetwork
from pufferlib.ops.output import Output
from pufferlib.policies.mlp import MLP
from pufferlib.runtime.graph import Graph, GraphInput
from pufferlib.runtime.tensors import as_bfloat16


class FusedMLP(FusedNetwork):
    """An MLP over chunks of at most `steps` steps, in memory that all chunks share."""

    def __init__(
        self,
        policy: MLP,
        grads: Mapping[str, Tensor],
        steps: int,
        rounded: Mapping[str, Tensor] | None = None,
    ) -> None:
        super().__init__(policy, policy.heads, grads, steps, rounded)
        self.max_unroll = steps
        activation = policy.activation
        self.layers = [
            self.hidden_layer("first", activation),
            *(self.hidden_layer(f"hidden.{i}", activation) for i in range(len(policy.hidden))),
            self.last_layer(),
        ]
        # `x` holds observations if they have to be converted or normalized. `grads` are the
        # gradients of the layers' outputs; `hidden` are the outputs, except the last layer's, which
        # is `outputs`.
        self.x = self.empty_gemm((steps, policy.spec.obs_size))
        self.grads = [torch.empty((steps, len(layer.bias))) for layer in self.layers]
        self.hidden = [torch.empty_like(grad) for grad in self.grads[:-1]]
        self.sync_weights()

    def record_act(self, graph: Graph, obs: GraphInput, state: Tensor | None) -> Output:
        """Record one step: obs (N, F); there is no state."""
        workspace = MLPWorkspace(self, obs)
        workspace.forward(graph)
        return workspace.output

    def record_unroll(
        self, graph: Graph, obs: Tensor, state: Tensor | None, reset: Tensor
    ) -> "MLPWorkspace":
        """Record the forward pass of B * H <= max_unroll independent steps."""
        workspace = MLPWorkspace(self, obs.view(reset.numel(), -1))
        workspace.forward(graph)
        return workspace


class MLPWorkspace:
    """Views of the network's memory for N steps, whose observations are `obs` (N, F)."""

    def __init__(self, network: FusedMLP, obs: Tensor | GraphInput) -> None:
        n = obs.shape[0]
        self.network, self.obs = network, obs
        # A layer's product is float32. If the next layer reads bfloat16, the output is rounded in
        # place, into the first half of each row of the product.
        self.products = [*(y[:n] for y in network.hidden), network.outputs[:n]]
        dtypes = [*(layer.dtype for layer in network.layers[1:]), torch.float32]
        self.ys = [
            as_bfloat16(product) if dtype == torch.bfloat16 else product
            for product, dtype in zip(self.products, dtypes, strict=True)
        ]
        self.grads = [grad[:n] for grad in network.grads]
        self.output = network.split_heads(self.ys[-1])
        self.gradient = network.split_head_grads(self.grads[-1])
        self._first_x: Tensor | GraphInput = obs  # the first layer's input, after `forward`

    def forward(self, graph: Graph) -> None:
        """Record the forward pass, from `obs` to `output`."""
        x = self._first_x = self.network.prepare_input(graph, self.obs, self.network.x)
        for layer, y, product in zip(self.network.layers, self.ys, self.products, strict=True):
            layer.forward(graph, x, y, product)
            x = y

    def backward(self, graph: Graph) -> None:
        """Record the backward pass, from `gradient` to the gradients of the parameters."""
        layers, ys, grads = self.network.layers, self.ys, self.grads
        for i in range(len(layers) - 1, 0, -1):
            layers[i].backward(graph, ys[i - 1], ys[i], grads[i], grads[i - 1])
        layers[0].backward(graph, self._first_x, ys[0], grads[0], None)
