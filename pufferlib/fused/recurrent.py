"""Recurrent networks without autograd, as manual.py has feed-forward ones.

An LSTM goes step by step, all rows of a part at once; a minGRU layer by layer through whole rows
(cells.py has both). Letters as in policy.py; K = C + X + 1 outputs of the heads.
"""

from collections.abc import Mapping
from typing import Any, Protocol, cast

import torch
from torch import Tensor

from pufferlib.fused.network import ByHand
from pufferlib.kernels import _kernels
from pufferlib.ops.recurrent import LSTMSteps, MinGRUSteps
from pufferlib.policies.base import Output
from pufferlib.policies.recurrent import CHUNK, Recurrent, Room
from pufferlib.runtime import allocator
from pufferlib.runtime.graph import Graph, Input, shown


class ManualRecurrent(ByHand):
    """First layer, heads, the weights between them, and how they act."""

    policy: Recurrent
    part: type["RecurrentPart"]

    def __init__(
        self,
        policy: Recurrent,
        grads: Mapping[str, Tensor],
        rounded: Mapping[str, Tensor] | None = None,
    ) -> None:
        super().__init__(policy, policy.heads, grads, CHUNK, rounded)
        self.first = self.dense("first", policy.activation, policy.norm)
        self.last = self.last_layer()
        names, layers = [f"input.{i}" for i in range(policy.num_layers)], policy.layers()
        self.weights = [
            (self.rounded.get(f"{name}.weight", weight), bias)
            for name, (weight, bias) in zip(names, layers, strict=True)
        ]
        self.sums: list[tuple[Tensor, Any]] = [  # of their gradients
            (grads[f"{name}.weight"], grads[f"{name}.bias"].numpy()) for name in names
        ]
        new, factors, each = allocator.floats, self.factors, (CHUNK, policy.size)
        self._gates = new((CHUNK, policy.gates * policy.size))
        self._seen, self._x = factors((CHUNK, policy.spec.obs_size)), factors(each)
        self._out = new(each) if rounded else self._x
        self.refresh()

    def act(self, graph: Graph, obs: Input, state: Tensor | None) -> Output:
        """Obs (N, F), state (N, S)."""
        n, states = obs.shape[0], cast(Tensor, state)

        def taken(given: Tensor) -> Tensor:
            known = given.dtype == self.dtype
            return given if known else self.converted(graph, given, self._x)

        x, made = self._x[:n], self.room(self._gates[:n])
        self.first.forward(graph, self.taken(graph, obs, self._seen), x, made)
        room = Room(self._gates[:n], self._out[:n], taken)
        hidden = self.policy.steps(self.weights, x, states, states, room, graph)
        self.last.forward(graph, hidden, self.said[:n])
        return self.output(self.said[:n])

    def note(
        self, graph: Graph, obs: Tensor, state: Tensor | None, reset: Tensor
    ) -> "RecurrentPart":
        """Note the way forth of B rows of H steps."""
        part = self.part(self, obs, cast(Tensor, state), reset)
        part.forth(graph)
        return part

    def unrolled(self, graph: Graph, obs: Tensor) -> Tensor:
        """Return what the first layer takes of what is seen in rows (B, H, *O): (B, H, F)."""
        seen = obs.view(*obs.shape[:2], -1)
        if self.norm is None:
            return seen
        taken = self.taken(graph, seen.flatten(0, 1), self.factors(seen.flatten(0, 1).shape))
        return cast(Tensor, taken).view(seen.shape)

    def room(self, gates: Tensor) -> Tensor | None:
        """Return where the first layer's product (..., D) is made, if not in its result: where the
        gates (..., gates * D) of the layer above will be."""
        return gates[..., : self.policy.size] if self.rounded else None

    def states(self, state: Tensor) -> list[Tensor]:
        """Split a state (B, S) into those of the layers."""
        return list(torch.split(state, self.policy.layer_state, dim=1))


class RecurrentPart(Protocol):
    """Memory of B rows of H steps, and what is done there. Made of a network, and of what it is
    shown: obs (B, H, *O) as `sees` says, state (B, S), reset (B, H) bool."""

    output: Output
    gradient: Output

    def __init__(self, network: Any, obs: Tensor, state: Tensor, reset: Tensor) -> None: ...

    def forth(self, graph: Graph) -> None:
        """Note the way forth."""

    def back(self, graph: Graph) -> None:
        """Note the way back."""


class LSTMPart:
    """A step's rows lie together."""

    def __init__(self, network: "ManualLSTM", obs: Tensor, state: Tensor, reset: Tensor) -> None:
        (rows, horizon), new, factors = reset.shape, allocator.floats, network.factors
        size, outputs = network.policy.size, network.outputs
        self.network, self.obs, self.state, self.reset = network, obs, state, reset
        self.seen: tuple[Tensor, ...] = ()  # each step's, once there is a way forth
        self.keep, self.hidden = new((horizon, rows)), new((horizon, rows, size))
        self.layers: list[LSTMSteps] = []
        out = self.hidden
        for weight, bias in reversed(network.weights):  # a layer writes into the one above it
            self.layers.insert(0, LSTMSteps(weight, bias, self.keep, out, new, factors))
            out = self.layers[0].x[:-1]
        self.xs = out.unbind()
        self.said, self.grad = new((2, horizon, rows, outputs))
        self.turned = new((2, rows, horizon, outputs))  # as the loss has them
        said, grad = (part.flatten(0, 1) for part in self.turned)
        self.output, self.gradient = network.output(said), network.gradients(grad)

    def forth(self, graph: Graph) -> None:
        """Note the way forth."""
        network, keep = self.network, self.keep
        self.seen = network.unrolled(graph, self.obs).unbind(1)
        reset = self.reset.view(torch.uint8).numpy()
        graph.run(_kernels.keep, reset=reset, out=keep.numpy(), steps_first=True)
        for steps, before in zip(self.layers, network.states(self.state), strict=True):
            into = steps.hidden[0], steps.cell[0]
            for part, out in zip(before.chunk(2, 1), into, strict=True):
                graph.run(_kernels.carry, state=part.numpy(), keep=keep[0].numpy(), out=shown(out))
        for t, (seen, x) in enumerate(zip(self.seen, self.xs, strict=True)):
            network.first.forward(graph, seen, x, network.room(self.layers[0].gates[t]))
            for steps in self.layers:
                steps.step(t, graph)
        network.last.forward(graph, self.hidden.flatten(0, 1), self.said.flatten(0, 1))
        graph.run(_kernels.turn, rows=self.said.numpy(), out=self.turned[0].numpy())

    def back(self, graph: Graph) -> None:
        """Note the way back."""
        network, hidden = self.network, torch.empty_like(self.hidden[0])
        graph.run(_kernels.turn, rows=self.turned[1].numpy(), out=self.grad.numpy())
        said, grad = self.said.flatten(0, 1), self.grad.flatten(0, 1)
        network.last.back(graph, self.hidden.flatten(0, 1), said, grad, None)
        for steps in self.layers:
            for part in (steps.grad_hidden, steps.grad_cell):
                graph.run(_kernels.fill, out=part.numpy())
        grads = [*(steps.grad_x for steps in self.layers[1:]), hidden]
        back = list(zip(self.layers, grads, network.sums, strict=True))[::-1]
        for t in range(len(self.xs) - 1, -1, -1):
            graph.product(self.grad[t], network.last.used[0], hidden)
            for steps, grad_out, sums in back:
                steps.back(t, grad_out.numpy(), *sums, graph)
            network.first.back(graph, self.seen[t], self.xs[t], self.layers[0].grad_x, None)


class ManualLSTM(ManualRecurrent):
    """An LSTM by the policy's own weights. `grads`: of each parameter, by name, added to."""

    part = LSTMPart


class MinGRUPart:
    """A row's steps lie together."""

    def __init__(self, network: "ManualMinGRU", obs: Tensor, state: Tensor, reset: Tensor) -> None:
        (rows, horizon), new, factors = reset.shape, allocator.floats, network.factors
        size, outputs = network.policy.size, network.outputs
        self.network, self.state, self.reset = network, state, reset
        self.obs, self.seen = obs, obs  # the second: (B * H, F), once there is a way forth
        self.keep, self.layers = new((rows, horizon)), list[MinGRUSteps]()
        x = self.x = factors((rows, horizon, size))
        for weight, bias in network.weights:
            last = len(self.layers) == len(network.weights) - 1
            out = (new if last else factors)((rows, horizon, size))
            given = (weight, bias, self.keep, x, out, new, factors)
            self.layers.append(MinGRUSteps(*given, once=True))
            x = out
        self.hidden, self.grad_x = x.view(-1, size), new((rows, horizon, size))
        self.said, self.grad = new((2, rows * horizon, outputs))
        self.output, self.gradient = network.output(self.said), network.gradients(self.grad)

    def forth(self, graph: Graph) -> None:
        """Note the way forth."""
        network, reset = self.network, self.reset.view(torch.uint8).numpy()
        self.seen = network.unrolled(graph, self.obs).flatten(0, 1)
        graph.run(_kernels.keep, reset=reset, out=self.keep.numpy())
        x, made = self.x.flatten(0, 1), network.room(self.layers[0].gates)
        network.first.forward(graph, self.seen, x, made)
        for steps, before in zip(self.layers, network.states(self.state), strict=True):
            steps.forward(before, graph)
        network.last.forward(graph, self.hidden, self.said)

    def back(self, graph: Graph) -> None:
        """Note the way back."""
        network, grad_x = self.network, self.grad_x.flatten(0, 1)
        network.last.back(graph, self.hidden, self.said, self.grad, grad_x)
        for steps, sums in reversed(list(zip(self.layers, network.sums, strict=True))):
            graph.run(_kernels.fill, out=steps.grad_state.numpy())
            steps.back(self.grad_x, *sums, graph)
        network.first.back(graph, self.seen, self.x.flatten(0, 1), grad_x, None)


class ManualMinGRU(ManualRecurrent):
    """A minGRU by the policy's own weights. `grads`: of each parameter, by name, added to."""

    part = MinGRUPart
