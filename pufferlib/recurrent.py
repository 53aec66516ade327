"""Networks with memory: LSTM (Hochreiter, Schmidhuber 1997) and minGRU (Feng et al. 2024).

The first hidden layer is feed-forward, the others are recurrent (cells.py has their arithmetic).
`unroll` does in one go what `forward` does step by step; where a life begins, the state before it
is multiplied by 0, which is the initial state. Letters as in policy.py; L recurrent layers.
"""

import functools
from typing import cast

import torch
from torch import Tensor, nn

from pufferlib.cells import Passes, lstm_scan, mingru_scan
from pufferlib.encode import input_layer
from pufferlib.options import PolicyOptions
from pufferlib.policy import ACTIVATIONS, Heads, Output, Policy, PolicySpec, orthogonal
from pufferlib.tape import NOW, Doer

CHUNK = 512  # agents whose gates stay in a core's cache between product and pass


class Recurrent(Policy):
    """Input layer, recurrent layers, heads. A subclass defines one layer's `step` and `scan`.

    A state (N, S) is the layers' states one after the other, S = L * `layer_state`.
    """

    gates = 0  # outputs of a layer's matrix, in units of D
    states = 0  # entries of a layer's state, in units of D
    time_first = False  # whether `scan` wants steps before rows

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
        self.first = input_layer(spec, size)
        self.activation = options.activation
        self.input = nn.ModuleList(
            orthogonal(nn.Linear(size, self.gates * size), 1.0) for _ in range(self.num_layers)
        )
        self.heads = Heads(spec, size)

    def step(
        self, layer: int, x: Tensor, state: Tensor, new: Tensor, gates: Tensor, do: Doer
    ) -> Tensor:
        """Input x (N, D), state (N, states * D) -> output (N, D); the new state goes into `new`,
        which may be the state. `gates` (N, gates * D): memory for the products."""
        raise NotImplementedError

    def scan(self, layer: int, x: Tensor, state: Tensor, keep: Tensor) -> Tensor:
        """Input x (B, H, D), state (B, states * D) before the first, keep (B, H): 0 where a life
        begins -> (B, H, D). With `time_first` x, keep and the result have H before B."""
        raise NotImplementedError

    @torch.no_grad()
    def forward(self, obs: Tensor, state: Tensor | None) -> tuple[Output, Tensor]:
        """Obs (N, *O), state (N, S) -> output of N, new state (N, S), both without gradient."""
        x = ACTIVATIONS[self.activation]()(self.first(obs, self.norm))
        new, given = torch.empty_like(cast(Tensor, state)), cast(Tensor, state)
        gates = x.new_empty((min(CHUNK, len(x)), self.gates * self.size))
        chunks = zip(*(torch.split(part, CHUNK) for part in (x, given, new)), strict=True)
        said = [self.steps(x, before, after, gates[: len(x)]) for x, before, after in chunks]
        return self.heads(torch.cat(said)), new

    def steps(self, x: Tensor, state: Tensor, new: Tensor, gates: Tensor, do: Doer = NOW) -> Tensor:
        """Step all layers, of at most CHUNK agents: x (N, D), state (N, S) -> output (N, D); the
        new state goes to `new`."""
        layers = zip(*(torch.split(s, self.layer_state, dim=1) for s in (state, new)), strict=True)
        for layer, (before, after) in enumerate(layers):
            x = self.step(layer, x, before, after, gates, do)
        return x

    def unroll(self, obs: Tensor, state: Tensor | None, reset: Tensor) -> Output:
        """Obs (B, H, *O), state (B, S) before the first, reset (B, H) bool -> output of B * H."""
        x = ACTIVATIONS[self.activation]()(self.first(obs.flatten(0, 1), self.norm))
        x = x.unflatten(0, reset.shape)
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
    """Gates in the order input, forget, output, cell; a state is hidden, then cell. A layer's
    weight (4 * D, 2 * D) is of its input, then of its hidden state."""

    gates = 4
    states = 2
    time_first = True

    def __init__(self, spec: PolicySpec, options: PolicyOptions) -> None:
        super().__init__(spec, options)
        size = options.hidden_size
        for i, layer in enumerate(self.input):
            given = cast(nn.Linear, layer)
            blocks = [nn.init.orthogonal_(torch.empty(size, size)) for _ in range(4)]
            both = nn.utils.skip_init(nn.Linear, 2 * size, 4 * size)  # type: ignore[no-untyped-call]
            both.weight = nn.Parameter(torch.cat((given.weight.detach(), torch.cat(blocks)), 1))
            both.bias = given.bias
            nn.init.ones_(both.bias[size : 2 * size])  # forgets little (Jozefowicz et al. 2015)
            self.input[i] = both

    def step(
        self, layer: int, x: Tensor, state: Tensor, new: Tensor, gates: Tensor, do: Doer
    ) -> Tensor:
        """A product of the input, one of the state."""
        both, passes = cast(nn.Linear, self.input[layer]), Passes(x)
        weight, recurrent = torch.split(both.weight.detach(), self.size, dim=1)
        (hidden, cell), (next_hidden, next_cell) = state.chunk(2, 1), new.chunk(2, 1)
        do.product(x, weight.t(), gates)
        do.product(hidden, recurrent.t(), gates, add=True)
        given = {"gates": gates, "cell": cell, "out": next_hidden, "next_cell": next_cell}
        arrays = {name: passes.show(tensor) for name, tensor in given.items()}
        do.run(passes.of.lstm, bias=passes.show(both.bias), **arrays)
        return next_hidden

    def scan(self, layer: int, x: Tensor, state: Tensor, keep: Tensor) -> Tensor:
        """All steps of one layer."""
        both, (hidden, cell) = cast(nn.Linear, self.input[layer]), state.chunk(2, 1)
        return lstm_scan(x, both.weight, both.bias, hidden, cell, keep)


class MinGRU(Recurrent):
    """h = (1 - z) * h + z * c; gate z and candidate c depend on the input alone, so all steps'
    products are done at once. A layer gives h + its input: h is there to remember, not to see."""

    gates = 2
    states = 1

    def step(
        self, layer: int, x: Tensor, state: Tensor, new: Tensor, gates: Tensor, do: Doer
    ) -> Tensor:
        """A row of one step for each agent; the output takes the place of `x`."""
        weights, passes = cast(nn.Linear, self.input[layer]), Passes(x)
        hidden = new if new.is_contiguous() else torch.empty_like(x)
        do.product(x, weights.weight.detach().t(), gates)
        given = {"x": x, "gates": gates, "hidden": hidden, "out": x}
        arrays = {name: passes.show(tensor.unsqueeze(1)) for name, tensor in given.items()}
        bias, before = passes.show(weights.bias), passes.show(state)
        do.run(passes.of.mingru, bias=bias, state=before, **arrays)
        if hidden is not new:
            do.do(functools.partial(new.copy_, hidden))
        return x

    def scan(self, layer: int, x: Tensor, state: Tensor, keep: Tensor) -> Tensor:
        """All steps of one layer."""
        weights = cast(nn.Linear, self.input[layer])
        return mingru_scan(x, weights.weight, weights.bias, state, keep)
