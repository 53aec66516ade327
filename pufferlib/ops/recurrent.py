"""Recurrent layers over whole rows: forward and backward, without autograd and for autograd.

LSTMSteps and MinGRUSteps own the memory of one layer and run its products and cell arithmetic, or
record them into a graph. `lstm_scan` and `mingru_scan` wrap them for autograd. Inputs and weights
get gradients; the state before the first step gets none.

Letters: B rows, H horizon, D units.
"""

from collections.abc import Callable
from typing import Any, cast

import torch
from torch import Tensor

from pufferlib.kernels import _kernels
from pufferlib.ops import reference_cells
from pufferlib.runtime.graph import EAGER, Executor
from pufferlib.runtime.tensors import as_array

Allocate = Callable[[tuple[int, ...]], Tensor]  # shape -> tensor


class CellKernels:
    """The cell functions for tensors such as `like`: native on the CPU in float32, else torch's.

    `functions` has lstm, lstm_backward, mingru and mingru_backward (ops/reference_cells.py).
    """

    def __init__(self, like: Tensor) -> None:
        self.native = like.device.type == "cpu" and like.dtype == torch.float32
        self.functions: Any = _kernels if self.native else reference_cells

    def view(self, tensor: Tensor) -> Any:
        """Return the tensor in the form that the functions take, an array or a tensor."""
        return as_array(tensor) if self.native else tensor.detach()

    def by_step(self, tensor: Tensor) -> list[Any]:
        """Return views of a tensor (H, ...), one for each step."""
        return list(self.view(tensor))


class LSTMSteps:
    """H steps of B rows of one LSTM layer, in memory that is allocated once.

    A step's input and hidden state are adjacent, so that its gates are one product. The gates and
    their gradients are still in the cache when the cell arithmetic and the products read them.
    """

    def __init__(
        self,
        weight: Tensor,  # (4 * D, 2 * D) of the input, then of the hidden state
        bias: Tensor,  # (4 * D,) in the dtype of everything but the factors
        keep: Tensor,  # (H, B) 0 where a life begins with the step, else 1
        out: Tensor,  # (H, B, D) the output of the steps, in either dtype
        empty: Allocate | None = None,
        empty_gemm: Allocate | None = None,
    ) -> None:
        """Allocate memory: `empty` in the dtype of `bias`, `empty_gemm` in that of `weight`."""
        (horizon, rows, size), empty = out.shape, empty or bias.new_empty
        empty_gemm = empty_gemm or weight.new_empty
        self.weight, self.keep = weight, keep
        # A step reads its input and hidden state, which are one factor, and its cell state. It
        # writes the next hidden and cell state, and its gates for the backward pass.
        self.x_hidden = empty_gemm((horizon + 1, rows, 2 * size))
        self.x, self.hidden = torch.split(self.x_hidden, size, dim=2)  # (H + 1, B, D)
        self.cell, self.gates = empty((horizon + 1, rows, size)), empty((horizon, rows, 4 * size))
        # All steps of the backward pass use the same memory for a step's gradients.
        self.grad_x_hidden, self.grad_gates = empty((rows, 2 * size)), empty_gemm((rows, 4 * size))
        self.grad_x, self.grad_hidden = torch.split(self.grad_x_hidden, size, dim=1)
        self.grad_cell = empty((rows, size))
        # The arguments of all steps' calls are built once. A step multiplies its new state by
        # `keep` of the next step, so that the next product reads a state that is already reset.
        self._cells = cells = CellKernels(bias)
        self._products = list(zip(self.x_hidden[:-1].unbind(), self.gates.unbind(), strict=True))
        before = {"gates": cells.by_step(self.gates), "cell": cells.by_step(self.cell[:-1])}
        before["keep"] = [*cells.by_step(keep)[1:], None]
        after = {"out": cells.by_step(out), "next_cell": cells.by_step(self.cell[1:])}
        after["next_hidden"] = cells.by_step(self.hidden[1:])
        self._forward_args = _by_step({**before, **after}, bias=cells.view(bias))
        names = ("grad_hidden", "grad_cell", "grad_gates")
        self._backward_args = _by_step(before, **{n: cells.view(getattr(self, n)) for n in names})

    def set_state(self, hidden: Tensor, cell: Tensor) -> None:
        """Set the state (B, D) before the first step."""
        keep = self.keep[0].unsqueeze(1)
        torch.mul(hidden, keep, out=self.hidden[0])
        torch.mul(cell, keep, out=self.cell[0])

    def step(self, t: int, executor: Executor = EAGER) -> None:
        """Compute `out[t]` from `x[t]`."""
        x_hidden, gates = self._products[t]
        executor.product(x_hidden, self.weight.t(), gates)
        executor.call(self._cells.functions.lstm, **self._forward_args[t])

    def zero_state_grads(self) -> None:
        """Zero the gradient of the state after the last step; call it before `backward`."""
        self.grad_hidden.zero_()
        self.grad_cell.zero_()

    def backward(
        self, t: int, grad_out: Any, grad_weight: Tensor, grad_bias: Any, executor: Executor = EAGER
    ) -> None:
        """Compute `grad_x` (B, D) of step `t`; accumulate the gradients of weight and bias.

        `grad_out` (B, D) and `grad_bias` are views by `CellKernels.view`. Call it for each step,
        from the last to the first.
        """
        args = {"grad_out": grad_out, "grad_bias": grad_bias, **self._backward_args[t]}
        executor.call(self._cells.functions.lstm_backward, **args)
        executor.product(self.grad_gates, self.weight, self.grad_x_hidden)
        executor.product(self.grad_gates.t(), self._products[t][0], grad_weight, add=True)


def _by_step(arrays: dict[str, list[Any]], **fixed: Any) -> list[dict[str, Any]]:
    """Return each step's arguments by name; those in `fixed` are the same in all steps."""
    return [
        {**fixed, **dict(zip(arrays, step, strict=True))}
        for step in zip(*arrays.values(), strict=True)
    ]


class MinGRUSteps:
    """H steps of B rows of one minGRU layer, in memory that is allocated once."""

    def __init__(
        self,
        weight: Tensor,  # (2 * D, D)
        bias: Tensor,  # (2 * D,) in the dtype of everything but the factors
        keep: Tensor,  # (B, H) 0 where a life begins with the step, else 1
        x: Tensor,  # (B, H, D) in the dtype of `weight`
        out: Tensor,  # (B, H, D) in either dtype
        empty: Allocate | None = None,
        empty_gemm: Allocate | None = None,
        in_place: bool = False,
    ) -> None:
        """Allocate memory: `empty` in the dtype of `bias`, `empty_gemm` in that of `weight`.

        With `in_place` the gradient of the gates overwrites the gates if they have the same dtype;
        a forward pass then allows only one backward pass.
        """
        (rows, horizon, size), empty = x.shape, empty or bias.new_empty
        empty_gemm = empty_gemm or weight.new_empty
        gates = empty((rows, horizon, 2 * size))
        in_place = in_place and weight.dtype == bias.dtype
        grad_gates = gates if in_place else empty_gemm((rows, horizon, 2 * size))
        hidden, self.grad_state = empty((rows, horizon, size)), empty((rows, size))
        # Each product covers all steps: (B * H, ...).
        self.weight, self.x = weight, x.view(-1, size)
        self.gates, self.grad_gates = (part.view(-1, 2 * size) for part in (gates, grad_gates))
        self._cells = cells = CellKernels(bias)
        shared = {"gates": gates, "keep": keep, "hidden": hidden}
        arrays = {name: cells.view(tensor) for name, tensor in shared.items()}
        self._forward_args = {
            **arrays,
            "bias": cells.view(bias),
            "x": cells.view(x),
            "out": cells.view(out),
        }
        self._backward_args = {
            **arrays,
            "grad_gates": cells.view(grad_gates),
            "grad_state": cells.view(self.grad_state),
        }

    def forward(self, state: Tensor, executor: Executor = EAGER) -> None:
        """Compute `out` from `x` and the state (B, D) before the first step."""
        executor.product(self.x, self.weight.t(), self.gates)
        self._state = self._cells.view(state)
        executor.call(self._cells.functions.mingru, state=self._state, **self._forward_args)

    def zero_state_grads(self) -> None:
        """Zero the gradient of the state after the last step; call it before `backward`."""
        self.grad_state.zero_()

    def backward(
        self, grad: Tensor, grad_weight: Tensor, grad_bias: Any, executor: Executor = EAGER
    ) -> None:
        """Replace `grad` (B, H, D) of `out` by that of `x`; accumulate those of weight and bias.

        `grad_bias` is a view by `CellKernels.view`.
        """
        grad_x = grad.view(self.x.shape)
        args = {"state": self._state, "grad_out": self._cells.view(grad), "grad_bias": grad_bias}
        executor.call(self._cells.functions.mingru_backward, **args, **self._backward_args)
        executor.product(self.grad_gates.t(), self.x, grad_weight, add=True)
        executor.product(self.grad_gates, self.weight, grad_x, add=True)


class LSTMScan(torch.autograd.Function):
    """LSTMSteps as an autograd function; see `lstm_scan`."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, *args: Tensor) -> Tensor:
        """Compute all steps; keep their results for the backward pass."""
        weight, bias, hidden, cell, keep = (arg.detach() for arg in args)
        out = torch.empty_like(x, memory_format=torch.contiguous_format)
        ctx.steps = steps = LSTMSteps(weight, bias, keep, out.detach())
        ctx.save_for_backward(args[0])  # so that torch notices if the weight is changed in place
        steps.x[:-1] = x
        steps.set_state(hidden, cell)
        for t in range(len(x)):
            steps.step(t)
        return out

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        """Return the gradients of x, weight and bias."""
        (weight,), steps = ctx.saved_tensors, ctx.steps
        cells, grad_x = CellKernels(weight), torch.empty_like(grads[0])
        grad_weight, grad_bias = torch.zeros_like(weight), weight.new_zeros(len(weight))
        steps.zero_state_grads()
        for t, grad_out in reversed(list(enumerate(cells.by_step(grads[0].contiguous())))):
            steps.backward(t, grad_out, grad_weight, cells.view(grad_bias))
            grad_x[t] = steps.grad_x
        return grad_x, grad_weight, grad_bias, None, None, None


class MinGRUScan(torch.autograd.Function):
    """MinGRUSteps as an autograd function; see `mingru_scan`."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, *args: Tensor) -> Tensor:
        """Compute all steps; keep their results for the backward pass."""
        weight, bias, state, keep = (arg.detach() for arg in args)
        out = torch.empty_like(x, memory_format=torch.contiguous_format)
        ctx.steps = MinGRUSteps(weight, bias, keep, x.detach().contiguous(), out.detach())
        ctx.save_for_backward(x, args[0])  # so that torch notices if these are changed in place
        ctx.steps.forward(state)
        return out

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        """Return the gradients of x, weight and bias."""
        _, weight = ctx.saved_tensors
        grad = grads[0].clone(memory_format=torch.contiguous_format)
        grad_weight, grad_bias = torch.zeros_like(weight), weight.new_zeros(len(weight))
        ctx.steps.zero_state_grads()
        ctx.steps.backward(grad, grad_weight, CellKernels(weight).view(grad_bias))
        return grad, grad_weight, grad_bias, None, None


def lstm_scan(
    x: Tensor,  # (H, B, D)
    weight: Tensor,  # (4 * D, 2 * D) of the input, then of the hidden state
    bias: Tensor,  # (4 * D,)
    hidden: Tensor,  # (B, D) before the first step
    cell: Tensor,  # (B, D) before the first step
    keep: Tensor,  # (H, B) 0 where a life begins with the step, else 1
) -> Tensor:
    """Return the hidden states (H, B, D) of an LSTM layer; x, weight and bias get gradients."""
    out = LSTMScan.apply(x, weight, bias, hidden, cell, keep)  # type: ignore[no-untyped-call]
    return cast(Tensor, out)


def mingru_scan(
    x: Tensor,  # (B, H, D)
    weight: Tensor,  # (2 * D, D)
    bias: Tensor,  # (2 * D,)
    state: Tensor,  # (B, D) before the first step
    keep: Tensor,  # (B, H) 0 where a life begins with the step, else 1
) -> Tensor:
    """Return the outputs (B, H, D) of a minGRU layer; x, weight and bias get gradients."""
    out = MinGRUScan.apply(x, weight, bias, state, keep)  # type: ignore[no-untyped-call]
    return cast(Tensor, out)
