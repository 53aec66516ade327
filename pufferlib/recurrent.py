"""Networks with memory: LSTM (Hochreiter, Schmidhuber 1997) and minGRU (Feng et al. 2024).

The first hidden layer is feed-forward, the others are recurrent. `unroll` does in one go what
`forward` does step by step; where a life begins, the state before it is multiplied by 0, which is
the initial state. Letters as in policy.py; L recurrent layers.
"""

from typing import Any, cast

import torch
from torch import Tensor, nn

from pufferlib.encode import input_layer
from pufferlib.options import PolicyOptions
from pufferlib.policy import ACTIVATIONS, Heads, Output, Policy, PolicySpec, orthogonal


class Recurrent(Policy):
    """Input layer, recurrent layers, heads. A subclass defines one layer's `step` and `scan`.

    A state (N, S) is the layers' states one after the other, S = L * `layer_state`.
    """

    gates = 0  # outputs of a layer's input matrix, in units of D
    states = 0  # entries of a layer's state, in units of D

    def __init__(self, spec: PolicySpec, options: PolicyOptions) -> None:
        super().__init__(spec)
        if options.num_layers < 2:
            raise ValueError(
                f"policy.num_layers={options.num_layers} must be at least 2 for {options.name}: "
                "the first hidden layer is feed-forward, the others recurrent"
            )
        size, self.num_layers = options.hidden_size, options.num_layers - 1
        self.layer_state = self.states * size
        self.state_size = self.num_layers * self.layer_state
        self.first = input_layer(spec, size)
        self.activation = ACTIVATIONS[options.activation]()
        self.input = nn.ModuleList(
            orthogonal(nn.Linear(size, self.gates * size), 1.0) for _ in range(self.num_layers)
        )
        self.heads = Heads(spec, size)

    def step(self, layer: int, x: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """Input x (N, D), state (N, states * D) -> output (N, D), new state."""
        raise NotImplementedError

    def scan(self, layer: int, x: Tensor, state: Tensor, keep: Tensor) -> Tensor:
        """Input x (B, H, D), state before the first, keep (B, H, 1): 0 at a reset -> (B, H, D)."""
        raise NotImplementedError

    def forward(self, obs: Tensor, state: Tensor | None) -> tuple[Output, Tensor]:
        """Obs (N, *O), state (N, S) -> output of N, new state (N, S)."""
        x = self.activation(self.first(obs, self.norm))
        states = []
        for layer, old in enumerate(torch.split(cast(Tensor, state), self.layer_state, dim=1)):
            x, new = self.step(layer, x, old)
            states.append(new)
        return self.heads(x), states[0] if len(states) == 1 else torch.cat(states, dim=1)

    def unroll(self, obs: Tensor, state: Tensor | None, reset: Tensor) -> Output:
        """Obs (B, H, *O), state (B, S) before the first, reset (B, H) bool -> output of B * H."""
        rows, horizon = reset.shape
        x = self.activation(self.first(obs.flatten(0, 1), self.norm)).view(rows, horizon, -1)
        keep = (~reset).unsqueeze(-1).to(x.dtype)
        for layer, old in enumerate(torch.split(cast(Tensor, state), self.layer_state, dim=1)):
            x = self.scan(layer, x, old, keep)
        return cast(Output, self.heads(x.flatten(0, 1)))


class LSTM(Recurrent):
    """Gates in the order input, forget, output, cell; a state is hidden, then cell."""

    gates = 4
    states = 2

    def __init__(self, spec: PolicySpec, options: PolicyOptions) -> None:
        super().__init__(spec, options)
        size = options.hidden_size
        self.recurrent = nn.ParameterList(
            nn.Parameter(
                torch.cat([nn.init.orthogonal_(torch.empty(size, size)) for _ in range(4)])
            )
            for _ in range(self.num_layers)
        )
        for layer in self.input:  # a forget gate that starts open (Jozefowicz et al. 2015)
            nn.init.ones_(cast(nn.Linear, layer).bias[size : 2 * size])

    def step(self, layer: int, x: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """One step of one layer."""
        hidden, cell = state.chunk(2, dim=1)
        size = self.layer_state // 2
        gates = torch.addmm(self.input[layer](x), hidden, self.recurrent[layer].t())
        i, f, o = gates[:, : 3 * size].sigmoid().chunk(3, dim=1)
        cell = f * cell + i * gates[:, 3 * size :].tanh()
        hidden = o * cell.tanh()
        return hidden, torch.cat((hidden, cell), dim=1)

    def scan(self, layer: int, x: Tensor, state: Tensor, keep: Tensor) -> Tensor:
        """All steps of one layer: only the product with the hidden state is done step by step."""
        hidden, cell = state.chunk(2, dim=1)
        gates = self.input[layer](x.transpose(0, 1).contiguous())  # (H, B, 4 * D)
        keep = keep.transpose(0, 1).contiguous()
        return lstm_scan(gates, self.recurrent[layer], hidden, cell, keep).transpose(0, 1)


class MinGRU(Recurrent):
    """h = (1 - z) * h + z * c; gate z and candidate c depend on the input alone, so all steps'
    matrix products are one. A layer gives h + its input: h is there to remember, not to see."""

    gates = 2
    states = 1

    def step(self, layer: int, x: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """One step of one layer."""
        z, c = self.input[layer](x).chunk(2, dim=1)
        z = z.sigmoid()
        hidden = (1 - z) * state + z * c
        return x + hidden, hidden

    def scan(self, layer: int, x: Tensor, state: Tensor, keep: Tensor) -> Tensor:
        """All steps of one layer."""
        z, c = self.input[layer](x).chunk(2, dim=2)
        z = z.sigmoid()
        return x + linear_scan((1 - z) * keep, z * c, state)


class LinearScan(torch.autograd.Function):
    """h_t = a_t * h_(t-1) + b_t over t of a, b (B, H, D), from state (B, D) -> h (B, H, D).

    One multiply-add per step and nothing else: no logarithm, no division, so that nothing
    overflows while a is in [0, 1].
    """

    @staticmethod
    def forward(ctx: Any, a: Tensor, b: Tensor, state: Tensor) -> Tensor:
        """Save h too: the gradient of a follows from it."""
        h, last = torch.empty_like(b), state
        for t in range(b.shape[1]):
            last = torch.addcmul(b[:, t], a[:, t], last, out=h[:, t])
        ctx.save_for_backward(a, h, state)
        return h

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The same scan, from the last step to the first."""
        a, h, state = ctx.saved_tensors
        grad_b = torch.empty_like(h)
        last = grad_b[:, -1].copy_(grads[0][:, -1])
        for t in range(h.shape[1] - 2, -1, -1):
            last = torch.addcmul(grads[0][:, t], a[:, t + 1], last, out=grad_b[:, t])
        grad_a = torch.empty_like(a)
        torch.mul(grad_b[:, 1:], h[:, :-1], out=grad_a[:, 1:])
        torch.mul(grad_b[:, 0], state, out=grad_a[:, 0])
        return grad_a, grad_b, a[:, 0] * last


class LSTMScan(torch.autograd.Function):
    """Hidden states (H, B, D) from gates' inputs x (H, B, 4 * D), weight (4 * D, D), hidden and
    cell (B, D) before the first step, which get no gradient, and keep (H, B, 1).

    Autograd would add up the weight's gradient step by step; here it is one product at the end.
    """

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, hidden: Tensor, cell: Tensor, keep: Tensor
    ) -> Tensor:
        """Save the gates after their functions, and each step's states before and after it."""
        size = hidden.shape[1]
        gates, before = torch.empty_like(x), x.new_empty((2, *x.shape[:2], size))
        out, squashed = torch.empty_like(before[0]), torch.empty_like(before[0])
        transposed = weight.t()
        for t in range(len(x)):
            torch.mul(hidden, keep[t], out=before[0, t])
            torch.mul(cell, keep[t], out=before[1, t])
            gate = torch.addmm(x[t], before[0, t], transposed, out=gates[t])
            gate[:, : 3 * size].sigmoid_()
            gate[:, 3 * size :].tanh_()
            i, f, o, g = gate.chunk(4, dim=1)
            cell = torch.addcmul(f * before[1, t], i, g)
            torch.tanh(cell, out=squashed[t])
            hidden = torch.mul(o, squashed[t], out=out[t])
        ctx.save_for_backward(weight, gates, before, squashed, keep)
        return out

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        """Go back through the steps; gates' derivatives follow from their values."""
        weight, gates, before, squashed, keep = ctx.saved_tensors
        grad_x = torch.empty_like(gates)
        hidden = cell = torch.zeros_like(squashed[0])  # gradients of a step's states
        for t in range(len(gates) - 1, -1, -1):
            i, f, o, g = gates[t].chunk(4, dim=1)
            grad_i, grad_f, grad_o, grad_g = grad_x[t].chunk(4, dim=1)
            hidden = hidden + grads[0][t]
            tanh = squashed[t]
            cell = torch.addcmul(cell, hidden * o, 1 - tanh * tanh)
            torch.mul(hidden * tanh, o - o * o, out=grad_o)
            torch.mul(cell * g, i - i * i, out=grad_i)
            torch.mul(cell * before[1, t], f - f * f, out=grad_f)
            torch.mul(cell * i, 1 - g * g, out=grad_g)
            hidden, cell = torch.mm(grad_x[t], weight) * keep[t], cell * f * keep[t]
        flat = grad_x.flatten(0, 1)
        return grad_x, flat.t() @ before[0].flatten(0, 1), None, None, None


def lstm_scan(x: Tensor, weight: Tensor, hidden: Tensor, cell: Tensor, keep: Tensor) -> Tensor:
    """Apply LSTMScan."""
    return cast(Tensor, LSTMScan.apply(x, weight, hidden, cell, keep))  # type: ignore[no-untyped-call]


def linear_scan(a: Tensor, b: Tensor, state: Tensor) -> Tensor:
    """Apply LinearScan."""
    return cast(Tensor, LinearScan.apply(a, b, state))  # type: ignore[no-untyped-call]
