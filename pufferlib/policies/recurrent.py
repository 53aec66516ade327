"""Recurrent: the base class of recurrent networks. A subclass defines one recurrent layer.

The first hidden layer is feed-forward, the others are recurrent; ops/recurrent.py runs them.
`unroll` computes for whole rows what `forward` computes step by step. Where a life begins, it
multiplies the state by 0, which is the initial state.

Letters: N agents that act, B rows, H horizon, *O one observation, D hidden units, L recurrent
layers, S entries of a recurrent state.
"""

from collections.abc import Callable
from typing import NamedTuple, cast

import torch
from torch import Tensor, nn

from pufferlib.config.options import PolicyOptions
from pufferlib.ops.output import Output
from pufferlib.policies.base import Policy, PolicySpec
from pufferlib.policies.encoders import input_layer
from pufferlib.policies.layers import Heads, make_activation, orthogonal
from pufferlib.runtime.graph import EAGER, Executor

# Agents that act at a time, so few that their gates stay in a core's cache.
ACT_CHUNK_AGENTS = 512

Layer = tuple[Tensor, Tensor]  # weight and bias of a recurrent layer


class StepBuffers(NamedTuple):
    """Memory for one step of N agents."""

    gates: Tensor  # (N, gates * D) products
    state: Tensor  # the new state, (N, S), of one layer (N, states * D); may be the old state
    # (N, D) output of the last layer, unless that is its state; may be the first layer's input.
    out: Tensor
    # Converts (N, D) to the dtype of factors; the result is valid until the next conversion. The
    # first layer's input already has this dtype.
    to_gemm_dtype: Callable[[Tensor], Tensor] = lambda tensor: tensor


class Recurrent(Policy):
    """Input layer, recurrent layers, heads.

    A state (N, S) holds the layers' states one after the other: S = L * layer_state.
    """

    gates = 0  # outputs of a layer's matrix, in units of D
    states = 0  # entries of a layer's state, in units of D
    time_first = False  # whether `scan` takes (H, B, ...) instead of (B, H, ...)

    def __init__(self, spec: PolicySpec, options: PolicyOptions) -> None:
        super().__init__(spec)
        if options.num_layers < 2:
            raise ValueError(
                f"policy.num_layers={options.num_layers} must be at least 2 for {options.name}: "
                "the first hidden layer is feed-forward, the others recurrent"
            )
        self.size = size = options.hidden_size
        self.num_layers = options.num_layers - 1
        self.layer_state = self.states * size
        self.state_size = self.num_layers * self.layer_state
        self.first = input_layer(spec, size, conv_filters=options.conv_filters)
        self.activation = options.activation
        self.input = nn.ModuleList(
            orthogonal(nn.Linear(size, self.gates * size), 1.0) for _ in range(self.num_layers)
        )
        self.heads = Heads(spec, size)

    def step(
        self, layer: Layer, x: Tensor, state: Tensor, buffers: StepBuffers, executor: Executor
    ) -> Tensor:
        """Run one step of one layer: x (N, D), state (N, states * D) -> output (N, D).

        The new state is written to `buffers.state`. The output is a view of it or of `buffers.out`.
        """
        raise NotImplementedError

    def scan(self, layer: int, x: Tensor, state: Tensor, keep: Tensor) -> Tensor:
        """Run all steps of one layer, for autograd: x (B, H, D) -> output (B, H, D).

        `state` (B, states * D) is the state before the first step; keep (B, H) is 0 where a life
        begins. With `time_first`, H comes before B in x, keep and the output.
        """
        raise NotImplementedError

    @torch.no_grad()
    def forward(self, obs: Tensor, state: Tensor | None) -> tuple[Output, Tensor]:
        """Act once: obs (N, *O), state (N, S) -> output of N, new state (N, S); no gradient."""
        x = make_activation(self.activation)(self.first(obs, self.norm))
        old = cast(Tensor, state)
        new, layers, outputs = torch.empty_like(old), self.layers(), []
        gates = x.new_empty((min(ACT_CHUNK_AGENTS, len(x)), self.gates * self.size))
        chunks = zip(*(torch.split(part, ACT_CHUNK_AGENTS) for part in (x, old, new)), strict=True)
        for chunk, before, after in chunks:
            buffers = StepBuffers(gates[: len(chunk)], after, chunk)
            outputs.append(self.step_layers(layers, chunk, before, buffers, EAGER))
        return self.heads(torch.cat(outputs)), new

    def layers(self) -> list[Layer]:
        """Return weight and bias of each recurrent layer, without gradient."""
        layers = (cast(nn.Linear, layer) for layer in self.input)
        return [(layer.weight.detach(), layer.bias.detach()) for layer in layers]

    def step_layers(
        self,
        layers: list[Layer],
        x: Tensor,
        state: Tensor,
        buffers: StepBuffers,
        executor: Executor,
    ) -> Tensor:
        """Run one step of all layers for N <= ACT_CHUNK_AGENTS: x (N, D), state (N, S) -> (N, D).

        x is overwritten; the new state is written to `buffers.state`.
        """
        both = (torch.split(whole, self.layer_state, dim=1) for whole in (state, buffers.state))
        for i, (before, after) in enumerate(zip(*both, strict=True)):
            out = buffers.out if i == len(layers) - 1 else x
            x = self.step(layers[i], x, before, buffers._replace(state=after, out=out), executor)
        return x

    def unroll(self, obs: Tensor, state: Tensor | None, reset: Tensor) -> Output:
        """Act H times: obs (B, H, *O), state (B, S), reset (B, H) bool -> output of B * H."""
        x = make_activation(self.activation)(self.first(obs.flatten(0, 1), self.norm))
        x = x.unflatten(0, reset.shape)
        keep = (~reset).to(x.dtype)
        if self.time_first:
            x, keep = x.transpose(0, 1), keep.t().contiguous()
        for layer, before in enumerate(torch.split(cast(Tensor, state), self.layer_state, dim=1)):
            x = self.scan(layer, x, before, keep)
        out = self.heads.out(x.flatten(0, 1))
        if self.time_first:  # (H, B, D) -> (B, H, D)
            out = out.unflatten(0, x.shape[:2]).transpose(0, 1).flatten(0, 1)
        return self.heads.split(out)
