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
from pufferlib.manual import ByHand, Matrix
from pufferlib.normalize import flat_float
from pufferlib.policy import Output
from pufferlib.recurrent import CHUNK, Recurrent


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
        self._x = self.last.weight.new_empty((CHUNK, policy.size))

    @torch.no_grad()
    def forward(self, obs: Tensor, state: Tensor | None) -> tuple[Output, Tensor]:
        """Obs (N, *O), state (N, S) -> output of N and new state, in new memory."""
        self.first.refresh()
        state = cast(Tensor, state)
        new, said = torch.empty_like(state), state.new_empty((len(obs), len(self.last.bias)))
        for begin in range(0, len(obs), CHUNK):
            part = slice(begin, begin + CHUNK)
            seen = flat_float(obs[part], 1)
            x = Matrix(self._x[: len(seen)])
            self.first.forward(seen, x)
            hidden = self.policy.steps(x.tensor, state[part], new[part])
            self.last.forward(hidden, Matrix(said[part]))
        return self.spoken(said), new

    def states(self, state: Tensor | None) -> tuple[Tensor, ...]:
        """Split a state (B, S) into those of the layers."""
        return torch.split(cast(Tensor, state), self.policy.layer_state, dim=1)


class LSTMPart:
    """Memory of B rows of H steps; a step's rows lie together."""

    def __init__(self, network: "ManualLSTM", rows: int, horizon: int) -> None:
        new, size, outputs = memory.floats, network.policy.size, network.outputs
        self.keep, self.hidden = new((horizon, rows)), new((horizon, rows, size))
        self.layers: list[LSTMSteps] = []
        out = self.hidden
        for weight, bias in reversed(network.weights):  # a layer writes into the one above it
            self.layers.insert(0, LSTMSteps(weight, bias, self.keep, out, new))
            out = self.layers[0].x[:-1]
        self.xs = [Matrix(x) for x in out]
        self.grad_hidden, self.grad_x = new((rows, size)), Matrix(self.layers[0].grad_x)
        grads = [*(steps.grad_x for steps in self.layers[1:]), self.grad_hidden]
        shown = [grad.numpy() for grad in grads]
        self.back = list(zip(self.layers, shown, network.sums, strict=True))[::-1]
        said, grad = new((2, horizon, rows, outputs))
        self.said, self.grad = Matrix(said.view(-1, outputs)), Matrix(grad.view(-1, outputs))
        self.grads = grad.unbind()
        turned = new((2, rows, horizon, outputs))  # as the loss has them
        self.turned = list(zip((said, grad), turned.transpose(1, 2), strict=True))
        self.whole, self.gradient = turned[0].view(-1, outputs), turned[1].view(-1, outputs)


class ManualLSTM(ManualRecurrent):
    """An LSTM by the policy's own weights. `grads`: of each parameter, by name, added to."""

    def __init__(self, policy: Recurrent, grads: Mapping[str, Tensor]) -> None:
        super().__init__(policy, grads)
        self._part = functools.lru_cache(maxsize=2)(functools.partial(LSTMPart, self))

    @torch.no_grad()
    def unroll(self, obs: Tensor, state: Tensor | None, reset: Tensor) -> Output:
        """Obs (B, H, *O), state (B, S), reset (B, H) bool -> output of B * H."""
        self._last = part = self._part(*reset.shape)
        self._seen = flat_float(obs.flatten(0, 1), 1).view(*reset.shape, -1).unbind(1)
        self.first.refresh()
        torch.logical_not(reset.t(), out=part.keep)
        for steps, before in zip(part.layers, self.states(state), strict=True):
            steps.begin(*before.chunk(2, 1))
        for t, (seen, x) in enumerate(zip(self._seen, part.xs, strict=True)):
            self.first.forward(seen, x)
            for steps in part.layers:
                steps.step(t)
        self.last.forward(part.hidden.flatten(0, 1), part.said)
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
        self.last.back(part.hidden.flatten(0, 1), part.said, part.grad, None)
        for steps in part.layers:
            steps.begin_back()
        for t in range(len(self._seen) - 1, -1, -1):
            torch.mm(part.grads[t], self.last.weight, out=part.grad_hidden)
            for steps, grad_out, sums in part.back:
                steps.back(t, grad_out, *sums)
            self.first.back(self._seen[t], part.xs[t], part.grad_x, None)


class MinGRUPart:
    """Memory of B rows of H steps; a row's steps lie together."""

    def __init__(self, network: "ManualMinGRU", rows: int, horizon: int) -> None:
        new, size, outputs = memory.floats, network.policy.size, network.outputs
        self.keep, x = new((rows, horizon)), new((rows, horizon, size))
        self.x, self.layers = Matrix(x.view(-1, size)), []
        for weight, bias in network.weights:
            out = new(x.shape)
            self.layers.append(MinGRUSteps(weight, bias, self.keep, x, out, new, once=True))
            x = out
        self.hidden, self.grad_x = x.view(-1, size), Matrix(new((rows * horizon, size)))
        self.said, self.grad = (Matrix(y) for y in new((2, rows * horizon, outputs)))


class ManualMinGRU(ManualRecurrent):
    """A minGRU by the policy's own weights. `grads`: of each parameter, by name, added to."""

    def __init__(self, policy: Recurrent, grads: Mapping[str, Tensor]) -> None:
        super().__init__(policy, grads)
        self._part = functools.lru_cache(maxsize=2)(functools.partial(MinGRUPart, self))

    @torch.no_grad()
    def unroll(self, obs: Tensor, state: Tensor | None, reset: Tensor) -> Output:
        """Obs (B, H, *O), state (B, S), reset (B, H) bool -> output of B * H."""
        self._last = part = self._part(*reset.shape)
        self._seen = flat_float(obs.flatten(0, 1), 1)
        self.first.refresh()
        torch.logical_not(reset, out=part.keep)
        self.first.forward(self._seen, part.x)
        for steps, before in zip(part.layers, self.states(state), strict=True):
            steps.forward(before)
        self.last.forward(part.hidden, part.said)
        return self.spoken(part.said.tensor)

    def gradient(self) -> Output:
        """Return where to write the gradient of what was unrolled last."""
        return self.apart(self._last.grad.tensor, self.grad_log_std)

    @torch.no_grad()
    def back(self) -> None:
        """Go back from there: add the gradients of all parameters to those that were given."""
        part = self._last
        self.heard(self.gradient())
        self.last.back(part.hidden, part.said, part.grad, part.grad_x.tensor)
        for steps, sums in reversed(list(zip(part.layers, self.sums, strict=True))):
            steps.back(part.grad_x.tensor, *sums)
        self.first.back(self._seen, part.x, part.grad_x, None)
