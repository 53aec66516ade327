"""The native passes once more, to be read: what they mean, step by step, in Python and torch.

The tests hold the native passes against these. `ppo_loss` and `gather` are vectorized torch that
runs on any device and in any float type; the trainer uses that loss on a GPU. The rest is slow.

Letters as in _kernels.pyi: N agents that act now, R rows, H horizon, B rows of a batch, M slots of
a minibatch, K discrete heads, C the sum of their choices, X continuous axes.
"""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from pufferenv.engine.transition import LIVE, TERMINAL

Array = npt.NDArray[Any]


def threefry(key: Sequence[int], counter: Sequence[int]) -> list[int]:
    """Turn a key and a counter, four 32-bit words each, into four random words.

    Threefry4x32-20, Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3", section 3.3.
    """
    turns = ((10, 26), (11, 21), (13, 27), (23, 5), (6, 20), (17, 11), (25, 10), (18, 20))
    word = 0xFFFFFFFF
    keys = [*key, 0x1BD11BDA ^ key[0] ^ key[1] ^ key[2] ^ key[3]]
    x = [(c + k) & word for c, k in zip(counter, keys, strict=False)]
    for i in range(20):
        partners = ((0, 1), (2, 3)) if i % 2 == 0 else ((0, 3), (2, 1))
        for (a, b), turn in zip(partners, turns[i % 8], strict=True):
            x[a] = (x[a] + x[b]) & word
            x[b] = ((x[b] << turn | x[b] >> (32 - turn)) & word) ^ x[a]
        if i % 4 == 3:
            step = i // 4 + 1
            x = [(x[j] + keys[(step + j) % 5] + step * (j == 3)) & word for j in range(4)]
    return x


def random_words(seed: int, agent: int, count: int, number: int) -> list[int]:
    """Return the four words that an agent has in its step `count` for its heads or axes."""
    halves = [seed & 0xFFFFFFFF, seed >> 32 & 0xFFFFFFFF]
    return threefry([*halves, 0, 0], [count & 0xFFFFFFFF, count >> 32, agent, number])


def uniform(seed: int, agent: int, count: int, head: int) -> float:
    """Return the number in (0, 1) that decides one head: one of 2**23 midpoints."""
    word = random_words(seed, agent, count, head // 4)[head % 4]
    return ((word >> 9) + 0.5) / 2**23


def normal(seed: int, agent: int, count: int, axis: int) -> float:
    """Return the standard normal number that decides one axis (Box and Muller 1958)."""
    pair = axis % 4 // 2 * 2
    words = random_words(seed, agent, count, 0x80000000 + axis // 4)[pair : pair + 2]
    radius = math.sqrt(-2 * math.log(((words[0] >> 1) + 0.5) / 2**31))
    angle = ((words[1] >> 8) / 2**24 - 0.5 + words[1] % 4) * math.pi / 2
    return radius * (math.sin(angle) if axis % 2 else math.cos(angle))


def heads(logits: Tensor, sizes: Sequence[int] | Array, mask: Tensor | None) -> list[Tensor]:
    """Split logits (N, C) into log-probabilities (N, n) per head; masked choices get -inf."""
    if mask is not None:
        logits = logits.masked_fill(mask == 0, -torch.inf)
    return [head.log_softmax(1) for head in torch.split(logits, [int(n) for n in sizes], dim=1)]


def logprob_and_entropy(
    *,
    logits: Tensor | None = None,
    sizes: Sequence[int] | Array | None = None,
    mask: Tensor | None = None,
    mean: Tensor | None = None,
    log_std: Tensor | None = None,
    action: Tensor | None = None,
    axis: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Return log-probability and entropy (N,), summed over action (N, K) and axis (N, X)."""
    logprobs, entropies = [], []
    if logits is not None and action is not None and sizes is not None:
        for k, logp in enumerate(heads(logits, sizes, mask)):
            logprobs.append(logp.gather(1, action[:, k : k + 1].long()).squeeze(1))
            # 0 * log 0 is 0, in the gradient too
            finite = torch.where(torch.isneginf(logp), torch.zeros_like(logp), logp)
            entropies.append(-(logp.exp() * finite).sum(1))
    if mean is not None and log_std is not None and axis is not None:
        log_std = log_std.expand_as(mean)
        z = (axis - mean) / log_std.exp()
        logprobs.append((-0.5 * z * z - log_std - 0.5 * math.log(2 * math.pi)).sum(1))
        entropies.append((log_std + 0.5 * math.log(2 * math.pi * math.e)).sum(1))
    return torch.stack(logprobs).sum(0), torch.stack(entropies).sum(0)


def choose(logp: Tensor, numbers: Sequence[float] | None) -> list[int]:
    """Choose by log-probabilities (N, n) without NaN.

    The likeliest, ties to the lowest; with numbers (N,) the first where the running sum passes one.
    """
    if numbers is None:
        return [int(choice) for choice in logp.argmax(1)]
    sums = logp.double().exp().cumsum(1)
    thresholds = torch.tensor(numbers, dtype=torch.float64) * sums[:, -1]
    return [int(choice) for choice in (sums <= thresholds[:, None]).sum(1)]


def sample(
    *,
    agents: Sequence[int] | Array,
    counts: Sequence[int] | Array,
    seed: int,
    greedy: bool = False,
    logits: Tensor | None = None,
    sizes: Sequence[int] | Array | None = None,
    mask: Tensor | None = None,
    mean: Tensor | None = None,
    log_std: Tensor | None = None,
) -> tuple[Tensor | None, Tensor | None]:
    """Return action (N, K) and unclipped axis (N, X) of agents in their step `counts`, both (N,).

    `mask` (N, C) are those of the agents' slots. `logprob_and_entropy` says the rest.
    """
    keys = [(seed, int(a), int(c)) for a, c in zip(agents, counts, strict=True)]
    action = axis = None
    if logits is not None and sizes is not None:
        columns = [
            choose(logp, None if greedy else [uniform(*key, k) for key in keys])
            for k, logp in enumerate(heads(logits, sizes, mask))
        ]
        action = torch.tensor(columns, dtype=torch.int32).T
    if mean is not None and log_std is not None:
        axis = mean
        if not greedy:
            drawn = [[normal(*key, x) for x in range(mean.shape[1])] for key in keys]
            axis = mean + log_std.exp() * torch.tensor(drawn, dtype=mean.dtype)
    return action, axis


def advantage(
    *,
    rows: Array,
    pool_reward: Array,
    pool_value: Array,
    pool_next_value: Array,
    pool_done: Array,
    pool_segment_start: Array,
    ratio: Array | None = None,
    gamma: float,
    gae_lambda: float,
    rho_clip: float = 1.0,
    c_clip: float = 1.0,
    reward_scale: float = 1.0,
    reward_clip: float = 0.0,
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Return advantages and value targets (B, H) of these rows of the pool's columns (R, H).

    GAE (Schulman et al. 2016) where the ratio is 1; with lambda 1 the target is V-trace's v_s
    (Espeholt et al. 2018, equation 1).
    """
    horizon = pool_reward.shape[1]
    advantages, targets = np.zeros((len(rows), horizon)), np.zeros((len(rows), horizon))
    for b, row in enumerate(rows):
        after = 0.0
        for t in reversed(range(horizon)):
            ends = t + 1 == horizon or pool_segment_start[row, t + 1]
            goes_on = pool_done[row, t] == LIVE and not ends
            if pool_done[row, t] == TERMINAL:
                following = 0.0
            else:
                following = float(pool_value[row, t + 1] if goes_on else pool_next_value[row, t])
            scaled = float(pool_reward[row, t]) * reward_scale
            if reward_clip > 0:
                scaled = min(max(scaled, -reward_clip), reward_clip)
            weight = 1.0 if ratio is None else float(ratio[b, t])
            now = float(pool_value[row, t])
            after_weight = gamma * gae_lambda * min(weight, c_clip) if goes_on else 0.0
            delta = min(weight, rho_clip) * (scaled + gamma * following - now)
            after = delta + after_weight * after
            advantages[b, t], targets[b, t] = after, now + after
    return advantages, targets


def ppo_loss(
    *,
    values: Tensor,
    logits: Tensor | None = None,
    sizes: Sequence[int] | Array | None = None,
    mask: Tensor | None = None,
    mean: Tensor | None = None,
    log_std: Tensor | None = None,
    action: Tensor | None = None,
    axis: Tensor | None = None,
    logprob: Tensor,
    old_value: Tensor,
    advantage: Tensor,
    target: Tensor,
    adv_mean: float = 0.0,
    adv_scale: float = 1.0,
    clip_coef: float,
    vf_coef: float,
    vf_clip_coef: float = 0.0,
    ent_coef: float,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Return PPO's loss (Schulman et al. 2017), to go backward from, and what it is made of.

    (loss, policy loss, value loss, entropy, approximate KL (r - 1) - log r, share of
    |r - 1| > clip_coef, old approximate KL -log r), means over M. The value loss is half the larger
    of two squared errors, that of the value and that of the value moved at most vf_clip_coef away
    from the old one; vf_clip_coef <= 0: half the first.
    """
    taken, entropies = logprob_and_entropy(
        logits=logits,
        sizes=sizes,
        mask=mask,
        mean=mean,
        log_std=log_std,
        action=action,
        axis=axis,
    )
    log_ratio = taken - logprob
    r = log_ratio.exp()
    weight = (advantage - adv_mean) * adv_scale
    clipped = r.clamp(1 - clip_coef, 1 + clip_coef)
    policy = torch.max(-weight * r, -weight * clipped).mean()
    errors = (values - target) ** 2
    if vf_clip_coef > 0:
        near = old_value + (values - old_value).clamp(-vf_clip_coef, vf_clip_coef)
        errors = torch.max(errors, (near - target) ** 2)
    value, entropy = 0.5 * errors.mean(), entropies.mean()
    loss = policy + vf_coef * value - ent_coef * entropy
    far = ((r < 1 - clip_coef) | (r > 1 + clip_coef)).to(r.dtype).mean()
    return loss, policy, value, entropy, ((r - 1) - log_ratio).mean(), far, -log_ratio.mean()


def gather(pool: Tensor, index: Tensor, dtype: torch.dtype, scale: float = 1.0) -> Tensor:
    """Return items of the pool's first dimension; as float32 scaled, else as they are."""
    taken = pool[index.long()]
    return taken if dtype == pool.dtype and scale == 1 else taken.to(dtype) * scale
