"""The readable reference of the kernels: sampling, advantages, PPO's loss, gathering.

The tests compare each kernel with the function of the same name here. `logprob_and_entropy`,
`ppo_loss` and `gather` are torch operators that run on any device and in any float dtype; the
trainer uses this loss on a GPU. The rest are plain loops, for reading. ops/reference_cells.py has
the recurrent cells.

Letters: N agents that act, R rows of the pool, H horizon, B rows of a batch, M transitions of a
minibatch, K discrete heads, n choices of one head, C choices of all heads, X continuous axes.
"""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from pufferenv.engine._engine import LIVE, TERMINAL

Array = npt.NDArray[Any]


def threefry(key: Sequence[int], counter: Sequence[int]) -> list[int]:
    """Return four random words, a function of a key and a counter of four words each.

    Words have 32 bits. Threefry4x32-20, Salmon et al. 2011, "Parallel random numbers: as easy as 1,
    2, 3", section 3.3: 20 rounds of additions, rotations and exclusive ors, with a word of the key
    added after every fourth.
    """
    rotations = ((10, 26), (11, 21), (13, 27), (23, 5), (6, 20), (17, 11), (25, 10), (18, 20))
    mask = 0xFFFFFFFF
    keys = [*key, 0x1BD11BDA ^ key[0] ^ key[1] ^ key[2] ^ key[3]]
    x = [(c + k) & mask for c, k in zip(counter, keys, strict=False)]
    for i in range(20):
        pairs = ((0, 1), (2, 3)) if i % 2 == 0 else ((0, 3), (2, 1))
        for (a, b), bits in zip(pairs, rotations[i % 8], strict=True):
            x[a] = (x[a] + x[b]) & mask
            x[b] = ((x[b] << bits | x[b] >> (32 - bits)) & mask) ^ x[a]
        if i % 4 == 3:
            s = i // 4 + 1
            x = [(x[j] + keys[(s + j) % 5] + s * (j == 3)) & mask for j in range(4)]
    return x


def random_words(seed: int, agent: int, count: int, number: int) -> list[int]:
    """Return an agent's four random words of its step `count`.

    Each `number` from 0 on serves four heads, each from 2**31 on four axes. The words do not depend
    on other agents or on threads.
    """
    halves = [seed & 0xFFFFFFFF, seed >> 32 & 0xFFFFFFFF]
    return threefry([*halves, 0, 0], [count & 0xFFFFFFFF, count >> 32, agent, number])


def uniform(seed: int, agent: int, count: int, head: int) -> float:
    """Return the uniform number that draws from one head: the midpoint of a 2**-23 interval."""
    word = random_words(seed, agent, count, head // 4)[head % 4]
    return ((word >> 9) + 0.5) / 2**23


def normal(seed: int, agent: int, count: int, axis: int) -> float:
    """Return the standard normal number of one axis (Box and Muller 1958).

    Two words give two numbers, radius * cos(angle) and radius * sin(angle).
    """
    pair = axis % 4 // 2 * 2
    words = random_words(seed, agent, count, 0x80000000 + axis // 4)[pair : pair + 2]
    radius = math.sqrt(-2 * math.log(((words[0] >> 1) + 0.5) / 2**31))
    angle = ((words[1] >> 8) / 2**24 - 0.5 + words[1] % 4) * math.pi / 2
    return radius * (math.sin(angle) if axis % 2 else math.cos(angle))


def heads(logits: Tensor, sizes: Sequence[int] | Array, mask: Tensor | None) -> list[Tensor]:
    """Return the log-probabilities (N, n) of each head from logits (N, C).

    Choices where `mask` (N, C) is 0 get -inf.
    """
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
    """Return log-probability and entropy (N,) of actions, summed over heads and axes.

    logits (N, C), sizes (K,), mask (N, C) and action (N, K) describe the discrete heads; mean
    (N, X), log_std (X,) or (N, X) and axis (N, X) the axes, which are normal and independent.
    """
    logprobs, entropies = [], []
    if logits is not None and action is not None and sizes is not None:
        for k, logp in enumerate(heads(logits, sizes, mask)):
            logprobs.append(logp.gather(1, action[:, k : k + 1].long()).squeeze(1))
            # p * log p is 0 where p is 0, and so is its gradient.
            finite = torch.where(torch.isneginf(logp), torch.zeros_like(logp), logp)
            entropies.append(-(logp.exp() * finite).sum(1))
    if mean is not None and log_std is not None and axis is not None:
        log_std = log_std.expand_as(mean)
        z = (axis - mean) / log_std.exp()
        logprobs.append((-0.5 * z * z - log_std - 0.5 * math.log(2 * math.pi)).sum(1))
        entropies.append((log_std + 0.5 * math.log(2 * math.pi * math.e)).sum(1))
    return torch.stack(logprobs).sum(0), torch.stack(entropies).sum(0)


def choose(logp: Tensor, numbers: Sequence[float] | None) -> list[int]:
    """Return one choice for each row of log-probabilities (N, n), none of which is NaN.

    With uniform numbers (N,), it is the first choice at which the running sum of probabilities
    exceeds the number times their sum (inverse transform sampling). Without, it is the most likely
    choice, among equals the lowest.
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
    """Return action (N, K) and unclipped axis (N, X) of `agents` (N,) in steps `counts` (N,).

    `greedy` takes the most likely choice and the mean. The other arguments are those of
    `logprob_and_entropy`.
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
    """Return advantages and value targets (B, H) of `rows` (B,) of the pool's columns (R, H).

    rho = min(ratio, rho_clip), c = min(ratio, c_clip)
    delta_t = rho_t * (reward_t + gamma * next_value_t - value_t)
    adv_t = delta_t + gamma * gae_lambda * c_t * adv_{t+1}, the latter within a life and a segment
    target_t = value_t + adv_t

    `ratio` (B, H) is the ratio of current to acting probabilities. If it is None, the weights have
    not changed, and this is generalized advantage estimation (Schulman et al. 2016). With
    gae_lambda 1 the target is V-trace's v_s (Espeholt et al. 2018, equation 1).
    """
    horizon = pool_reward.shape[1]
    advantages, targets = np.zeros((len(rows), horizon)), np.zeros((len(rows), horizon))
    for b, row in enumerate(rows):
        adv = 0.0  # adv_{t+1}
        for t in reversed(range(horizon)):
            ends = t + 1 == horizon or pool_segment_start[row, t + 1]
            goes_on = pool_done[row, t] == LIVE and not ends
            # The value after the step: 0 after a death; that of the next slot if the life continues
            # there; otherwise the stored next_value, of a final observation or of the agent's next
            # row.
            if pool_done[row, t] == TERMINAL:
                next_value = 0.0
            else:
                next_value = float(pool_value[row, t + 1] if goes_on else pool_next_value[row, t])
            reward = float(pool_reward[row, t]) * reward_scale
            if reward_clip > 0:
                reward = min(max(reward, -reward_clip), reward_clip)
            weight = 1.0 if ratio is None else float(ratio[b, t])
            value = float(pool_value[row, t])
            delta = min(weight, rho_clip) * (reward + gamma * next_value - value)
            decay = gamma * gae_lambda * min(weight, c_clip) if goes_on else 0.0
            adv = delta + decay * adv
            advantages[b, t], targets[b, t] = adv, value + adv
    return advantages, targets


def ppo_loss(
    *,
    values: Tensor,
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
    **distribution: Any,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Return PPO's loss (Schulman et al. 2017, equations 7 and 9) and its parts, means over M.

    r = exp(log-probability - `logprob`), A = (advantage - adv_mean) * adv_scale
    policy = mean(max(-A * r, -A * clip(r, 1 - clip_coef, 1 + clip_coef)))
    value = mean((values - target)^2) / 2
    loss = policy + vf_coef * value - ent_coef * mean(entropy)

    With vf_clip_coef > 0 the squared error is the larger of two: that of the value, and that of the
    value clipped to within vf_clip_coef of `old_value`. The parts are: loss, policy, value,
    entropy, the KL estimate (r - 1) - log r, the share of |r - 1| > clip_coef, and the KL estimate
    -log r. `distribution` has the arguments of `logprob_and_entropy`.
    """
    new_logprob, entropies = logprob_and_entropy(**distribution)
    log_ratio = new_logprob - logprob
    r = log_ratio.exp()
    adv = (advantage - adv_mean) * adv_scale
    clipped = r.clamp(1 - clip_coef, 1 + clip_coef)
    policy = torch.max(-adv * r, -adv * clipped).mean()
    errors = (values - target) ** 2
    if vf_clip_coef > 0:
        near = old_value + (values - old_value).clamp(-vf_clip_coef, vf_clip_coef)
        errors = torch.max(errors, (near - target) ** 2)
    value, entropy = 0.5 * errors.mean(), entropies.mean()
    loss = policy + vf_coef * value - ent_coef * entropy
    clip_frac = ((r < 1 - clip_coef) | (r > 1 + clip_coef)).to(r.dtype).mean()
    approx_kl, old_approx_kl = ((r - 1) - log_ratio).mean(), -log_ratio.mean()
    return loss, policy, value, entropy, approx_kl, clip_frac, old_approx_kl


def gather(pool: Tensor, index: Tensor, dtype: torch.dtype, scale: float = 1.0) -> Tensor:
    """Return the items of the pool at `index`, in `dtype` and multiplied by `scale`."""
    items = pool[index.long()]
    return items if dtype == pool.dtype and scale == 1 else items.to(dtype) * scale
