"""Recurrent networks without autograd, as manual.py has feed-forward ones.

An LSTM goes step by step, all rows of a part at once; a minGRU layer by layer through whole rows
(cells.py has both). Letters as in policy.py; K = C + X + 1 outputs of the heads.
"""

from collections.abc import Mapping
from typing import Any, Protocol, cast

import torch
from torch import Tensor

from pufferlib.fused.network import FusedNetwork
from pufferlib.kernels import _kernels
from pufferlib.ops.output import Output
from pufferlib.ops.recurrent import LSTMSteps, MinGRUSteps
from pufferlib.policies.recurrent import ACT_CHUNK_AGENTS, Recurrent, StepBuffers
from pufferlib.runtime import allocator
from pufferlib.runtime.graph import Graph, GraphInput
from pufferlib.runtime.tensors import as_array


class FusedRecurrent(FusedNetwork):
    """First layer, heads, the weights between them, and how they act."""

    policy: Recurrent
    part: type["RecurrentWorkspace"]

    def __init__(
        self,
        policy: Recurrent,
        grads: Mapping[str, Tensor],
        rounded: Mapping[str, Tensor] | None = None,
    ) -> None:
        super().__init__(policy, policy.heads, grads, ACT_CHUNK_AGENTS, rounded)
        self.first = self.hidden_layer("first", policy.activation, policy.norm)
        self.last = self.last_layer()
        names, layers = [f"input.{i}" for i in range(policy.num_layers)], policy.layers()
        self.weights = [
            (self.rounded.get(f"{name}.weight", weight), bias)
            for name, (weight, bias) in zip(names, layers, strict=True)
        ]
        self.sums: list[tuple[Tensor, Any]] = [  # of their gradients
            (grads[f"{name}.weight"], grads[f"{name}.bias"].numpy()) for name in names
        ]
        new, empty_gemm, each = allocator.zeros, self.empty_gemm, (ACT_CHUNK_AGENTS, policy.size)
        self._gates = new((ACT_CHUNK_AGENTS, policy.gates * policy.size))
        self._seen, self._x = empty_gemm((ACT_CHUNK_AGENTS, policy.spec.obs_size)), empty_gemm(each)
        self._out = new(each) if rounded else self._x
        self.sync_weights()

    def record_act(self, graph: Graph, obs: GraphInput, state: Tensor | None) -> Output:
        """Obs (N, F), state (N, S)."""
        n, states = obs.shape[0], cast(Tensor, state)

        def prepare_input(given: Tensor) -> Tensor:
            known = given.dtype == self.dtype
            return given if known else self.to_gemm_dtype(graph, given, self._x)

        x, made = self._x[:n], self.room(self._gates[:n])
        self.first.forward(graph, self.prepare_input(graph, obs, self._seen), x, made)
        room = StepBuffers(self._gates[:n], self._out[:n], prepare_input)
        hidden = self.policy.steps(self.weights, x, states, states, room, graph)
        self.last.forward(graph, hidden, self.outputs[:n])
        return self.output(self.outputs[:n])

    def record_unroll(
        self, graph: Graph, obs: Tensor, state: Tensor | None, reset: Tensor
    ) -> "RecurrentWorkspace":
        """Note the way forth of B rows of H steps."""
        part = self.part(self, obs, cast(Tensor, state), reset)
        part.forward(graph)
        return part

    def unrolled(self, graph: Graph, obs: Tensor) -> Tensor:
        """Return what the first layer takes of what is seen in rows (B, H, *O): (B, H, F)."""
        seen = obs.view(*obs.shape[:2], -1)
        if self.norm is None:
            return seen
        prepare_input = self.prepare_input(
            graph, seen.flatten(0, 1), self.empty_gemm(seen.flatten(0, 1).shape)
        )
        return cast(Tensor, prepare_input).view(seen.shape)

    def room(self, gates: Tensor) -> Tensor | None:
        """Return where the first layer's product (..., D) is made, if not in its result: where the
        gates (..., gates * D) of the layer above will be."""
        return gates[..., : self.policy.size] if self.rounded else None

    def states(self, state: Tensor) -> list[Tensor]:
        """Split a state (B, S) into those of the layers."""
        return list(torch.split(state, self.policy.layer_state, dim=1))


class RecurrentWorkspace(Protocol):
    """Memory of B rows of H steps, and what is done there. Made of a network, and of what it is
    shown: obs (B, H, *O) as `input_dtype` says, state (B, S), reset (B, H) bool."""

    output: Output
    gradient: Output

    def __init__(self, network: Any, obs: Tensor, state: Tensor, reset: Tensor) -> None: ...

    def forward(self, graph: Graph) -> None:
        """Note the way forth."""

    def backward(self, graph: Graph) -> None:
        """Note the way back."""


class LSTMWorkspace:
    """A step's rows lie together."""

    def __init__(self, network: "FusedLSTM", obs: Tensor, state: Tensor, reset: Tensor) -> None:
        (rows, horizon), new, empty_gemm = reset.shape, allocator.zeros, network.empty_gemm
        size, outputs = network.policy.size, network.num_outputs
        self.network, self.obs, self.state, self.reset = network, obs, state, reset
        self.seen: tuple[Tensor, ...] = ()  # each step's, once there is a way forth
        self.keep, self.hidden = new((horizon, rows)), new((horizon, rows, size))
        self.layers: list[LSTMSteps] = []
        out = self.hidden
        for weight, bias in reversed(network.weights):  # a layer writes into the one above it
            self.layers.insert(0, LSTMSteps(weight, bias, self.keep, out, new, empty_gemm))
            out = self.layers[0].x[:-1]
        self.xs = out.unbind()
        self.outputs, self.grad = new((2, horizon, rows, outputs))
        self.turned = new((2, rows, horizon, outputs))  # as the loss has them
        outputs, grad = (part.flatten(0, 1) for part in self.turned)
        self.output, self.gradient = network.output(outputs), network.gradients(grad)

    def forward(self, graph: Graph) -> None:
        """Note the way forth."""
        network, keep = self.network, self.keep
        self.seen = network.unrolled(graph, self.obs).unbind(1)
        reset = self.reset.view(torch.uint8).numpy()
        graph.call(_kernels.not_reset, reset=reset, out=keep.numpy(), steps_first=True)
        for steps, before in zip(self.layers, network.states(self.state), strict=True):
            into = steps.hidden[0], steps.cell[0]
            for part, out in zip(before.chunk(2, 1), into, strict=True):
                graph.call(
                    _kernels.mask_state, state=part.numpy(), keep=keep[0].numpy(), out=as_array(out)
                )
        for t, (seen, x) in enumerate(zip(self.seen, self.xs, strict=True)):
            network.first.forward(graph, seen, x, network.room(self.layers[0].gates[t]))
            for steps in self.layers:
                steps.step(t, graph)
        network.last.forward(graph, self.hidden.flatten(0, 1), self.outputs.flatten(0, 1))
        graph.call(_kernels.transpose_rows, rows=self.outputs.numpy(), out=self.turned[0].numpy())

    def backward(self, graph: Graph) -> None:
        """Note the way back."""
        network, hidden = self.network, torch.empty_like(self.hidden[0])
        graph.call(_kernels.transpose_rows, rows=self.turned[1].numpy(), out=self.grad.numpy())
        outputs, grad = self.outputs.flatten(0, 1), self.grad.flatten(0, 1)
        network.last.backward(graph, self.hidden.flatten(0, 1), outputs, grad, None)
        for steps in self.layers:
            for part in (steps.grad_hidden, steps.grad_cell):
                graph.call(_kernels.fill, out=part.numpy())
        grads = [*(steps.grad_x for steps in self.layers[1:]), hidden]
        back = list(zip(self.layers, grads, network.sums, strict=True))[::-1]
        for t in range(len(self.xs) - 1, -1, -1):
            graph.product(self.grad[t], network.last.effective[0], hidden)
            for steps, grad_out, sums in back:
                steps.backward(t, grad_out.numpy(), *sums, graph)
            network.first.backward(graph, self.seen[t], self.xs[t], self.layers[0].grad_x, None)


class FusedLSTM(FusedRecurrent):
    """An LSTM by the policy's own weights. `grads`: of each parameter, by name, added to."""

    part = LSTMWorkspace


class MinGRUWorkspace:
    """A row's steps lie together."""

    def __init__(self, network: "FusedMinGRU", obs: Tensor, state: Tensor, reset: Tensor) -> None:
        (rows, horizon), new, empty_gemm = reset.shape, allocator.zeros, network.empty_gemm
        size, outputs = network.policy.size, network.num_outputs
        self.network, self.state, self.reset = network, state, reset
        self.obs, self.seen = obs, obs  # the second: (B * H, F), once there is a way forth
        self.keep, self.layers = new((rows, horizon)), list[MinGRUSteps]()
        x = self.x = empty_gemm((rows, horizon, size))
        for weight, bias in network.weights:
            last = len(self.layers) == len(network.weights) - 1
            out = (new if last else empty_gemm)((rows, horizon, size))
            given = (weight, bias, self.keep, x, out, new, empty_gemm)
            self.layers.append(MinGRUSteps(*given, once=True))
            x = out
        self.hidden, self.grad_x = x.view(-1, size), new((rows, horizon, size))
        self.outputs, self.grad = new((2, rows * horizon, outputs))
        self.output, self.gradient = network.output(self.outputs), network.gradients(self.grad)

    def forward(self, graph: Graph) -> None:
        """Note the way forth."""
        network, reset = self.network, self.reset.view(torch.uint8).numpy()
        self.seen = network.unrolled(graph, self.obs).flatten(0, 1)
        graph.call(_kernels.not_reset, reset=reset, out=self.keep.numpy())
        x, made = self.x.flatten(0, 1), network.room(self.layers[0].gates)
        network.first.forward(graph, self.seen, x, made)
        for steps, before in zip(self.layers, network.states(self.state), strict=True):
            steps.forward(before, graph)
        network.last.forward(graph, self.hidden, self.outputs)

    def backward(self, graph: Graph) -> None:
        """Note the way back."""
        network, grad_x = self.network, self.grad_x.flatten(0, 1)
        network.last.backward(graph, self.hidden, self.outputs, self.grad, grad_x)
        for steps, sums in reversed(list(zip(self.layers, network.sums, strict=True))):
            graph.call(_kernels.fill, out=steps.grad_state.numpy())
            steps.backward(self.grad_x, *sums, graph)
        network.first.backward(graph, self.seen, self.x.flatten(0, 1), grad_x, None)


class FusedMinGRU(FusedRecurrent):
    """A minGRU by the policy's own weights. `grads`: of each parameter, by name, added to."""

    part = MinGRUWorkspace
