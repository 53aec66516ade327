"""The LSTM network (Hochreiter and Schmidhuber 1997). Letters as in recurrent.py."""

from typing import cast

import torch
from torch import Tensor, nn

from pufferlib.config.options import PolicyOptions
from pufferlib.ops.recurrent import CellKernels, lstm_scan
from pufferlib.policies.base import PolicySpec
from pufferlib.policies.recurrent import Layer, Recurrent, StepBuffers
from pufferlib.runtime.graph import Executor


class LSTM(Recurrent):
    """LSTM layers with the gates input, forget, output and cell, in this order.

    The columns of a layer's weight (4 * D, 2 * D) belong to its input, then to its hidden state.
    Its state is the hidden state (D entries), then the cell (D).
    """

    gates = 4
    states = 2
    time_first = True

    def __init__(self, spec: PolicySpec, options: PolicyOptions) -> None:
        super().__init__(spec, options)
        # Both matrices of a layer are one parameter. Each gate's matrix is orthogonal, and the bias
        # of the forget gate is 1, so that a new network forgets little (Jozefowicz et al. 2015).
        size = options.hidden_size
        for i, layer in enumerate(self.input):
            of_input = cast(nn.Linear, layer)
            blocks = [nn.init.orthogonal_(torch.empty(size, size)) for _ in range(4)]
            both = nn.utils.skip_init(nn.Linear, 2 * size, 4 * size)  # type: ignore[no-untyped-call]
            both.weight = nn.Parameter(torch.cat((of_input.weight.detach(), torch.cat(blocks)), 1))
            both.bias = of_input.bias
            nn.init.ones_(both.bias[size : 2 * size])
            self.input[i] = both

    def step(
        self, layer: Layer, x: Tensor, state: Tensor, buffers: StepBuffers, executor: Executor
    ) -> Tensor:
        """Run one step of one layer; the output is the new hidden state."""
        (weight, bias), gates, cells = layer, buffers.gates, CellKernels(state)
        of_x, of_hidden = torch.split(weight, self.size, dim=1)
        (hidden, cell), (next_hidden, next_cell) = state.chunk(2, 1), buffers.state.chunk(2, 1)
        executor.product(buffers.to_gemm_dtype(x), of_x.t(), gates)
        executor.product(buffers.to_gemm_dtype(hidden), of_hidden.t(), gates, add=True)
        tensors = {"gates": gates, "cell": cell, "out": next_hidden, "next_cell": next_cell}
        arrays = {name: cells.view(tensor) for name, tensor in tensors.items()}
        executor.call(cells.functions.lstm, bias=cells.view(bias), **arrays)
        return next_hidden

    def scan(self, layer: int, x: Tensor, state: Tensor, keep: Tensor) -> Tensor:
        """Run all steps of one layer."""
        both, (hidden, cell) = cast(nn.Linear, self.input[layer]), state.chunk(2, 1)
        return lstm_scan(x, both.weight, both.bias, hidden, cell, keep)
