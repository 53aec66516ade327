"""Recurrent networks without autograd, as manual.py has feed-forward ones.

An LSTM goes step by step, all rows of a part at once; a minGRU layer by layer through whole rows
(cells.py has both). Letters as in policy.py; K = C + X + 1 outputs of the heads.
"""

import functools
from collections.abc import Mapping
from typing import Any, cast

import torch
from torch import Tensor, nn

from pufferlib import memory
from pufferlib.cells import LSTMSteps, MinGRUSteps
from pufferlib.manual import ByHand
from pufferlib.normalize import flat_float
from pufferlib.policy import Output
from pufferlib.recurrent import CHUNK, Recurrent
from pufferlib.tape import Input, Tape

PARTS = 4  # places to act from that are remembered: as many groups, or fewer


class ActPart:
    """One step of N agents whose states lie in one place, a few that stay in the cache at a time;
    states are written to `new`."""

    def __init__(self, network: "ManualRecurrent", state: Tensor, new: Tensor) -> None:
        self.held = state, new  # so that no other memory has their address
        given = (state, new, network.said[: len(state)])
        chunks = [torch.split(part, CHUNK) for part in given]
        self.seen, self.forth = [], Tape()
        for before, after, said in zip(*chunks, strict=True):
            n = len(before)
            self.seen.append(Input(n, network.policy.spec.obs_size))
            x, gates = network.x[:n], network.gates[:n]
            network.first.forward(self.forth, self.seen[-1], x)
            hidden = network.policy.steps(x, before, after, gates, self.forth)
            network.last.forward(self.forth, hidden, said)


class ManualRecurrent(ByHand):
    """First layer, heads, the weights between them, and how they act."""

    def __init__(self, policy: Recurrent, grads: Mapping[str, Tensor]) -> None:
        super().__init__(policy, policy.heads, grads)
        self.policy = policy
        self.first = self.dense("first", policy.activation, policy.norm)
        self.last = self.dense("heads.out", "identity")
        names = [f"input.{i}" for i in range(policy.num_layers)]
        layers = [cast(nn.Linear, policy.get_submodule(name)) for name in names]
        self.weights = [(layer.weight.detach(), layer.bias.detach()) for layer in layers]
        self.sums: list[tuple[Tensor, Any]] = [  # of their gradients
            (grads[f"{name}.weight"], grads[f"{name}.bias"].numpy()) for name in names
        ]
        new, size = memory.floats, policy.size
        self.x, self.gates = new((CHUNK, size)), new((CHUNK, policy.gates * size))
        self.said, self._new = new((0, self.outputs)), new((0, policy.state_size))
        self._floats = new((0, 0))  # what is seen, if that is not floats
        self._parts: dict[tuple[int, int, int], ActPart] = {}  # by number and places of states

    @torch.no_grad()
    def forward(
        self, obs: Tensor, state: Tensor | None, new: Tensor | None = None
    ) -> tuple[Output, Tensor]:
        """Obs (N, *O), state (N, S) -> output of N and new state, `new` if that is given."""
        state, n = cast(Tensor, state), len(obs)
        if n > len(self.said):
            self.said = memory.floats((n, self.outputs))
            if obs.dtype != torch.float32:
                self._floats = memory.floats((n, self.policy.spec.obs_size))
            self._parts.clear()
        if new is None:
            if n > len(self._new):
                self._new = torch.empty((n, state.shape[1]))
            new = self._new[:n]
        self.first.refresh()
        key = n, state.data_ptr(), new.data_ptr()
        part = self._parts.pop(key, None) or ActPart(self, state, new)
        self._parts[key] = part  # the last used is the last
        if len(self._parts) > PARTS:
            del self._parts[next(iter(self._parts))]
        x = obs.flatten(1) if obs.dim() > 1 else obs.unsqueeze(1)
        if x.dtype != torch.float32:
            x = self._floats[:n].copy_(x)
        for seen, some in zip(part.seen, torch.split(x, CHUNK), strict=True):
            seen.put(some)
        part.forth.play()
        return self.spoken(self.said[:n]), new

    def states(self, state: Tensor | None) -> tuple[Tensor, ...]:
        """Split a state (B, S) into those of the layers."""
        return torch.split(cast(Tensor, state), self.policy.layer_state, dim=1)


class LSTMPart:
    """Memory of B rows of H steps; a step's rows lie together."""

    def __init__(self, network: "ManualLSTM", rows: int, horizon: int) -> None:
        new, size, outputs = memory.floats, network.policy.size, network.outputs
        self.network, self.keep = network, new((horizon, rows))
        self.hidden = new((horizon, rows, size))
        self.layers: list[LSTMSteps] = []
        out = self.hidden
        for weight, bias in reversed(network.weights):  # a layer writes into the one above it
            self.layers.insert(0, LSTMSteps(weight, bias, self.keep, out, new))
            out = self.layers[0].x[:-1]
        self.xs = out.unbind()
        self.seen = [Input(rows, network.policy.spec.obs_size) for _ in self.xs]
        said, grad = new((2, horizon, rows, outputs))
        self.said, self.grad = said.view(-1, outputs), grad.view(-1, outputs)
        turned = new((2, rows, horizon, outputs))  # as the loss has them
        self.turned = list(zip((said, grad), turned.transpose(1, 2), strict=True))
        self.whole, self.gradient = turned[0].view(-1, outputs), turned[1].view(-1, outputs)

    @functools.cached_property
    def forth(self) -> Tape:
        """From `seen` and the layers' first states to `said`."""
        tape, network = Tape(), self.network
        for t, (seen, x) in enumerate(zip(self.seen, self.xs, strict=True)):
            network.first.forward(tape, seen, x)
            for steps in self.layers:
                steps.step(t, tape)
        network.last.forward(tape, self.hidden.flatten(0, 1), self.said)
        return tape

    @functools.cached_property
    def back(self) -> Tape:
        """From `grad` to the gradients of the parameters."""
        tape, network, hidden = Tape(), self.network, torch.empty_like(self.hidden[0])
        network.last.back(tape, self.hidden.flatten(0, 1), self.said, self.grad, None)
        grads = [*(steps.grad_x for steps in self.layers[1:]), hidden]
        back = list(zip(self.layers, grads, network.sums, strict=True))[::-1]
        for t in range(len(self.xs) - 1, -1, -1):
            tape.product(self.grad.view_as(self.turned[1][0])[t], network.last.weight, hidden)
            for steps, grad_out, sums in back:
                steps.back(t, grad_out.numpy(), *sums, tape)
            network.first.back(tape, self.seen[t], self.xs[t], self.layers[0].grad_x, None)
        return tape


class ManualLSTM(ManualRecurrent):
    """An LSTM by the policy's own weights. `grads`: of each parameter, by name, added to."""

    def __init__(self, policy: Recurrent, grads: Mapping[str, Tensor]) -> None:
        super().__init__(policy, grads)
        self._part = functools.lru_cache(maxsize=2)(functools.partial(LSTMPart, self))

    @torch.no_grad()
    def unroll(self, obs: Tensor, state: Tensor | None, reset: Tensor) -> Output:
        """Obs (B, H, *O), state (B, S), reset (B, H) bool -> output of B * H."""
        self._last = part = self._part(*reset.shape)
        self._seen = flat_float(obs.flatten(0, 1), 1).view(*reset.shape, -1)  # lives as long
        for seen, x in zip(part.seen, self._seen.unbind(1), strict=True):
            seen.put(x)
        self.first.refresh()
        torch.logical_not(reset.t(), out=part.keep)
        for steps, before in zip(part.layers, self.states(state), strict=True):
            steps.begin(*before.chunk(2, 1))
        part.forth.play()
        said, turned = part.turned[0]
        turned.copy_(said)
        return self.spoken(part.whole)

    def gradient(self) -> Output:
        """Return where to write the gradient of what was unrolled last."""
        return self.apart(self._last.gradient, self.grad_log_std)

    @torch.no_grad()
    def back(self) -> None:
        """Go back from there: add the gradients of all parameters to those that were given."""
        part = self._last
        self.heard(self.gradient())
        grad, turned = part.turned[1]
        grad.copy_(turned)
        for steps in part.layers:
            steps.begin_back()
        self.first.begin_back()
        part.back.play()
        self.first.end_back()


class MinGRUPart:
    """Memory of B rows of H steps; a row's steps lie together."""

    def __init__(self, network: "ManualMinGRU", rows: int, horizon: int) -> None:
        new, size, outputs = memory.floats, network.policy.size, network.outputs
        self.network, self.keep = network, new((rows, horizon))
        self.seen = Input(rows * horizon, network.policy.spec.obs_size)
        self.x, self.layers = new((rows, horizon, size)), []
        self.state, x = new((rows, network.policy.state_size)), self.x
        for weight, bias in network.weights:
            out = new(x.shape)
            self.layers.append(MinGRUSteps(weight, bias, self.keep, x, out, new, once=True))
            x = out
        self.hidden, self.grad_x = x.view(-1, size), new((rows * horizon, size))
        self.said, self.grad = new((2, rows * horizon, outputs))

    @functools.cached_property
    def forth(self) -> Tape:
        """From `seen` and `state` to `said`."""
        tape, network = Tape(), self.network
        network.first.forward(tape, self.seen, self.x.flatten(0, 1))
        for steps, before in zip(self.layers, network.states(self.state), strict=True):
            steps.forward(before, tape)
        network.last.forward(tape, self.hidden, self.said)
        return tape

    @functools.cached_property
    def back(self) -> Tape:
        """From `grad` to the gradients of the parameters."""
        tape, network, grad_x = Tape(), self.network, self.grad_x
        network.last.back(tape, self.hidden, self.said, self.grad, grad_x)
        for steps, sums in reversed(list(zip(self.layers, network.sums, strict=True))):
            steps.back(grad_x.view_as(self.x), *sums, tape)
        network.first.back(tape, self.seen, self.x.flatten(0, 1), grad_x, None)
        return tape


class ManualMinGRU(ManualRecurrent):
    """A minGRU by the policy's own weights. `grads`: of each parameter, by name, added to."""

    def __init__(self, policy: Recurrent, grads: Mapping[str, Tensor]) -> None:
        super().__init__(policy, grads)
        self._part = functools.lru_cache(maxsize=2)(functools.partial(MinGRUPart, self))

    @torch.no_grad()
    def unroll(self, obs: Tensor, state: Tensor | None, reset: Tensor) -> Output:
        """Obs (B, H, *O), state (B, S), reset (B, H) bool -> output of B * H."""
        self._last = part = self._part(*reset.shape)
        part.seen.put(flat_float(obs.flatten(0, 1), 1))
        part.state.copy_(cast(Tensor, state))
        self.first.refresh()
        torch.logical_not(reset, out=part.keep)
        part.forth.play()
        return self.spoken(part.said)

    def gradient(self) -> Output:
        """Return where to write the gradient of what was unrolled last."""
        return self.apart(self._last.grad, self.grad_log_std)

    @torch.no_grad()
    def back(self) -> None:
        """Go back from there: add the gradients of all parameters to those that were given."""
        part = self._last
        self.heard(self.gradient())
        for steps in part.layers:
            steps.begin_back()
        self.first.begin_back()
        part.back.play()
        self.first.end_back()
