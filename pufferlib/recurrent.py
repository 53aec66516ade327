"""Networks with memory: LSTM (Hochreiter, Schmidhuber 1997) and minGRU (Feng et al. 2024).

The first hidden layer is feed-forward, the others are recurrent (cells.py has their arithmetic).
`unroll` does in one go what `forward` does step by step; where a life begins, the state before it
is multiplied by 0, which is the initial state. Letters as in policy.py; L recurrent layers.
"""

from typing import cast

import torch
from torch import Tensor, nn

from pufferlib.cells import CHUNK, Passes, lstm_scan, mingru_scan
from pufferlib.encode import input_layer
from pufferlib.options import PolicyOptions
from pufferlib.policy import ACTIVATIONS, Heads, Output, Policy, PolicySpec, orthogonal


class Recurrent(Policy):
    """Input layer, recurrent layers, heads. A subclass defines one layer's `step` and `scan`.

    A state (N, S) is the layers' states one after the other, S = L * `layer_state`.
    """

    gates = 0  # outputs of a layer's input matrix, in units of D
    states = 0  # entries of a layer's state, in units of D
    time_first = False  # whether `scan` wants steps before rows

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

    def step(self, layer: int, x: Tensor, state: Tensor, new: Tensor) -> Tensor:
        """Input x (N, D), state (N, states * D) -> output (N, D); the new state goes into `new`."""
        raise NotImplementedError

    def scan(self, layer: int, x: Tensor, state: Tensor, keep: Tensor) -> Tensor:
        """Input x (B, H, D), state (B, states * D) before the first, keep (B, H): 0 where a life
        begins -> (B, H, D). With `time_first` x, keep and the result have H before B."""
        raise NotImplementedError

    @torch.no_grad()
    def forward(self, obs: Tensor, state: Tensor | None) -> tuple[Output, Tensor]:
        """Obs (N, *O), state (N, S) -> output of N, new state (N, S), both without gradient."""
        x = self.activation(self.first(obs, self.norm))
        state = cast(Tensor, state)
        new = torch.empty_like(state)
        layers = zip(*(torch.split(s, self.layer_state, dim=1) for s in (state, new)), strict=True)
        for layer, (before, after) in enumerate(layers):
            x = self.step(layer, x, before, after)
        return self.heads(x), new

    def unroll(self, obs: Tensor, state: Tensor | None, reset: Tensor) -> Output:
        """Obs (B, H, *O), state (B, S) before the first, reset (B, H) bool -> output of B * H."""
        x = self.activation(self.first(obs.flatten(0, 1), self.norm)).unflatten(0, reset.shape)
        keep = (~reset).to(x.dtype)
        if self.time_first:
            x, keep = x.transpose(0, 1), keep.t().contiguous()
        for layer, before in enumerate(torch.split(cast(Tensor, state), self.layer_state, dim=1)):
            x = self.scan(layer, x, before, keep)
        out = self.heads.out(x.flatten(0, 1))
        if self.time_first:
            out = out.unflatten(0, x.shape[:2]).transpose(0, 1).flatten(0, 1)
        return self.heads.said(out)


class LSTM(Recurrent):
    """Gates in the order input, forget, output, cell; a state is hidden, then cell."""

    gates = 4
    states = 2
    time_first = True

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

    def step(self, layer: int, x: Tensor, state: Tensor, new: Tensor) -> Tensor:
        """Some agents at a time, whose gates stay in the cache between products and pass."""
        weights, recurrent = cast(nn.Linear, self.input[layer]), self.recurrent[layer].t()
        passes, bias = Passes(x), weights.bias
        gates = x.new_empty((min(CHUNK, len(x)), 4 * x.shape[1]))
        for begin in range(0, len(x), CHUNK):
            part = slice(begin, begin + CHUNK)
            hidden, cell = state[part].chunk(2, 1)
            next_hidden, next_cell = new[part].chunk(2, 1)
            gate = gates[: len(cell)]
            torch.mm(x[part], weights.weight.t(), out=gate)
            torch.addmm(gate, hidden, recurrent, out=gate)
            given = {"gates": gate, "bias": bias, "cell": cell}
            given |= {"out": next_hidden, "next_cell": next_cell}
            passes.of.lstm(**{name: passes.show(tensor) for name, tensor in given.items()})
        return new[:, : x.shape[1]]

    def scan(self, layer: int, x: Tensor, state: Tensor, keep: Tensor) -> Tensor:
        """All steps of one layer."""
        weights, (hidden, cell) = cast(nn.Linear, self.input[layer]), state.chunk(2, 1)
        return lstm_scan(x, weights.weight, self.recurrent[layer], weights.bias, hidden, cell, keep)


class MinGRU(Recurrent):
    """h = (1 - z) * h + z * c; gate z and candidate c depend on the input alone, so all steps'
    products are done at once. A layer gives h + its input: h is there to remember, not to see."""

    gates = 2
    states = 1

    def step(self, layer: int, x: Tensor, state: Tensor, new: Tensor) -> Tensor:
        """A row of one step for each agent."""
        weights, out = cast(nn.Linear, self.input[layer]), torch.empty_like(x)
        passes, bias = Passes(x), weights.bias
        given = {"x": x, "gates": x @ weights.weight.t(), "hidden": torch.empty_like(x), "out": out}
        passes.of.mingru(
            bias=passes.show(bias),
            state=passes.show(state),
            **{name: passes.show(tensor.unsqueeze(1)) for name, tensor in given.items()},
        )
        new.copy_(given["hidden"])
        return out

    def scan(self, layer: int, x: Tensor, state: Tensor, keep: Tensor) -> Tensor:
        """All steps of one layer."""
        weights = cast(nn.Linear, self.input[layer])
        return mingru_scan(x, weights.weight, weights.bias, state, keep)
