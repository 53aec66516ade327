"""Recurrent cells over whole rows, forward and back without autograd, and as functions for it:
products by torch, gates between them by a native pass on the CPU.

`lstm`, `lstm_backward`, `mingru` and `mingru_backward` say in torch what the native passes of the same
names do; on a GPU and in other float types they are what runs. Letters: B rows, H horizon, D units.
Gradients go to inputs and weights; a row's first state is given and gets none.
"""

from collections.abc import Callable
from typing import Any, cast

import numpy.typing as npt
import torch
from torch import Tensor

from pufferlib.kernels import _kernels
from pufferlib.runtime.graph import EAGER, Executor
from pufferlib.runtime.tensors import as_array

Array = npt.NDArray[Any]
New = Callable[[tuple[int, ...]], Tensor]


def lstm(
    *,
    gates: Tensor,  # (B, 4 * D) products without bias; out: after their functions
    bias: Tensor,  # (4 * D,) input, forget, output, cell
    cell: Tensor,  # (B, D)
    keep: Tensor | None = None,  # (B,) 0 where a life begins after this step, else 1; None: 1
    out: Tensor,  # (B, D) out, hidden state
    next_cell: Tensor,  # (B, D) out, times keep
    next_hidden: Tensor | None = None,  # (B, D) out, times keep
) -> None:
    """Do the arithmetic of one LSTM step (Hochreiter, Schmidhuber 1997)."""
    size = cell.shape[1]
    gates += bias
    gates[:, : 3 * size].sigmoid_()
    gates[:, 3 * size :].tanh_()
    i, f, o, g = gates.chunk(4, 1)
    torch.addcmul(f * cell, i, g, out=next_cell)
    torch.mul(o, next_cell.tanh(), out=out)
    if next_hidden is not None:
        next_hidden.copy_(out)
    if keep is not None:
        next_cell *= keep.unsqueeze(1)
        if next_hidden is not None:
            next_hidden *= keep.unsqueeze(1)


def lstm_backward(
    *,
    gates: Tensor,  # (B, 4 * D) after their functions
    cell: Tensor,  # (B, D)
    keep: Tensor | None = None,  # (B,)
    grad_out: Tensor,  # (B, D)
    grad_hidden: Tensor,  # (B, D) of next_hidden
    grad_cell: Tensor,  # (B, D) of next_cell; out: of cell
    grad_gates: Tensor,  # (B, 4 * D) out, of the products
    grad_bias: Tensor,  # (4 * D,) added to
) -> None:
    """Go back through one step; the gates' slopes follow from their values."""
    i, f, o, g = gates.chunk(4, 1)
    kept = 1 if keep is None else keep.unsqueeze(1)
    tanh = torch.addcmul(f * cell, i, g).tanh_()
    dh = grad_out + kept * grad_hidden
    dc = kept * grad_cell + dh * o * (1 - tanh * tanh)
    slopes = (dc * g * (i - i * i), dc * cell * (f - f * f), dh * tanh * (o - o * o))
    torch.cat((*slopes, dc * i * (1 - g * g)), 1, out=grad_gates)
    grad_bias += grad_gates.sum(0)
    torch.mul(dc, f, out=grad_cell)


def mingru(
    *,
    gates: Tensor,  # (B, H, 2 * D) products without bias; out: gate z and candidate c
    bias: Tensor,  # (2 * D,)
    keep: Tensor | None = None,  # (B, H) 0 where a life begins with this step, else 1; None: 1
    x: Tensor,  # (B, H, D)
    state: Tensor,  # (B, D) before the first step
    hidden: Tensor,  # (B, H, D) out, (1 - z) * before + z * c
    out: Tensor,  # (B, H, D) out, x + hidden
) -> None:
    """Do the arithmetic of all steps of minGRU (Feng et al. 2024): no logarithm, no division."""
    size = x.shape[2]
    gates += bias
    gates[:, :, :size].sigmoid_()
    z, c = gates.chunk(2, 2)
    kept = 1 - z if keep is None else (1 - z) * keep.unsqueeze(2)
    chosen, last = z * c, state
    for t in range(x.shape[1]):
        last = torch.addcmul(chosen[:, t], kept[:, t], last, out=hidden[:, t])
    torch.add(x, hidden, out=out)


def mingru_backward(
    *,
    gates: Tensor,  # (B, H, 2 * D) z and c
    keep: Tensor,  # (B, H)
    state: Tensor,  # (B, D)
    hidden: Tensor,  # (B, H, D)
    grad_out: Tensor,  # (B, H, D)
    grad_state: Tensor,  # (B, D) 0; out
    grad_gates: Tensor,  # (B, H, 2 * D) out, of the products; may be where the gates are
    grad_bias: Tensor,  # (2 * D,) added to
) -> None:
    """Go back through all steps, from the last to the first."""
    z, c = gates.chunk(2, 2)
    for t in range(hidden.shape[1] - 1, -1, -1):
        kept = keep[:, t, None]
        seen = (hidden[:, t - 1] if t else state) * kept
        dh = grad_out[:, t] + grad_state
        torch.mul(dh, (1 - z[:, t]) * kept, out=grad_state)
        grad_z = dh * (c[:, t] - seen) * (z[:, t] - z[:, t] * z[:, t])
        torch.cat((grad_z, dh * z[:, t]), 1, out=grad_gates[:, t])
    grad_bias += grad_gates.sum((0, 1))


class CellKernels:
    """The passes for tensors like this one, native or torch's, and how to show tensors to them."""

    def __init__(self, like: Tensor) -> None:
        self.native = like.device.type == "cpu" and like.dtype == torch.float32
        self.of: Any = _kernels if self.native else _TORCH

    def show(self, tensor: Tensor) -> Any:
        """Return the tensor, or a view of it as an array."""
        return as_array(tensor.detach()) if self.native else tensor.detach()

    def steps(self, tensor: Tensor) -> list[Any]:
        """Return what the tensor (H, ...) holds for each step, from the first to the last."""
        return list(self.show(tensor))


class _TORCH:
    lstm, lstm_backward = staticmethod(lstm), staticmethod(lstm_backward)
    mingru, mingru_backward = staticmethod(mingru), staticmethod(mingru_backward)


class LSTMSteps:
    """H steps of B rows of one LSTM layer, in memory that is made once.

    Input and state lie side by side, so that a step is one product; its gates are still in the
    cache when the pass and, on the way back, the next products read them. `weight` (4 * D, 2 * D)
    is of the input, then of the state; steps leave their results in `out` (H, B, D). Factors of
    products are as the weight is, and `out` may be; all else is as the bias.
    """

    def __init__(
        self,
        weight: Tensor,
        bias: Tensor,
        keep: Tensor,  # (H, B) 0 where a life begins, else 1
        out: Tensor,
        new: New | None = None,
        empty_gemm: New | None = None,
    ) -> None:
        """`new` makes memory of a shape, of the type and device of the bias, `empty_gemm` of the
        weight."""
        (horizon, rows, size), new = out.shape, new or bias.new_empty
        empty_gemm = empty_gemm or weight.new_empty
        self.weight, self.keep = weight, keep
        self.seen = empty_gemm((horizon + 1, rows, 2 * size))
        self.x, self.hidden = torch.split(self.seen, size, dim=2)  # (H + 1, B, D) before each step
        self.cell, self.gates = new((horizon + 1, rows, size)), new((horizon, rows, 4 * size))
        self.grad_seen, self.grad_gates = new((rows, 2 * size)), empty_gemm((rows, 4 * size))
        self.grad_x, self.grad_hidden = torch.split(self.grad_seen, size, dim=1)
        self.grad_cell = new((rows, size))
        self._passes = passes = CellKernels(bias)
        self._products = list(zip(self.seen[:-1].unbind(), self.gates.unbind(), strict=True))
        before = {"gates": passes.steps(self.gates), "cell": passes.steps(self.cell[:-1])}
        before["keep"] = [*passes.steps(keep)[1:], None]
        after = {"out": passes.steps(out), "next_cell": passes.steps(self.cell[1:])}
        after["next_hidden"] = passes.steps(self.hidden[1:])
        self._forward_args = _by_step({**before, **after}, bias=passes.show(bias))
        names = ("grad_hidden", "grad_cell", "grad_gates")
        self._backward_args = _by_step(before, **{n: passes.show(getattr(self, n)) for n in names})

    def begin(self, hidden: Tensor, cell: Tensor) -> None:
        """Take the state (B, D) before the first step."""
        keep = self.keep[0].unsqueeze(1)
        torch.mul(hidden, keep, out=self.hidden[0])
        torch.mul(cell, keep, out=self.cell[0])

    def step(self, t: int, do: Executor = EAGER) -> None:
        """Go from `x[t]` to `out[t]`."""
        seen, gates = self._products[t]
        do.product(seen, self.weight.t(), gates)
        do.call(self._passes.of.lstm, **self._forward_args[t])

    def zero_state_grads(self) -> None:
        """Nothing comes from behind the last step."""
        self.grad_hidden.zero_()
        self.grad_cell.zero_()

    def backward(
        self, t: int, grad_out: Any, grad_weight: Tensor, grad_bias: Any, do: Executor = EAGER
    ) -> None:
        """Go back through step `t`, from the last to the first, to `grad_x` (B, D).

        `grad_out` (B, D), and `grad_bias`, which like `grad_weight` is added to, as shown.
        """
        given = {"grad_out": grad_out, "grad_bias": grad_bias, **self._backward_args[t]}
        do.call(self._passes.of.lstm_backward, **given)
        do.product(self.grad_gates, self.weight, self.grad_seen)
        do.product(self.grad_gates.t(), self._products[t][0], grad_weight, add=True)


def _by_step(arrays: dict[str, list[Any]], **fixed: Any) -> list[dict[str, Any]]:
    """Return the arguments of each step's pass."""
    return [
        {**fixed, **dict(zip(arrays, step, strict=True))}
        for step in zip(*arrays.values(), strict=True)
    ]


class MinGRUSteps:
    """H steps of B rows of one minGRU layer, in memory that is made once: from `x` (B, H, D), where
    a life begins if `keep` (B, H) is 0, to `out` (B, H, D). `weight` (2 * D, D), `bias` (2 * D,).
    Factors of products, x among them, are as the weight is, and `out` may be; all else as the bias.
    """

    def __init__(
        self,
        weight: Tensor,
        bias: Tensor,
        keep: Tensor,
        x: Tensor,
        out: Tensor,
        new: New | None = None,
        empty_gemm: New | None = None,
        in_place: bool = False,
    ) -> None:
        """`new` makes memory of a shape, of the bias's type and device, `empty_gemm` of the weight's.
        `in_place`: gradients take the place of the gates, if both are of one type, and the way back can
        be gone once."""
        (rows, horizon, size), new = x.shape, new or bias.new_empty
        empty_gemm = empty_gemm or weight.new_empty
        gates = new((rows, horizon, 2 * size))
        in_place = in_place and weight.dtype == bias.dtype
        grad_gates = gates if in_place else empty_gemm((rows, horizon, 2 * size))
        hidden, self.grad_state = new((rows, horizon, size)), new((rows, size))
        self.weight, self.x = weight, x.view(-1, size)
        self.gates, self.grad_gates = (part.view(-1, 2 * size) for part in (gates, grad_gates))
        self._passes = passes = CellKernels(bias)
        show, given = passes.show, {"gates": gates, "keep": keep, "hidden": hidden}
        arrays = {name: show(tensor) for name, tensor in given.items()}
        self._forward_args = {**arrays, "bias": show(bias), "x": show(x), "out": show(out)}
        self._backward_args = {
            **arrays,
            "grad_gates": show(grad_gates),
            "grad_state": show(self.grad_state),
        }

    def forward(self, state: Tensor, do: Executor = EAGER) -> None:
        """Go through all steps from `state` (B, D) before the first."""
        do.product(self.x, self.weight.t(), self.gates)
        self._state = self._passes.show(state)
        do.call(self._passes.of.mingru, state=self._state, **self._forward_args)

    def zero_state_grads(self) -> None:
        """Nothing comes from behind the last step."""
        self.grad_state.zero_()

    def backward(
        self, grad: Tensor, grad_weight: Tensor, grad_bias: Any, do: Executor = EAGER
    ) -> None:
        """Go back through all steps: `grad` (B, H, D) is of `out`, then of `x`.

        `grad_weight` and `grad_bias`, as shown, are added to.
        """
        grad_x = grad.view(self.x.shape)
        given = {"state": self._state, "grad_out": self._passes.show(grad), "grad_bias": grad_bias}
        do.call(self._passes.of.mingru_backward, **given, **self._backward_args)
        do.product(self.grad_gates.t(), self.x, grad_weight, add=True)
        do.product(self.grad_gates, self.weight, grad_x, add=True)


class LSTMScan(torch.autograd.Function):
    """Hidden states (H, B, D) of x (H, B, D), weight (4 * D, 2 * D), bias (4 * D,), hidden and cell
    (B, D) before the first step, keep (H, B): LSTMSteps for autograd."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, *given: Tensor) -> Tensor:
        """Keep the steps."""
        weight, bias, hidden, cell, keep = (part.detach() for part in given)
        out = torch.empty_like(x, memory_format=torch.contiguous_format)
        ctx.steps = steps = LSTMSteps(weight, bias, keep, out.detach())
        ctx.save_for_backward(given[0])  # tells of a change in place
        steps.x[:-1] = x
        steps.begin(hidden, cell)
        for t in range(len(x)):
            steps.step(t)
        return out

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        """Go back step by step."""
        (weight,), steps = ctx.saved_tensors, ctx.steps
        passes, grad_x = CellKernels(weight), torch.empty_like(grads[0])
        grad_weight, grad_bias = torch.zeros_like(weight), weight.new_zeros(len(weight))
        steps.zero_state_grads()
        for t, grad_out in reversed(list(enumerate(passes.steps(grads[0].contiguous())))):
            steps.backward(t, grad_out, grad_weight, passes.show(grad_bias))
            grad_x[t] = steps.grad_x
        return grad_x, grad_weight, grad_bias, None, None, None


class MinGRUScan(torch.autograd.Function):
    """Outputs (B, H, D) of x (B, H, D), weight (2 * D, D), bias (2 * D,), state (B, D) before the
    first step, keep (B, H): MinGRUSteps for autograd."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, *given: Tensor) -> Tensor:
        """Keep the steps."""
        weight, bias, state, keep = (part.detach() for part in given)
        out = torch.empty_like(x, memory_format=torch.contiguous_format)
        ctx.steps = MinGRUSteps(weight, bias, keep, x.detach().contiguous(), out.detach())
        ctx.save_for_backward(x, given[0])  # tells of a change in place
        ctx.steps.forward(state)
        return out

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        """Go back through all steps at once."""
        _, weight = ctx.saved_tensors
        grad = grads[0].clone(memory_format=torch.contiguous_format)
        grad_weight, grad_bias = torch.zeros_like(weight), weight.new_zeros(len(weight))
        ctx.steps.zero_state_grads()
        ctx.steps.backward(grad, grad_weight, CellKernels(weight).show(grad_bias))
        return grad, grad_weight, grad_bias, None, None


def lstm_scan(x: Tensor, *given: Tensor) -> Tensor:
    """Apply LSTMScan."""
    return cast(Tensor, LSTMScan.apply(x, *given))  # type: ignore[no-untyped-call]


def mingru_scan(x: Tensor, *given: Tensor) -> Tensor:
    """Apply MinGRUScan."""
    return cast(Tensor, MinGRUScan.apply(x, *given))  # type: ignore[no-untyped-call]
