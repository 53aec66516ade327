"""FusedNetwork: a policy's network without autograd, as kernel calls recorded into graphs.

Autograd allocates memory in every operator and keeps intermediate results alive; for small networks
that takes longer than the matrix products. Here each layer is one product and one native kernel,
over so few steps at a time that all results stay in a core's cache, and gradients are added to the
memory that the optimizer reads.

A chunk of a minibatch goes through a network like this:

    once, for each size of a chunk:
        workspace = network.record_unroll(graph, obs, state, reset)        forward pass
        record_loss(graph, workspace.output, workspace.gradient, ...)      dL/d(output)
        workspace.backward(graph)                                          backward pass
    in every minibatch:
        network.sync_weights(); network.zero_folded_grads()
        for each chunk: copy its rows into obs, state and reset; graph.replay()
        network.unfold_grads()

Each thread has its own network, with its own memory; only the weights are shared. With weights
rounded to bfloat16, both factors of every product but the heads' are bfloat16, each rounded once by
the kernel that computes it; sums and everything between products stay float32.

Letters: N agents or steps, B rows, H horizon, *O one observation, F its entries, D hidden units,
C choices of all discrete heads together, X continuous axes, S entries of a recurrent state.
"""

import abc
from collections.abc import Mapping, Sequence
from typing import Any, Protocol, cast

import torch
from torch import Tensor, nn

from pufferlib.fused.folded import ScaledLinear
from pufferlib.kernels import _kernels
from pufferlib.ops.linear import Linear
from pufferlib.ops.output import Output
from pufferlib.policies.base import Policy
from pufferlib.policies.layers import Heads
from pufferlib.runtime import allocator
from pufferlib.runtime.graph import Graph, GraphInput
from pufferlib.runtime.tensors import as_array

# Graphs for acting are recorded for multiples of this many agents, so that few graphs are needed
# when the number of live agents changes from step to step.
AGENT_GRANULARITY = 128


class Workspace(Protocol):
    """Memory of one chunk at fixed addresses, and the kernel calls recorded on it."""

    output: Output  # written by the forward pass
    gradient: Output  # dL/d(output), to be written before the backward pass

    def backward(self, graph: Graph) -> None:
        """Record the backward pass of the chunk whose forward pass is recorded."""


class FusedNetwork(abc.ABC):
    """The base class of fused networks: linear layers, heads, and memory for acting."""

    # The maximum number of steps that `record_unroll` accepts; None for any number.
    max_unroll: int | None = None

    def __init__(
        self,
        policy: Policy,
        heads: Heads,
        grads: Mapping[str, Tensor],
        chunk_size: int,
        rounded: Mapping[str, Tensor] | None,
    ) -> None:
        """Share the weights of `policy`; see `make_fused` for the other arguments.

        `chunk_size` is the maximum number of agents that it acts for at a time.
        """
        self.policy, self.heads, self._grads = policy, heads, grads
        # Acting writes the heads' outputs here: logits, means, value.
        self.num_outputs = sum(heads.sizes)
        self.chunk_size = chunk_size
        self.outputs = allocator.zeros((chunk_size, self.num_outputs))
        # log_std is in the units of the axes, unlike the parameter; sync_weights updates it.
        self.log_std: Tensor | None = None
        if policy.spec.low:
            self.log_std = torch.empty(len(policy.spec.low))
        # The layer whose effective weights differ from the policy's, if there are axes.
        self._scaled: ScaledLinear | None = None
        self.rounded = rounded or {}
        self.gemm_dtype = torch.bfloat16 if rounded else torch.float32
        self.norm = policy.norm

    @property
    def input_dtype(self) -> torch.dtype:
        """The dtype of the observations that `record_unroll` takes.

        If they are normalized, the kernel that does so also converts them: they are the game's.
        """
        return self.gemm_dtype if self.norm is None else self.policy.spec.obs_dtype

    @abc.abstractmethod
    def record_act(self, graph: Graph, obs: GraphInput, state: Tensor | None) -> Output:
        """Record one step of N <= chunk_size agents: obs (N, F) of any dtype, state (N, S).

        A replay replaces `state` by the new state. Return views of the output; the next replay of
        any graph for acting overwrites it.
        """

    @abc.abstractmethod
    def record_unroll(
        self, graph: Graph, obs: Tensor, state: Tensor | None, reset: Tensor
    ) -> Workspace:
        """Record the forward pass of `Policy.unroll` on memory that the graph reads when replayed.

        obs (B, H, *O) of `input_dtype`, state (B, S), reset (B, H) bool.
        """

    def sync_weights(self) -> None:
        """Recompute folded weights; call it after weights change."""
        if self._scaled is not None:
            self._scaled.fold_weights()
        if self.log_std is not None:
            heads = self.heads
            torch.addcmul(heads.log_unit, heads.varies, heads.log_std.detach(), out=self.log_std)

    def zero_folded_grads(self) -> None:
        """Zero the gradients of folded weights; call it before backward passes."""
        if self._scaled is not None:
            self._scaled.zero_folded_grads()

    def unfold_grads(self) -> None:
        """Add the gradients of folded weights to `grads`; call it after backward passes."""
        if self._scaled is not None:
            self._scaled.unfold_grads()
        if self.log_std is not None:
            self._grads["heads.log_std"].mul_(self.heads.varies)

    def split_heads(self, outputs: Tensor) -> Output:
        """Return views of the columns of the heads' outputs (N, C + X + 1)."""
        return self._split(outputs, self.log_std)

    def split_head_grads(self, grads: Tensor) -> Output:
        """Return views of the columns of the heads' gradient; log_std's (X,) accumulates."""
        return self._split(grads, self._grads.get("heads.log_std"))

    def _split(self, columns: Tensor, log_std: Tensor | None) -> Output:
        logits, mean, value = torch.split(columns, self.heads.sizes, dim=1)
        return Output(
            logits if self.heads.sizes[0] else None,
            mean if self.heads.sizes[1] else None,
            log_std,
            value.squeeze(1),
        )

    def empty_gemm(self, shape: Sequence[int]) -> Tensor:
        """Allocate a factor of products, in their dtype."""
        return allocator.zeros(shape, dtype=self.gemm_dtype)

    def hidden_layer(self, name: str, activation: str) -> Linear:
        """Create one of the policy's hidden layers."""
        return Linear(*self._layer(name), activation, self.rounded.get(f"{name}.weight"))

    def last_layer(self) -> Linear:
        """Create the heads' layer, always in float32; its means are in the units of their axes."""
        args = (*self._layer("heads.out"), "identity")
        if self.log_std is None:
            return Linear(*args)
        reach, middle = torch.ones(self.num_outputs), torch.zeros(self.num_outputs)
        means = slice(self.heads.sizes[0], sum(self.heads.sizes[:2]))
        reach[means], middle[means] = self.heads.reach, self.heads.middle
        self._scaled = ScaledLinear(reach, middle, *args)
        return self._scaled

    def _layer(self, name: str) -> tuple[Tensor, Tensor, tuple[Tensor, Tensor]]:
        """Return a layer's weight, its bias, and the gradients of both."""
        layer = cast(nn.Linear, self.policy.get_submodule(name))
        grads = self._grads[f"{name}.weight"], self._grads[f"{name}.bias"]
        return layer.weight.detach(), layer.bias.detach(), grads

    def prepare_input(
        self, graph: Graph, obs: Tensor | GraphInput, buffer: Tensor
    ) -> Tensor | GraphInput:
        """Return the input of the first layer for observations (N, F).

        If they have to be converted or normalized first, a kernel is recorded that writes to the
        first N rows of `buffer`.
        """
        if self.norm is not None:
            arrays = {"mean": self.norm.mean.numpy(), "scale": self.norm.scale.numpy()}
            bound = float(self.norm.bound[0])  # one array has one dtype
            return self.to_gemm_dtype(graph, obs, buffer, **arrays, bound=bound)
        return obs if obs.dtype == self.gemm_dtype else self.to_gemm_dtype(graph, obs, buffer)

    def to_gemm_dtype(
        self, graph: Graph, matrix: Tensor | GraphInput, buffer: Tensor, **norm: Any
    ) -> Tensor:
        """Record the conversion of a matrix (N, F) to the products' dtype; return the result.

        The result is in the first N rows of `buffer`. With `norm`, mean and scale (F,) and a bound,
        the kernel also normalizes.
        """
        converted, source = buffer[: matrix.shape[0]], matrix
        if not isinstance(source, GraphInput):
            source = GraphInput(converted.shape[0], converted.shape[1], matrix.dtype)
            source.bind(cast(Tensor, matrix).numpy())
        graph.call(_kernels.to_float, input=source, out=as_array(converted), **norm)
        return converted


def record_forward(network: FusedNetwork, obs: Tensor, state: Tensor | None) -> Graph:
    """Return the graph of one forward pass of N <= chunk_size agents.

    A replay reads obs (N, F) and replaces state (N, S) in the memory of these tensors; the output
    is in `network.outputs`.
    """
    graph, source = Graph(), GraphInput(len(obs), obs.shape[1], obs.dtype)
    source.bind(as_array(obs))
    network.record_act(graph, source, state)
    return graph
