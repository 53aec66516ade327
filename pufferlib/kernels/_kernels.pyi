"""Native passes of the trainer: what is small, scalar and per step. Plain C, no torch headers.

Letters: N agents that act now, A all agents, R rows, H horizon, S = R * H slots, B rows of a batch,
M slots of a minibatch, K discrete heads, C the sum of their choices, X continuous axes. Arrays are
C-contiguous numpy views (of a CPU tensor: `tensor.detach().numpy()`), float32 unless it says
otherwise; uint8 and bool are taken for each other. Columns of the pool come as (S, ...) or
(R, H, ...).

Every pass releases the GIL and runs on the calling thread. Wrong arrays: TypeError or ValueError
with the array's name, the expected dtype and shape and the given ones. An index outside its array:
IndexError, before anything is written. `pufferlib.ops.reference` has a readable version of each.
"""

from typing import Any

import numpy.typing as npt

Array = npt.NDArray[Any]
Operand = Array  # that a product takes: float32 or bfloat16, which numpy has as uint16

WIDTH: str  # of the vectors on this CPU: "AVX-512", "AVX2", "baseline"; all give the same bits

class Graph:
    """Recorded kernel calls with their arrays; a kernel given `graph` is recorded, not run."""

class LaunchPlan:
    """Streams, the graphs of each one after the other, made ready to be played again and again.

    By one thread at a time: where each graph is, is kept here.
    """

    def __init__(self, streams: list[list[Graph]]) -> None: ...

class ThreadPool:
    """Threads that play graphs, `size` with the calling one.

    Raise ValueError for none, RuntimeError if they cannot be started.
    """

    size: int
    def __init__(self, size: int) -> None: ...
    def run(self, work: LaunchPlan) -> list[float]:
        """Play streams side by side without the GIL.

        Returns the seconds that each of the first stream's graphs took; the caller plays that one.
        The first fault of the first stream that has one is raised when all are done; the rest of
        that stream is not played. Raise ValueError for a GraphInput to which nothing was given,
        RuntimeError after `close`.
        """

    def close(self) -> None:
        """End the threads; twice is fine. In a fork, where they did not follow, there are none."""

class GraphInput:
    """A matrix (N, F) of the dtype of `array` that graphs read and that changes."""

    shape: tuple[int, int]
    def __init__(self, rows: int, columns: int, array: Array) -> None: ...
    def bind(self, array: Array, first: int = 0, step: int = 0) -> None:
        """Be rows `first`, first + step, ... of this one from now on; with step 0 all of it.

        Only its rows are contiguous. Raise ValueError for another shape or dtype, and for what
        `rows` returned.
        """

    def rows(self, begin: int, end: int) -> GraphInput:
        """Return rows [begin, end) of whatever this is."""

def product(
    *,
    left: Operand | GraphInput,  # (N, F) of an array rows or columns are contiguous
    right: Operand | GraphInput,  # (F, D) of the same dtype
    out: Array,  # (N, D) float32 out, or added to; only the rows contiguous
    add: bool = False,
    graph: Graph,
) -> None:
    """Put a matrix product on a graph; a GraphInput is of float32.

    Raise RuntimeError where `use_blas` was told no function for this dtype.
    """

def use_blas(sgemm: int, bgemm: int, set_num_threads: int) -> None:
    """Multiply by these functions, at their addresses, from now on.

    `sgemm`: as BLAS defines it; `bgemm`: the same, but that factors are bfloat16. 0: there is none.
    `set_num_threads`: address of a function of one int that limits the threads of the products of
    the thread that calls it; a thread_pool's workers limit theirs to 1. 0: there is none.
    """

def sample(
    *,
    values: Array,  # (N,)
    logits: Array | None = None,  # (N, C); None: no discrete heads
    sizes: Array | None = None,  # (K,) int32 choices of each head
    pool_mask: Array | None = None,  # (S, C) uint8 by slot, 0: never chosen
    mean: Array | None = None,  # (N, X); None: no axes
    log_std: Array | None = None,  # (N, X) or (X,)
    low: Array | None = None,  # (X,) what the game gets is clipped to [low, high]
    high: Array | None = None,
    agents: Array | None = None,  # (N,) int32 who acts, each once; None: agents [first, first + N)
    first: int = 0,
    slot: Array,  # (A,) int64
    bootstrap_slot: Array,  # (A,) int64
    counts: Array,  # (A,) uint64 steps each agent has acted; the key of its random numbers; +1
    seed: int,  # taken modulo 2**64
    version: int = 0,
    moment: Array | None = None,  # (2,) int64 version and how many of the N act, when it is run
    greedy: bool = False,
    action: Array | None = None,  # out (A, K) int32 what the game reads
    axis: Array | None = None,  # out (A, X) clipped
    pool_action: Array | None = None,  # out (S, K) int32
    pool_axis: Array | None = None,  # out (S, X) the sample itself
    pool_logprob: Array,  # out (S,) sum over heads and axes
    pool_value: Array,  # out (S,)
    pool_next_value: Array,  # out (S,) at bootstrap_slot[a], which becomes -1
    pool_version: Array,  # out (S,) int32
    entropy: Array | None = None,  # out (N,)
    graph: Graph | None = None,
) -> None:
    """Choose an action for each of N agents and write it where the game and the pool want it.

    An agent's draw depends on (seed, agent, counts[agent]) and its own logits, mean and mask, on
    nothing else. Greedy: the likeliest choice, ties to the lowest, and the mean. NaN, +inf or only
    -inf logits, or a mask without a choice, give NaN as log-probability and the lowest legal choice
    (0 if there is none). Logits, mean and log_std need contiguous rows only, values not even that.
    """

def advantage(
    *,
    rows: Array,  # (B,) int32
    pool_reward: Array,  # (R, H) pool column, raw
    pool_value: Array,  # (R, H)
    pool_next_value: Array,  # (R, H) read where TRUNCATED and in the last slot of a segment
    pool_done: Array,  # (R, H) uint8
    pool_segment_start: Array,  # (R, H) bool
    ratio: Array | None = None,  # (B, H) exp(logp_prox - logp_stored); None: 1
    gamma: float,
    gae_lambda: float,
    rho_clip: float = 1.0,
    c_clip: float = 1.0,
    reward_scale: float = 1.0,
    reward_clip: float = 0.0,  # > 0: reward * scale is clipped to [-reward_clip, reward_clip]
    out_advantage: Array | None = None,  # (B, H)
    out_target: Array | None = None,  # (B, H) value + advantage
) -> None:
    """Compute advantages and value targets of whole rows.

    Without both `out` the advantage takes the place of these rows' rewards, the target that of
    next_value.
    """

def ppo_loss(
    *,
    values: Array,  # (M,)
    logits: Array | None = None,  # (M, C)
    sizes: Array | None = None,  # (K,) int32
    mask: Array | None = None,  # (M, C) uint8
    mean: Array | None = None,  # (M, X)
    log_std: Array | None = None,  # (M, X) or (X,)
    action: Array | None = None,  # (M, K) int32
    axis: Array | None = None,  # (M, X)
    logprob: Array,  # (M,) logp_prox
    old_value: Array,  # (M,)
    advantage: Array,  # (M,) used as (advantage - adv_mean) * adv_scale
    target: Array,  # (M,)
    adv_mean: float = 0.0,
    adv_scale: float = 1.0,
    clip_coef: float,
    vf_coef: float,
    vf_clip_coef: float = 0.0,  # <= 0: unclipped value loss
    ent_coef: float,
    count: int = 0,  # of slots that means are taken over: 0: M; more: these are a part of them
    grad_logits: Array | None = None,  # out, d(loss)/d(logits)
    grad_mean: Array | None = None,
    grad_log_std: Array | None = None,  # as log_std: (M, X), or (X,), which is added to
    grad_values: Array,
    numbers: Array | None = None,  # (4,) float64 adv_mean, adv_scale, ent_coef, count instead
    metrics: Array | None = None,  # (7,) float64 added to, instead of being returned
    graph: Graph | None = None,  # with metrics; the numbers are read when it is played
) -> tuple[float, float, float, float, float, float, float] | None:
    """Compute PPO's clipped loss and its gradient in one pass.

    loss = policy + vf_coef * value - ent_coef * entropy, each a mean over `count`:
    policy = max(-A r, -A clip(r, 1 - clip_coef, 1 + clip_coef)), r = pi_theta / pi_prox;
    value = max((v - target)**2, (near - target)**2) / 2, near = old + clip(v - old, -c, c),
    c = vf_clip_coef;
    entropy summed over all heads and axes.

    Returns (loss, policy, value, entropy, approximate KL (r - 1) - log r, share of
    |r - 1| > clip_coef, old approximate KL -log r), sums over M divided by `count`. Logits, mean
    and their gradients need contiguous rows only, values and theirs not even that.
    """

def gather(
    pool: Array, rows: Array, out: Array, scale: float = 1.0, graph: Graph | None = None
) -> None:
    """Copy whole rows (R, H, ...) of uint8, int8, int32 or float32 into (len(rows), H, ...).

    `rows` is int32 or int64. `out` has the pool's dtype, and scale is 1, or float32,
    or bfloat16 as uint16, the nearest to it: value * scale.
    """

def gather_slots(
    pool: Array, slots: Array, out: Array, scale: float = 1.0, graph: Graph | None = None
) -> None:
    """The same for single slots: (S, ...) or (R, H, ...) by `slots` (N,) into (N, ...)."""

def moments(pool: Array, rows: Array) -> tuple[float, float]:
    """Return mean and deviation, over n, of rows (R, H) of float32; `rows` (m,) int32."""

def to_float(
    *,
    rows: GraphInput,  # (N, F) uint8, int8, int32 or float32
    out: Operand,  # (N, F) out
    mean: Array | None = None,  # (F,)
    scale: Array | None = None,  # (F,) with it: (x - mean) * scale
    graph: Graph | None = None,
) -> None:
    """Make floats of what was given."""

# Between the products of dense layers: N rows, D units; activation: identity, relu or tanh. Arrays
# (N, D) need contiguous rows only. Operands of bfloat16 are rounded to nearest, ties to even; all
# arithmetic is float32. What may be in the place of something begins each row where that does, and
# is no wider.

def linear(
    *,
    product: Array,  # (N, D) without bias
    y: Operand,  # (N, D) out: activation(product + bias); may be the product
    bias: Array,  # (D,)
    activation: str,
    graph: Graph | None = None,
) -> None:
    """Do the arithmetic of a dense layer behind its product. Tanh is within 2e-7."""

def linear_backward(
    *,
    y: Operand,  # (N, D)
    grad: Array,  # (N, D) of y
    out: Operand,  # (N, D) out, of the product; may be grad
    grad_bias: Array,  # (D,) added to, before the gradients are rounded
    activation: str,
    graph: Graph | None = None,
) -> None:
    """Go back through a dense layer, from its result to its product."""

# Between the products of recurrent cells: B rows, H horizon, D units. cells.py says the same in
# torch. Arrays (B, ...) need contiguous rows only.

def lstm(
    *,
    gates: Array,  # (B, 4 * D) products without bias; out: after their functions
    bias: Array,  # (4 * D,) input, forget, output, cell
    cell: Array,  # (B, D)
    keep: Array | None = None,  # (B,) 0 where a life begins after this step, else 1; None: 1
    out: Operand,  # (B, D) out, hidden state
    next_cell: Array,  # (B, D) out, times keep; may be the cell
    next_hidden: Operand | None = None,  # (B, D) out, times keep
    graph: Graph | None = None,
) -> None:
    """Do the arithmetic of one LSTM step behind its products.

    Gates are within 4e-7 of the true values, tanh of the cell within 2e-7.
    """

def lstm_backward(
    *,
    gates: Array,  # (B, 4 * D) after their functions
    cell: Array,  # (B, D)
    keep: Array | None = None,  # (B,)
    grad_out: Array,  # (B, D)
    grad_hidden: Array,  # (B, D) of next_hidden
    grad_cell: Array,  # (B, D) of next_cell; out: of cell
    grad_gates: Operand,  # (B, 4 * D) out, of the products
    grad_bias: Array,  # (4 * D,) added to
    graph: Graph | None = None,
) -> None:
    """Go back through one LSTM step, from its states to its products."""

def mingru(
    *,
    gates: Array,  # (B, H, 2 * D) products without bias; out: gate and candidate
    bias: Array,  # (2 * D,)
    keep: Array | None = None,  # (B, H) 0 where a life begins with this step, else 1; None: 1
    x: Operand,  # (B, H, D)
    state: Array,  # (B, D) before the first step
    hidden: Array,  # (B, H, D) out; steps may be apart, all equally far
    out: Operand,  # (B, H, D) out, x + hidden; may be x
    graph: Graph | None = None,
) -> None:
    """Do the arithmetic of all steps of minGRU behind their product. Gates are within 2e-7."""

def mingru_backward(
    *,
    gates: Array,  # (B, H, 2 * D) gate and candidate
    keep: Array,  # (B, H)
    state: Array,  # (B, D)
    hidden: Array,  # (B, H, D)
    grad_out: Array,  # (B, H, D)
    grad_state: Array,  # (B, D) 0; out
    grad_gates: Operand,  # (B, H, 2 * D) out, of the products; may be where the gates are
    grad_bias: Array,  # (2 * D,) added to
    graph: Graph | None = None,
) -> None:
    """Go back through all steps of minGRU, from their results to the product."""

# What moves the weights: W of them, in one array.

# Between rows of steps, as minibatches have them, and steps of rows, as an LSTM takes them.

def transpose_rows(*, rows: Array, out: Array, graph: Graph | None = None) -> None:
    """Copy rows (B, H, D) to out (H, B, D), float32."""

def not_reset(
    *,
    reset: Array,  # (B, H) bool
    out: Array,  # (B, H) out, or (H, B)
    steps_first: bool = False,
    graph: Graph | None = None,
) -> None:
    """Write 0 where a life begins, else 1."""

def mask_state(
    *,
    state: Array,  # (B, D)
    keep: Array,  # (B,)
    out: Operand,  # (B, D) out
    graph: Graph | None = None,
) -> None:
    """Copy states, times keep."""

def init_states(
    *,
    state: Array,  # (N, S) of the agents that act, in and out
    agents: Array | None = None,  # (N,) int32 who acts; None: agents [first, first + N)
    first: int = 0,
    life_start: Array,  # (A,) bool: a life begins
    slot: Array,  # (A,) int64 where they act
    initial: Array,  # (S,)
    row_state: Array,  # (R, S) out, where a row begins
    horizon: int,
) -> None:
    """Give lives that begin the initial state, and rows of which slot 0 is acted on that state."""

def fill(*, out: Array, value: float = 0.0, graph: Graph | None = None) -> None:
    """Write the same number everywhere in out (B, D)."""

def reduce_grads(
    *,
    out: Array,  # (W,) in and out
    more: Array,  # (n, W) in and out, 0 afterwards
    squares: Array,  # (1,) float64 out
    graph: Graph | None = None,
) -> None:
    """Add rows to a vector and forget them; sum the squares of what it is then in doubles."""

def adam(
    *,
    weights: Array,  # (W,) in and out
    grads: Array,  # (W,) 0 afterwards
    mean: Array,  # (W,) in and out, first moment of the gradient
    square: Array,  # (W,) in and out, second moment
    numbers: Array,  # (4,) float64, read when it is done
    beta1: float,
    beta2: float,
    eps: float,
    graph: Graph | None = None,
) -> None:
    """Take one step of AdamW (Loshchilov, Hutter 2019), as torch.optim.AdamW does.

    `numbers`, t steps taken with this one: what the gradient is multiplied by; learning rate / (1 -
    beta1^t); (1 - beta2^t)^(-1/2); 1 - learning rate * weight decay.
    """
