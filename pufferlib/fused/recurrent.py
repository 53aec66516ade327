"""FusedRecurrent: the common base of the fused LSTM and the fused minGRU.

Letters as in network.py.
"""

from collections.abc import Mapping
from typing import Any, Protocol, cast

import torch
from torch import Tensor

from pufferlib.fused.network import FusedNetwork
from pufferlib.ops.output import Output
from pufferlib.policies.recurrent import ACT_CHUNK_AGENTS, Recurrent, StepBuffers
from pufferlib.runtime import allocator
from pufferlib.runtime.graph import Graph, GraphInput


class FusedRecurrent(FusedNetwork):
    """A feed-forward layer, recurrent layers and heads; a subclass sets `workspace`."""

    policy: Recurrent
    workspace: type["RecurrentWorkspace"]

    def __init__(
        self,
        policy: Recurrent,
        grads: Mapping[str, Tensor],
        rounded: Mapping[str, Tensor] | None = None,
    ) -> None:
        super().__init__(policy, policy.heads, grads, ACT_CHUNK_AGENTS, rounded)
        self.first = self.hidden_layer("first", policy.activation)
        self.last = self.last_layer()
        # Each recurrent layer has a weight and a bias, and gradients that backward passes add to.
        names, layers = [f"input.{i}" for i in range(policy.num_layers)], policy.layers()
        self.weights = [
            (self.rounded.get(f"{name}.weight", weight), bias)
            for name, (weight, bias) in zip(names, layers, strict=True)
        ]
        self.weight_grads: list[tuple[Tensor, Any]] = [
            (grads[f"{name}.weight"], grads[f"{name}.bias"].numpy()) for name in names
        ]
        # Acting needs memory for a layer's gates, for prepared observations, for the first layer's
        # output, and for the last layer's output unless it can overwrite the first layer's.
        self._gates = allocator.zeros((ACT_CHUNK_AGENTS, policy.gates * policy.size))
        self._obs = self.empty_gemm((ACT_CHUNK_AGENTS, policy.spec.obs_size))
        self._x = self.empty_gemm((ACT_CHUNK_AGENTS, policy.size))
        self._out = allocator.zeros((ACT_CHUNK_AGENTS, policy.size)) if rounded else self._x
        self.sync_weights()

    def record_act(self, graph: Graph, obs: GraphInput, state: Tensor | None) -> Output:
        """Record one step: obs (N, F); state (N, S) is replaced."""
        n, states = obs.shape[0], cast(Tensor, state)

        def to_gemm_dtype(matrix: Tensor) -> Tensor:
            if matrix.dtype == self.gemm_dtype:
                return matrix
            return self.to_gemm_dtype(graph, matrix, self._x)

        x, product = self._x[:n], self.first_product(self._gates[:n])
        self.first.forward(graph, self.prepare_input(graph, obs, self._obs), x, product)
        buffers = StepBuffers(self._gates[:n], states, self._out[:n], to_gemm_dtype)
        hidden = self.policy.step_layers(self.weights, x, states, buffers, graph)
        self.last.forward(graph, hidden, self.outputs[:n])
        return self.split_heads(self.outputs[:n])

    def record_unroll(
        self, graph: Graph, obs: Tensor, state: Tensor | None, reset: Tensor
    ) -> "RecurrentWorkspace":
        """Record the forward pass of B rows of H steps."""
        workspace = self.workspace(self, obs, cast(Tensor, state), reset)
        workspace.forward(graph)
        return workspace

    def prepare_rows(self, graph: Graph, obs: Tensor) -> Tensor:
        """Return the input (B, H, F) of the first layer for obs (B, H, *O) of `input_dtype`."""
        rows = obs.view(*obs.shape[:2], -1)
        if self.norm is None:
            return rows
        steps = rows.flatten(0, 1)
        prepared = self.prepare_input(graph, steps, self.empty_gemm(steps.shape))
        return cast(Tensor, prepared).view(rows.shape)

    def first_product(self, gates: Tensor) -> Tensor | None:
        """Return memory (..., D) for the first layer's product, or None to use its output's.

        With rounded weights, the product is float32 and the output bfloat16. The memory belongs to
        the gates (..., gates * D) of the next layer, which are not yet in use.
        """
        return gates[..., : self.policy.size] if self.rounded else None

    def layer_states(self, state: Tensor) -> list[Tensor]:
        """Split a state (B, S) into the states of the layers."""
        return list(torch.split(state, self.policy.layer_state, dim=1))


class RecurrentWorkspace(Protocol):
    """Memory for B rows of H steps, and the recording of kernel calls on it.

    It is constructed from a network and from the memory that graphs read: obs (B, H, *O) of the
    network's `input_dtype`, state (B, S), reset (B, H) bool.
    """

    output: Output
    gradient: Output

    def __init__(self, network: Any, obs: Tensor, state: Tensor, reset: Tensor) -> None: ...

    def forward(self, graph: Graph) -> None:
        """Record the forward pass."""

    def backward(self, graph: Graph) -> None:
        """Record the backward pass; call it after `forward`."""
