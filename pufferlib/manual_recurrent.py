"""Recurrent networks without autograd, as manual.py has feed-forward ones.

An LSTM goes step by step, all rows of a part at once; a minGRU layer by layer through whole rows
(cells.py has both). Letters as in policy.py; K = C + X + 1 outputs of the heads.
"""

import functools
from collections.abc import Mapping
from typing import Any, Protocol, cast

import torch
from torch import Tensor, nn

from pufferlib import _kernels, memory
from pufferlib.cells import LSTMSteps, MinGRUSteps
from pufferlib.manual import Acting, ByHand
from pufferlib.policy import Output
from pufferlib.recurrent import CHUNK, Recurrent
from pufferlib.tape import Input, Tape

REMEMBERED = 64  # places and numbers of states that were acted from


class ActPart:
    """One step of N agents whose states lie in one place, a few that stay in the cache at a time;
    states are written to `new`."""

    def __init__(
        self, network: "ManualRecurrent", state: Tensor, new: Tensor, dtype: torch.dtype
    ) -> None:
        said, size = network.said[: len(state)], network.policy.spec.obs_size
        self.output, self.seen, self.tape = network.output(said), [], Tape()
        chunks = [torch.split(part, CHUNK) for part in (state, new, said)]
        for before, after, out in zip(*chunks, strict=True):
            self.seen.append(Input(len(before), size, dtype))
            network.act_some(self.tape, self.seen[-1], before, after, out)


class ManualRecurrent(ByHand):
    """First layer, heads, the weights between them, and how they act."""

    part: type["RecurrentPart"]
    sees = torch.float32

    def __init__(self, policy: Recurrent, grads: Mapping[str, Tensor]) -> None:
        super().__init__(policy, policy.heads, grads)
        self.policy = policy
        self.first = self.dense("first", policy.activation, policy.norm)
        self.last = self.last_layer()
        names = [f"input.{i}" for i in range(policy.num_layers)]
        layers = [cast(nn.Linear, policy.get_submodule(name)) for name in names]
        self.weights = [(layer.weight.detach(), layer.bias.detach()) for layer in layers]
        self.sums: list[tuple[Tensor, Any]] = [  # of their gradients
            (grads[f"{name}.weight"], grads[f"{name}.bias"].numpy()) for name in names
        ]
        new, size = memory.floats, policy.size
        self._x, self._gates = new((CHUNK, size)), new((CHUNK, policy.gates * size))
        self._floats = new((CHUNK, policy.spec.obs_size))
        self.said, self._new = new((0, self.outputs)), new((0, policy.state_size))
        self._acting: dict[tuple[Any, ...], ActPart] = {}
        self._own = functools.lru_cache(maxsize=2)(self._make_own)

    def act(self, obs: Tensor, state: Tensor | None, new: Tensor | None = None) -> Acting:
        """Obs (N, *O), state (N, S)."""
        before, n = cast(Tensor, state), len(obs)
        if n > len(self.said):
            self.said = memory.floats((n, self.outputs))
            self._acting.clear()
        if new is None:
            if n > len(self._new):
                self._new = memory.floats((n, self.policy.state_size))
            new = self._new[:n]
        key = n, before.data_ptr(), before.stride(), new.data_ptr(), new.stride(), obs.dtype
        part = self._acting.pop(key, None) or ActPart(self, before, new, obs.dtype)
        self._acting[key] = part  # the last used is the last
        if len(self._acting) > REMEMBERED:
            del self._acting[next(iter(self._acting))]
        x = obs.flatten(1) if obs.dim() > 1 else obs.unsqueeze(1)
        for seen, some in zip(part.seen, torch.split(x, CHUNK), strict=True):
            seen.put(some)
        return Acting([part.tape], part.output, new)

    def act_some(self, tape: Tape, seen: Input, state: Tensor, new: Tensor, said: Tensor) -> None:
        """Note how N agents act once, at most CHUNK."""
        n, taken = len(state), cast("Input | Tensor", seen)
        if seen.dtype != torch.float32:
            taken = self._floats[:n]
            tape.run(_kernels.to_float, rows=seen.given, out=taken.numpy())
        self.first.forward(tape, taken, self._x[:n])
        hidden = self.policy.steps(self._x[:n], state, new, self._gates[:n], tape)
        self.last.forward(tape, hidden, said)

    def note(self, tape: Tape, obs: Tensor, state: Tensor | None, reset: Tensor) -> "RecurrentPart":
        """Note the way forth of B rows of H steps."""
        part = self.part(self, obs, cast(Tensor, state), reset)
        part.forth(tape)
        return part

    def _make_own(self, rows: int, horizon: int) -> "Own":
        return Own(self, rows, horizon)

    @torch.no_grad()
    def unroll(self, obs: Tensor, state: Tensor | None, reset: Tensor) -> Output:
        """Obs (B, H, *O), state (B, S), reset (B, H) bool -> output of B * H."""
        self._last = own = self._own(*reset.shape)
        own.obs.copy_(obs.view(own.obs.shape))
        own.state.copy_(cast(Tensor, state))
        own.reset.copy_(reset)
        self.refresh()
        own.tapes[0].play()
        return own.part.output

    def gradient(self) -> Output:
        """Return where to write the gradient of what was unrolled last."""
        return self._last.part.gradient

    @torch.no_grad()
    def back(self) -> None:
        """Go back from there: add the gradients of all parameters to those that were given."""
        self.begin_back()
        self._last.tapes[1].play()
        self.end_back()

    def states(self, state: Tensor) -> list[Tensor]:
        """Split a state (B, S) into those of the layers."""
        return list(torch.split(state, self.policy.layer_state, dim=1))


class Own:
    """What `unroll` takes, in memory of its own, and the ways forth and back."""

    def __init__(self, network: ManualRecurrent, rows: int, horizon: int) -> None:
        self.obs = memory.floats((rows, horizon, network.policy.spec.obs_size))
        self.state = memory.floats((rows, network.policy.state_size))
        self.reset, self.tapes = torch.zeros((rows, horizon), dtype=torch.bool), (Tape(), Tape())
        self.part = network.note(self.tapes[0], self.obs, self.state, self.reset)
        self.part.back(self.tapes[1])


class RecurrentPart(Protocol):
    """Memory of B rows of H steps, and what is done there. Made of a network, and of what it is
    shown: obs (B, H, *O) float32, state (B, S), reset (B, H) bool."""

    output: Output
    gradient: Output

    def __init__(self, network: Any, obs: Tensor, state: Tensor, reset: Tensor) -> None: ...

    def forth(self, tape: Tape) -> None:
        """Note the way forth."""

    def back(self, tape: Tape) -> None:
        """Note the way back."""


class LSTMPart:
    """A step's rows lie together."""

    def __init__(self, network: "ManualLSTM", obs: Tensor, state: Tensor, reset: Tensor) -> None:
        (rows, horizon), new = reset.shape, memory.floats
        size, outputs = network.policy.size, network.outputs
        self.network, self.state, self.reset = network, state, reset
        self.seen = obs.view(rows, horizon, -1).unbind(1)
        self.keep, self.hidden = new((horizon, rows)), new((horizon, rows, size))
        self.layers: list[LSTMSteps] = []
        out = self.hidden
        for weight, bias in reversed(network.weights):  # a layer writes into the one above it
            self.layers.insert(0, LSTMSteps(weight, bias, self.keep, out, new))
            out = self.layers[0].x[:-1]
        self.xs = out.unbind()
        self.said, self.grad = new((2, horizon, rows, outputs))
        self.turned = new((2, rows, horizon, outputs))  # as the loss has them
        said, grad = (part.flatten(0, 1) for part in self.turned)
        self.output, self.gradient = network.output(said), network.gradients(grad)

    def forth(self, tape: Tape) -> None:
        """Note the way forth."""
        network, keep = self.network, self.keep
        reset = self.reset.view(torch.uint8).numpy()
        tape.run(_kernels.keep, reset=reset, out=keep.numpy(), steps_first=True)
        for steps, before in zip(self.layers, network.states(self.state), strict=True):
            into = steps.hidden[0], steps.cell[0]
            for part, out in zip(before.chunk(2, 1), into, strict=True):
                tape.run(_kernels.carry, state=part.numpy(), keep=keep[0].numpy(), out=out.numpy())
        for t, (seen, x) in enumerate(zip(self.seen, self.xs, strict=True)):
            network.first.forward(tape, seen, x)
            for steps in self.layers:
                steps.step(t, tape)
        network.last.forward(tape, self.hidden.flatten(0, 1), self.said.flatten(0, 1))
        tape.run(_kernels.turn, rows=self.said.numpy(), out=self.turned[0].numpy())

    def back(self, tape: Tape) -> None:
        """Note the way back."""
        network, hidden = self.network, torch.empty_like(self.hidden[0])
        tape.run(_kernels.turn, rows=self.turned[1].numpy(), out=self.grad.numpy())
        said, grad = self.said.flatten(0, 1), self.grad.flatten(0, 1)
        network.last.back(tape, self.hidden.flatten(0, 1), said, grad, None)
        for steps in self.layers:
            for part in (steps.grad_hidden, steps.grad_cell):
                tape.run(_kernels.fill, out=part.numpy())
        grads = [*(steps.grad_x for steps in self.layers[1:]), hidden]
        back = list(zip(self.layers, grads, network.sums, strict=True))[::-1]
        for t in range(len(self.xs) - 1, -1, -1):
            tape.product(self.grad[t], network.last.used[0], hidden)
            for steps, grad_out, sums in back:
                steps.back(t, grad_out.numpy(), *sums, tape)
            network.first.back(tape, self.seen[t], self.xs[t], self.layers[0].grad_x, None)


class ManualLSTM(ManualRecurrent):
    """An LSTM by the policy's own weights. `grads`: of each parameter, by name, added to."""

    part = LSTMPart


class MinGRUPart:
    """A row's steps lie together."""

    def __init__(self, network: "ManualMinGRU", obs: Tensor, state: Tensor, reset: Tensor) -> None:
        (rows, horizon), new = reset.shape, memory.floats
        size, outputs = network.policy.size, network.outputs
        self.network, self.state, self.reset = network, state, reset
        self.seen = obs.view(rows * horizon, -1)
        self.keep, self.x, self.layers = new((rows, horizon)), new((rows, horizon, size)), []
        x = self.x
        for weight, bias in network.weights:
            out = new(x.shape)
            self.layers.append(MinGRUSteps(weight, bias, self.keep, x, out, new, once=True))
            x = out
        self.hidden, self.grad_x = x.view(-1, size), new((rows, horizon, size))
        self.said, self.grad = new((2, rows * horizon, outputs))
        self.output, self.gradient = network.output(self.said), network.gradients(self.grad)

    def forth(self, tape: Tape) -> None:
        """Note the way forth."""
        network, reset = self.network, self.reset.view(torch.uint8).numpy()
        tape.run(_kernels.keep, reset=reset, out=self.keep.numpy())
        network.first.forward(tape, self.seen, self.x.flatten(0, 1))
        for steps, before in zip(self.layers, network.states(self.state), strict=True):
            steps.forward(before, tape)
        network.last.forward(tape, self.hidden, self.said)

    def back(self, tape: Tape) -> None:
        """Note the way back."""
        network, grad_x = self.network, self.grad_x.flatten(0, 1)
        network.last.back(tape, self.hidden, self.said, self.grad, grad_x)
        for steps, sums in reversed(list(zip(self.layers, network.sums, strict=True))):
            tape.run(_kernels.fill, out=steps.grad_state.numpy())
            steps.back(self.grad_x, *sums, tape)
        network.first.back(tape, self.seen, self.x.flatten(0, 1), grad_x, None)


class ManualMinGRU(ManualRecurrent):
    """A minGRU by the policy's own weights. `grads`: of each parameter, by name, added to."""

    part = MinGRUPart
