"""Networks with memory: LSTM (Hochreiter, Schmidhuber 1997) and minGRU (Feng et al. 2024).

The first hidden layer is feed-forward, the others are recurrent (cells.py has their arithmetic).
`unroll` does in one go what `forward` does step by step; where a life begins, the state before it
is multiplied by 0, which is the initial state. Letters as in policy.py; L recurrent layers.
"""

from collections.abc import Callable
from typing import NamedTuple, cast

import torch
from torch import Tensor, nn

from pufferlib.config.options import PolicyOptions
from pufferlib.ops.output import Output
from pufferlib.ops.recurrent import CellKernels, lstm_scan, mingru_scan
from pufferlib.policies.base import Policy, PolicySpec
from pufferlib.policies.encoders import input_layer
from pufferlib.policies.layers import ACTIVATIONS, Heads, orthogonal
from pufferlib.runtime.graph import EAGER, Executor

ACT_CHUNK_AGENTS = 512  # agents whose gates stay in a core's cache between product and pass


Layer = tuple[Tensor, Tensor]  # weight and bias of a recurrent layer


class StepBuffers(NamedTuple):
    """Memory for a step of N agents."""

    gates: Tensor  # (N, gates * D) products
    out: Tensor  # (N, D) what the last layer says, if that is not its state; may be the first's x
    # Of a tensor (N, D) what products take: the same, or rounded, until the next is asked for. What
    # the first layer is given is that already.
    to_gemm_dtype: Callable[[Tensor], Tensor] = lambda tensor: tensor


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
        self, layer: Layer, x: Tensor, state: Tensor, new: Tensor, room: StepBuffers, do: Executor
    ) -> Tensor:
        """Input x (N, D), state (N, states * D) -> output (N, D), in `room.out` if it is no state;
        the new state goes into `new`, which may be the state."""
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
        gates = x.new_empty((min(ACT_CHUNK_AGENTS, len(x)), self.gates * self.size))
        outputs = []
        chunks = zip(
            *(torch.split(part, ACT_CHUNK_AGENTS) for part in (x, given, new)), strict=True
        )
        for some, before, after in chunks:
            room = StepBuffers(gates[: len(some)], some)
            outputs.append(self.step_layers(self.layers(), some, before, after, room, EAGER))
        return self.heads(torch.cat(outputs)), new

    def layers(self) -> list[Layer]:
        """Return the recurrent layers."""
        layers = (cast(nn.Linear, layer) for layer in self.input)
        return [(layer.weight.detach(), layer.bias.detach()) for layer in layers]

    def step_layers(
        self,
        layers: list[Layer],
        x: Tensor,
        state: Tensor,
        new: Tensor,
        room: StepBuffers,
        do: Executor,
    ) -> Tensor:
        """Step all layers, of at most ACT_CHUNK_AGENTS agents: x (N, D), which is not kept, state (N, S) ->
        output (N, D); the new state goes to `new`."""
        states = zip(*(torch.split(s, self.layer_state, dim=1) for s in (state, new)), strict=True)
        for i, (before, after) in enumerate(states):
            out = room.out if i == len(layers) - 1 else x
            x = self.step(layers[i], x, before, after, room._replace(out=out), do)
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
        return self.heads.split(out)


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
        self, layer: Layer, x: Tensor, state: Tensor, new: Tensor, room: StepBuffers, do: Executor
    ) -> Tensor:
        """A product of the input, one of the state."""
        (weight, bias), gates, passes = layer, room.gates, CellKernels(state)
        of_x, of_hidden = torch.split(weight, self.size, dim=1)
        (hidden, cell), (next_hidden, next_cell) = state.chunk(2, 1), new.chunk(2, 1)
        do.product(room.to_gemm_dtype(x), of_x.t(), gates)
        do.product(room.to_gemm_dtype(hidden), of_hidden.t(), gates, add=True)
        given = {"gates": gates, "cell": cell, "out": next_hidden, "next_cell": next_cell}
        arrays = {name: passes.show(tensor) for name, tensor in given.items()}
        do.call(passes.of.lstm, bias=passes.show(bias), **arrays)
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
        self, layer: Layer, x: Tensor, state: Tensor, new: Tensor, room: StepBuffers, do: Executor
    ) -> Tensor:
        """A row of one step for each agent."""
        (weight, bias), passes = layer, CellKernels(state)
        do.product(x, weight.t(), room.gates)
        given = {"x": x, "gates": room.gates, "hidden": new, "out": room.out}
        arrays = {name: passes.show(tensor.unsqueeze(1)) for name, tensor in given.items()}
        do.call(passes.of.mingru, bias=passes.show(bias), state=passes.show(state), **arrays)
        return room.out

    def scan(self, layer: int, x: Tensor, state: Tensor, keep: Tensor) -> Tensor:
        """All steps of one layer."""
        weights = cast(nn.Linear, self.input[layer])
        return mingru_scan(x, weights.weight, weights.bias, state, keep)
