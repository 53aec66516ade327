"""The fused LSTM, which runs step by step; each product covers one step of all rows of a chunk.

Letters as in network.py.
"""

import torch
from torch import Tensor

from pufferlib.fused.recurrent import FusedRecurrent
from pufferlib.kernels import _kernels
from pufferlib.ops.recurrent import LSTMSteps
from pufferlib.runtime import allocator
from pufferlib.runtime.graph import Graph
from pufferlib.runtime.tensors import as_array


class LSTMWorkspace:
    """The workspace of B rows of H steps in time-major order: the rows of a step are adjacent."""

    def __init__(self, network: "FusedLSTM", obs: Tensor, state: Tensor, reset: Tensor) -> None:
        (rows, horizon), new, empty_gemm = reset.shape, allocator.zeros, network.empty_gemm
        size, num_outputs = network.policy.size, network.num_outputs
        self.network, self.obs, self.state, self.reset = network, obs, state, reset
        # Layers are created from the top down, because each writes into the input of the one above.
        self.keep, self.hidden = new((horizon, rows)), new((horizon, rows, size))
        self.layers: list[LSTMSteps] = []
        out = self.hidden
        for weight, bias in reversed(network.weights):
            self.layers.insert(0, LSTMSteps(weight, bias, self.keep, out, new, empty_gemm))
            out = self.layers[0].x[:-1]
        self.xs = out.unbind()  # output of the first layer, by step
        self.first_xs: tuple[Tensor, ...] = ()  # its input, by step, after `forward`
        # The heads' products are in time-major order; the loss reads and writes rows.
        self.outputs, self.grad = new((2, horizon, rows, num_outputs))
        self.by_row = new((2, rows, horizon, num_outputs))
        outputs, grad = (part.flatten(0, 1) for part in self.by_row)
        self.output, self.gradient = network.split_heads(outputs), network.split_head_grads(grad)

    def forward(self, graph: Graph) -> None:
        """Record the forward pass."""
        network, keep = self.network, self.keep
        self.first_xs = network.prepare_rows(graph, self.obs).unbind(1)
        # The state before step 0 is the given one, or 0 if a life begins at step 0.
        reset = self.reset.view(torch.uint8).numpy()
        graph.call(_kernels.not_reset, reset=reset, out=keep.numpy(), steps_first=True)
        for steps, state in zip(self.layers, network.layer_states(self.state), strict=True):
            before = steps.hidden[0], steps.cell[0]
            for part, out in zip(state.chunk(2, 1), before, strict=True):
                arrays = {"state": part.numpy(), "keep": keep[0].numpy(), "out": as_array(out)}
                graph.call(_kernels.mask_state, **arrays)
        # All layers of a step run before the next step, while the step's data is in the cache.
        for t, (first_x, x) in enumerate(zip(self.first_xs, self.xs, strict=True)):
            network.first.forward(graph, first_x, x, network.first_product(self.layers[0].gates[t]))
            for steps in self.layers:
                steps.step(t, graph)
        network.last.forward(graph, self.hidden.flatten(0, 1), self.outputs.flatten(0, 1))
        graph.call(_kernels.transpose_rows, rows=self.outputs.numpy(), out=self.by_row[0].numpy())

    def backward(self, graph: Graph) -> None:
        """Record the backward pass, from the last step to the first."""
        network, grad_hidden = self.network, torch.empty_like(self.hidden[0])
        # The gradient of the heads' weights is computed from all steps at once.
        graph.call(_kernels.transpose_rows, rows=self.by_row[1].numpy(), out=self.grad.numpy())
        outputs, grad = self.outputs.flatten(0, 1), self.grad.flatten(0, 1)
        network.last.backward(graph, self.hidden.flatten(0, 1), outputs, grad, None)
        # The state after the last step has gradient 0.
        for steps in self.layers:
            for part in (steps.grad_hidden, steps.grad_cell):
                graph.call(_kernels.fill, out=part.numpy())
        # In each step the gradient goes from the heads to the top layer, then from each layer to
        # the one below.
        out_grads = [*(steps.grad_x for steps in self.layers[1:]), grad_hidden]
        top_down = list(zip(self.layers, out_grads, network.weight_grads, strict=True))[::-1]
        for t in range(len(self.xs) - 1, -1, -1):
            graph.product(self.grad[t], network.last.effective[0], grad_hidden)
            for steps, out_grad, weight_grads in top_down:
                steps.backward(t, out_grad.numpy(), *weight_grads, graph)
            grad_x = self.layers[0].grad_x
            network.first.backward(graph, self.first_xs[t], self.xs[t], grad_x, None)


class FusedLSTM(FusedRecurrent):
    """An LSTM. See `make_fused` for the arguments."""

    workspace = LSTMWorkspace
