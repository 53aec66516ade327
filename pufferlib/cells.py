"""Recurrent cells over whole rows, each as one autograd function: products by torch, gates between
them by a native pass on the CPU.

`lstm`, `lstm_back`, `mingru` and `mingru_back` say in torch what the native passes of the same
names do; on a GPU and in other float types they are what runs. Letters: B rows, H horizon, D units.
Gradients go to inputs and weights; a row's first state is given and gets none.
"""

from collections.abc import Iterable
from typing import Any, cast

import numpy.typing as npt
import torch
from torch import Tensor

from pufferlib import _kernels

Array = npt.NDArray[Any]
CHUNK = 512  # steps whose gates stay in a core's cache between product and pass


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


def lstm_back(
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


def mingru_back(
    *,
    gates: Tensor,  # (B, H, 2 * D) z and c
    keep: Tensor,  # (B, H)
    state: Tensor,  # (B, D)
    hidden: Tensor,  # (B, H, D)
    grad_out: Tensor,  # (B, H, D)
    grad_state: Tensor,  # (B, D) 0; out
    grad_gates: Tensor,  # (B, H, 2 * D) out, of the products
    grad_bias: Tensor,  # (2 * D,) added to
) -> None:
    """Go back through all steps, from the last to the first."""
    z, c = gates.chunk(2, 2)
    for t in range(hidden.shape[1] - 1, -1, -1):
        kept = keep[:, t, None]
        seen = (hidden[:, t - 1] if t else state) * kept
        dh = grad_out[:, t] + grad_state
        grad_z = dh * (c[:, t] - seen) * (z[:, t] - z[:, t] * z[:, t])
        torch.cat((grad_z, dh * z[:, t]), 1, out=grad_gates[:, t])
        torch.mul(dh, (1 - z[:, t]) * kept, out=grad_state)
    grad_bias += grad_gates.sum((0, 1))


class Passes:
    """The passes for tensors like this one, native or torch's, and how to show tensors to them."""

    def __init__(self, like: Tensor) -> None:
        self.native = like.device.type == "cpu" and like.dtype == torch.float32
        self.of: Any = _kernels if self.native else _TORCH

    def show(self, tensor: Tensor) -> Any:
        """Return the tensor, or a view of it as an array."""
        return tensor.detach().numpy() if self.native else tensor.detach()

    def steps(self, *tensors: Tensor) -> list[tuple[Any, ...]]:
        """Return what the tensors (H, ...) hold for each step, from the first to the last."""
        return list(zip(*cast("list[Iterable[Any]]", [self.show(x) for x in tensors]), strict=True))


class _TORCH:
    lstm, lstm_back = staticmethod(lstm), staticmethod(lstm_back)
    mingru, mingru_back = staticmethod(mingru), staticmethod(mingru_back)


class LSTMScan(torch.autograd.Function):
    """Hidden states (H, B, D) of x (H, B, D), weights of input and state (4 * D, D), bias (4 * D,),
    hidden and cell (B, D) before the first step, keep (H, B): 0 where a life begins, else 1.

    Input and state lie side by side, so that a step is one product; a step's gates are still in
    the cache when the pass and, on the way back, the next products read them.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, *given: Tensor) -> Tensor:
        """Save each step's gates after their functions and what it saw."""
        weight, recurrent, bias, hidden, cell, keep = given
        horizon, rows, size = x.shape
        both = torch.cat((weight, recurrent), 1)  # (4 * D, 2 * D)
        seen = x.new_empty((horizon + 1, rows, 2 * size))  # input, hidden state
        cells = x.new_empty((horizon + 1, rows, size))
        gates, out = x.new_empty((horizon, rows, 4 * size)), x.new_empty((horizon, rows, size))
        seen[:-1, :, :size] = x
        torch.mul(hidden, keep[0].unsqueeze(1), out=seen[0, :, size:])
        torch.mul(cell, keep[0].unsqueeze(1), out=cells[0])
        passes, turned = Passes(x), both.t()
        shown = passes.steps(gates, cells[:-1], out, cells[1:], seen[1:, :, size:])
        keeps, bias = passes.show(keep), passes.show(bias)
        for t, (g, c, o, next_cell, next_hidden) in enumerate(shown):
            torch.mm(seen[t], turned, out=gates[t])
            passes.of.lstm(
                gates=g,
                bias=bias,
                cell=c,
                keep=keeps[t + 1] if t + 1 < horizon else None,
                out=o,
                next_cell=next_cell,
                next_hidden=next_hidden,
            )
        ctx.save_for_backward(both, keep, seen, cells, gates)
        return out

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        """Go back step by step; the weights' gradients add up in one matrix."""
        both, keep, seen, cells, gates = ctx.saved_tensors
        horizon, size = len(gates), both.shape[1] // 2
        grad_seen = torch.empty_like(seen)
        grad_seen[-1].zero_()
        grad_gates, grad_cell = torch.empty_like(gates[0]), torch.zeros_like(cells[0])
        grad_both, grad_bias = torch.zeros_like(both), both.new_zeros(4 * size)
        passes, grad_out = Passes(both), grads[0].contiguous()
        shown = passes.steps(gates, cells[:-1], grad_out, grad_seen[1:, :, size:])
        keeps, turned = passes.show(keep), grad_gates.t()
        given = {"grad_cell": grad_cell, "grad_gates": grad_gates, "grad_bias": grad_bias}
        fixed = {name: passes.show(tensor) for name, tensor in given.items()}
        for t in range(horizon - 1, -1, -1):
            g, c, o, grad_hidden = shown[t]
            passes.of.lstm_back(
                gates=g,
                cell=c,
                keep=keeps[t + 1] if t + 1 < horizon else None,
                grad_out=o,
                grad_hidden=grad_hidden,
                **fixed,
            )
            torch.mm(grad_gates, both, out=grad_seen[t])
            torch.addmm(grad_both, turned, seen[t], out=grad_both)
        grad_weight, grad_recurrent = torch.split(grad_both, size, dim=1)
        return grad_seen[:-1, :, :size], grad_weight, grad_recurrent, grad_bias, None, None, None


class MinGRUScan(torch.autograd.Function):
    """Outputs (B, H, D) of x (B, H, D), weight (2 * D, D), bias (2 * D,), state (B, D) before the
    first step, keep (B, H): 0 where a life begins, else 1.

    Some rows at a time, whose gates are still in the cache when the pass and the next products
    read them.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, *given: Tensor) -> Tensor:
        """Save gates and candidates, and the hidden states."""
        weight, bias, state, keep = given
        rows, horizon, size = x.shape
        x = x.contiguous()
        gates = x.new_empty((rows, horizon, 2 * size))
        hidden, out = torch.empty_like(x), torch.empty_like(x)
        passes, turned = Passes(x), weight.t()
        for part in _parts(rows, horizon):
            torch.mm(x[part].flatten(0, 1), turned, out=gates[part].view(-1, 2 * size))
            named = {"gates": gates, "keep": keep, "x": x, "hidden": hidden, "out": out}
            passes.of.mingru(
                bias=passes.show(bias),
                state=passes.show(state[part]),
                **{name: passes.show(tensor[part]) for name, tensor in named.items()},
            )
        ctx.save_for_backward(weight, state, keep, x, gates, hidden)
        return out

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        """Go back through the same rows at a time."""
        weight, state, keep, x, gates, hidden = ctx.saved_tensors
        rows, horizon, size = x.shape
        grad_out = grads[0].contiguous()
        grad_x, grad_weight = torch.empty_like(x), torch.zeros_like(weight)
        grad_bias = weight.new_zeros(2 * size)
        passes = Passes(weight)
        for part in _parts(rows, horizon):
            grad_gates = torch.empty_like(gates[part])
            given = {"gates": gates, "keep": keep, "hidden": hidden, "grad_out": grad_out}
            passes.of.mingru_back(
                state=passes.show(state[part]),
                grad_state=passes.show(torch.zeros_like(state[part])),
                grad_gates=passes.show(grad_gates),
                grad_bias=passes.show(grad_bias),
                **{name: passes.show(tensor[part]) for name, tensor in given.items()},
            )
            flat = grad_gates.view(-1, 2 * size)
            torch.addmm(grad_out[part].flatten(0, 1), flat, weight, out=grad_x[part].view(-1, size))
            torch.addmm(grad_weight, flat.t(), x[part].flatten(0, 1), out=grad_weight)
        return grad_x, grad_weight, grad_bias, None, None


def _parts(rows: int, horizon: int) -> list[slice]:
    """Split rows into parts of about CHUNK steps."""
    size = max(1, CHUNK // horizon)
    return [slice(begin, begin + size) for begin in range(0, rows, size)]


def lstm_scan(x: Tensor, *given: Tensor) -> Tensor:
    """Apply LSTMScan."""
    return cast(Tensor, LSTMScan.apply(x, *given))  # type: ignore[no-untyped-call]


def mingru_scan(x: Tensor, *given: Tensor) -> Tensor:
    """Apply MinGRUScan."""
    return cast(Tensor, MinGRUScan.apply(x, *given))  # type: ignore[no-untyped-call]
