"""The arithmetic of recurrent cells around their matrix products, in torch: the readable reference.

Each function computes what the native kernel of the same name does. It runs on a GPU, and in float
dtypes other than float32; the tests compare the kernels with it. The caller computes the matrix
products: a cell begins with the products of its gates, without bias, and a backward function ends
with the gradient of these products.

`keep` is 0 where a life begins and 1 elsewhere; the state before a step is multiplied by it.

Letters: B rows, H horizon, D units.
"""

import torch
from torch import Tensor


def lstm(
    *,
    gates: Tensor,  # (B, 4 * D) products without bias; out: i, f, o, g
    bias: Tensor,  # (4 * D,)
    cell: Tensor,  # (B, D) before this step
    keep: Tensor | None = None,  # (B,) of the next step; None: 1
    out: Tensor,  # (B, D) out: hidden state h
    next_cell: Tensor,  # (B, D) out: c', times keep
    next_hidden: Tensor | None = None,  # (B, D) out: h, times keep
) -> None:
    """Compute one step of an LSTM (Hochreiter and Schmidhuber 1997; forget gate: Gers et al. 2000).

    i, f, o = sigmoid(...), g = tanh(...): input, forget and output gate, candidate
    c' = f * c + i * g
    h = o * tanh(c')
    """
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
    gates: Tensor,  # (B, 4 * D) i, f, o, g
    cell: Tensor,  # (B, D) before this step
    keep: Tensor | None = None,  # (B,) of the next step; None: 1
    grad_out: Tensor,  # (B, D) of h, from the layer above
    grad_hidden: Tensor,  # (B, D) of next_hidden, from the next step
    grad_cell: Tensor,  # (B, D) of next_cell, from the next step; out: of cell
    grad_gates: Tensor,  # (B, 4 * D) out: of the products
    grad_bias: Tensor,  # (4 * D,) accumulated
) -> None:
    """Compute the gradients of one step of an LSTM.

    The slopes of the gates follow from their values: sigmoid' = s * (1 - s), tanh' = 1 - t^2.
    """
    i, f, o, g = gates.chunk(4, 1)
    kept = 1 if keep is None else keep.unsqueeze(1)
    tanh = torch.addcmul(f * cell, i, g).tanh_()  # tanh(c'), recomputed instead of stored
    dh = grad_out + kept * grad_hidden
    dc = kept * grad_cell + dh * o * (1 - tanh * tanh)  # of c'
    slopes = (dc * g * (i - i * i), dc * cell * (f - f * f), dh * tanh * (o - o * o))
    torch.cat((*slopes, dc * i * (1 - g * g)), 1, out=grad_gates)
    grad_bias += grad_gates.sum(0)
    torch.mul(dc, f, out=grad_cell)


def mingru(
    *,
    gates: Tensor,  # (B, H, 2 * D) products without bias; out: z, c
    bias: Tensor,  # (2 * D,)
    keep: Tensor | None = None,  # (B, H); None: 1
    x: Tensor,  # (B, H, D)
    state: Tensor,  # (B, D) h before the first step
    hidden: Tensor,  # (B, H, D) out: h
    out: Tensor,  # (B, H, D) out: x + h
) -> None:
    """Compute all steps of a minGRU (Feng et al. 2024, "Were RNNs all we needed?").

    z = sigmoid(...), c = ...: gate and candidate, of the input alone
    h_t = (1 - z_t) * h_{t-1} + z_t * c_t

    The steps are computed one after the other, not by the paper's parallel scan. The output x + h
    adds a residual connection to the paper's cell.
    """
    size = x.shape[2]
    gates += bias
    gates[:, :, :size].sigmoid_()
    z, c = gates.chunk(2, 2)
    kept = 1 - z if keep is None else (1 - z) * keep.unsqueeze(2)
    chosen, h = z * c, state
    for t in range(x.shape[1]):
        h = torch.addcmul(chosen[:, t], kept[:, t], h, out=hidden[:, t])
    torch.add(x, hidden, out=out)


def mingru_backward(
    *,
    gates: Tensor,  # (B, H, 2 * D) z, c
    keep: Tensor,  # (B, H)
    state: Tensor,  # (B, D) h before the first step
    hidden: Tensor,  # (B, H, D) h
    grad_out: Tensor,  # (B, H, D) of out, hence of h
    grad_state: Tensor,  # (B, D) of h after the last step, which is 0; out: of `state`
    grad_gates: Tensor,  # (B, H, 2 * D) out: of the products; may be the memory of the gates
    grad_bias: Tensor,  # (2 * D,) accumulated
) -> None:
    """Compute the gradients of all steps of a minGRU, from the last step to the first.

    The gradient of x through the residual connection is `grad_out` itself; the caller adds the part
    that comes through the gates.
    """
    z, c = gates.chunk(2, 2)
    for t in range(hidden.shape[1] - 1, -1, -1):
        kept = keep[:, t, None]
        before = (hidden[:, t - 1] if t else state) * kept
        dh = grad_out[:, t] + grad_state
        torch.mul(dh, (1 - z[:, t]) * kept, out=grad_state)
        grad_z = dh * (c[:, t] - before) * (z[:, t] - z[:, t] * z[:, t])
        torch.cat((grad_z, dh * z[:, t]), 1, out=grad_gates[:, t])
    grad_bias += grad_gates.sum((0, 1))
