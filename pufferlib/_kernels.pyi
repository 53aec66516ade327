"""Native passes of the trainer: what is small, scalar and per step. Plain C over raw memory, no torch headers.

Letters: N agents that act now, A all agents, S slots, B batch rows, H horizon, M slots of a minibatch,
K discrete heads, C the sum of their choices, X continuous axes. Arrays are C-contiguous numpy views (of a
CPU tensor: `tensor.detach().numpy()`), float32 unless it says otherwise. Every pass releases the GIL.
"""

from typing import Any

import numpy.typing as npt

Array = npt.NDArray[Any]

def sample(
    logits: Array | None,  # (N, C); None: no discrete heads
    mean: Array | None,  # (N, X); None: no axes
    log_std: Array | None,  # (N, X) or (X,)
    values: Array,  # (N,)
    sizes: Array,  # (K,) int32 choices of each head
    masks: Array | None,  # (S, C) uint8, by slot
    low: Array | None,  # (X,) what the game gets is clipped to [low, high]
    high: Array | None,
    agents: Array | None,  # (N,) int32 who acts; None: agents [first, first + N)
    first: int,
    slot: Array,  # (A,) int64
    waiting: Array,  # (A,) int64
    counts: Array,  # (A,) uint64 steps each agent has acted; the key of its random numbers; +1
    seed: int,
    version: int,
    greedy: bool,
    actions: Array | None,  # out (A, K) int32 what the game reads
    axes: Array | None,  # out (A, X) clipped
    pool_action: Array | None,  # out (S, K) int32
    pool_axis: Array | None,  # out (S, X) the sample itself
    pool_logprob: Array,  # out (S,) sum over heads and axes
    pool_value: Array,  # out (S,)
    pool_next_value: Array,  # out (S,) at waiting[a], which becomes -1
    pool_version: Array,  # out (S,) int32
    entropy: Array | None,  # out (N,) or None
    num_threads: int = 1,
) -> None: ...
def advantage(
    rows: Array,  # (B,) int32
    reward: Array,  # (R, H) pool column, raw
    value: Array,  # (R, H)
    next_value: Array,  # (R, H) read where TRUNCATED or the row ends
    done: Array,  # (R, H) uint8
    piece_start: Array,  # (R, H) bool
    ratio: Array | None,  # (B, H) exp(logp_prox - logp_stored); None: 1
    gamma: float,
    gae_lambda: float,
    rho_clip: float,
    c_clip: float,
    reward_scale: float,  # reward * scale, then clipped to [-reward_clip, reward_clip] if that is > 0
    reward_clip: float,
    out_advantage: Array,  # (B, H)
    out_target: Array,  # (B, H) value + advantage
    num_threads: int = 1,
) -> None: ...
def ppo_loss(
    logits: Array | None,  # (M, C)
    mean: Array | None,  # (M, X)
    log_std: Array | None,  # (M, X) or (X,)
    values: Array,  # (M,)
    sizes: Array,  # (K,) int32
    masks: Array | None,  # (M, C) uint8
    action: Array | None,  # (M, K) int32
    axis: Array | None,  # (M, X)
    logprob: Array,  # (M,) logp_prox
    old_value: Array,  # (M,)
    advantage: Array,  # (M,) used as (advantage - adv_mean) * adv_scale
    target: Array,  # (M,)
    adv_mean: float,
    adv_scale: float,
    clip_coef: float,
    vf_coef: float,
    vf_clip_coef: float,  # <= 0: unclipped value loss
    ent_coef: float,
    grad_logits: Array | None,  # out, d(loss)/d(logits), the loss a mean over M
    grad_mean: Array | None,
    grad_log_std: Array | None,  # (M, X) or (X,): as log_std
    grad_values: Array,
    num_threads: int = 1,
) -> tuple[float, float, float, float, float, float, float]:
    """-> loss, policy loss, value loss, entropy, approximate KL ((r - 1) - log r), clip fraction, old approximate KL (-log r)."""

def gather(pool: Array, rows: Array, out: Array, scale: float, num_threads: int = 1) -> None:
    """Copy whole rows (R, H, ...) of uint8, int8, int32 or float32 into (len(rows), H, ...) of the same dtype
    or float32, converted and multiplied by `scale`."""

def gather_slots(pool: Array, slots: Array, out: Array, scale: float, num_threads: int = 1) -> None:
    """The same for single slots: (S, ...) by `slots` (N,) int64."""
