"""The minGRU network (Feng et al. 2024). Letters as in recurrent.py."""

from typing import cast

from torch import Tensor, nn

from pufferlib.ops.recurrent import CellKernels, mingru_scan
from pufferlib.policies.recurrent import Layer, Recurrent, StepBuffers
from pufferlib.runtime.graph import Executor


class MinGRU(Recurrent):
    """minGRU layers: h = (1 - z) * h + z * c, with the output x + h.

    The gate z and the candidate c depend only on the input x, so that one product computes them for
    all steps. Because of the residual connection, h does not have to carry x itself.
    """

    gates = 2
    states = 1

    def step(
        self, layer: Layer, x: Tensor, state: Tensor, buffers: StepBuffers, executor: Executor
    ) -> Tensor:
        """Run one step of one layer; the kernel treats each agent as a row of one step."""
        (weight, bias), cells = layer, CellKernels(state)
        executor.product(x, weight.t(), buffers.gates)
        tensors = {"x": x, "gates": buffers.gates, "hidden": buffers.state, "out": buffers.out}
        arrays = {name: cells.view(tensor.unsqueeze(1)) for name, tensor in tensors.items()}
        args = {"bias": cells.view(bias), "state": cells.view(state), **arrays}
        executor.call(cells.functions.mingru, **args)
        return buffers.out

    def scan(self, layer: int, x: Tensor, state: Tensor, keep: Tensor) -> Tensor:
        """Run all steps of one layer."""
        linear = cast(nn.Linear, self.input[layer])
        return mingru_scan(x, linear.weight, linear.bias, state, keep)
