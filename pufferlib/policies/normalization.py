"""Running statistics of observations, for the policy's first layer, and of returns, for rewards.

Both merge counts, means and sums of squared deviations (Chan, Golub and LeVeque 1979) in float64.
They are constant within an update, so that a batch is trained with the statistics that it was
collected with.

Letters: N observations, F entries of each, D hidden units, A agents.
"""

import math
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

# Normalized entries are clipped to [-bound, bound]. Floats: at 10 deviations, as in CleanRL and in
# stable-baselines3's VecNormalize. Integers are often cells of a grid: one that is 1 in every
# 1,000th observation, and otherwise 0, is then 32 deviations from its mean, and matters as much.
BOUND = 10.0
INTEGER_BOUND = 100.0
# The smallest deviation that counts, whatever the unit: a constant entry becomes 0 instead of NaN,
# and the inverse is finite in float32.
TINY = 1e-15
# The smallest that counts as a share of the mean: at least eight times the distance between
# neighbouring float32 there, so that rounding is not magnified to deviation 1.
ROUNDING = 2.0**-20
# Returns whose deviation is a smaller share of their mean count as equal: divided by it, rewards
# would be large numbers that are almost all the same.
EQUAL = 1e-3


class ObservationNorm(nn.Module):
    """Scales each of the F entries of an observation to mean 0 and standard deviation 1, and clips.

    normalized = clip((x - mean) * scale, -bound, bound)

    An entry that was constant so far has a large scale, so that it is 0 until it changes, and is
    then at most `bound`. Infinity becomes `bound` too; NaN stays NaN, and stops the training. It is
    saved with the policy's weights. `update` accumulates statistics, which `forward` uses after the
    next `publish`. Before the first `publish`, the mean is 0 and the scale 1. `bound` (F,) is BOUND
    for every entry if it is None.
    """

    mean: Tensor  # (F,) float32, in use
    scale: Tensor  # (F,) float32, in use: 1 / deviation
    bound: Tensor  # (F,) float32
    count: Tensor  # () float64, gathered: number of observations
    running_mean: Tensor  # (F,) float64, gathered
    running_square: Tensor  # (F,) float64, gathered: sum of squared deviations

    def __init__(self, size: int, bound: Tensor | None = None) -> None:
        super().__init__()
        bound = torch.full((size,), BOUND) if bound is None else bound
        self.register_buffer("bound", bound, persistent=False)
        self.register_buffer("mean", torch.zeros(size))
        self.register_buffer("scale", torch.ones(size))
        self.register_buffer("count", torch.zeros((), dtype=torch.float64))
        self.register_buffer("running_mean", torch.zeros(size, dtype=torch.float64))
        self.register_buffer("running_square", torch.zeros(size, dtype=torch.float64))

    def forward(self, x: Tensor, entries: slice = slice(None)) -> Tensor:
        """Normalize x (..., F) float32, or only these `entries` (..., f) of observations."""
        mean, scale, bound = self.mean[entries], self.scale[entries], self.bound[entries]
        return ((x - mean) * scale).clamp_(-bound, bound)

    @torch.no_grad()
    def update(self, x: Tensor) -> None:
        """Add observations x (N, F) to the running statistics, without infinities and NaN."""
        n, x = x.shape[0], x.double()
        mean = x.mean(0)
        if not mean.isfinite().all():
            x = self._finite(x)
            mean = x.mean(0)
        square = (x - mean).square_().sum(0)  # torch.var_mean takes eight times as long
        total = self.count + n
        delta = mean - self.running_mean
        self.running_mean += delta * (n / total)
        self.running_square += square + delta * delta * (self.count * n / total)
        self.count.copy_(total)

    def _finite(self, x: Tensor) -> Tensor:
        """Return x (N, F) float64 with means in place of infinities and NaN.

        An entry's mean is that of its finite numbers in x, or the running one if there are none.
        """
        x = x.masked_fill(~x.isfinite(), torch.nan)
        mean = x.nanmean(0)
        return torch.where(x.isnan(), torch.where(mean.isnan(), self.running_mean, mean), x)

    @torch.no_grad()
    def publish(self) -> None:
        """Use the statistics accumulated so far from now on."""
        if self.count > 0:
            floor = (ROUNDING * self.running_mean).square() + TINY**2
            self.mean.copy_(self.running_mean)
            self.scale.copy_((self.running_square / self.count + floor).rsqrt())


class ReturnNorm:
    """The running standard deviation of returns, by which rewards are divided.

    A return is the discounted sum of the rewards in an agent's life so far. An infinite or NaN one
    does not count, and the agent's next return begins from 0.
    """

    def __init__(self, num_agents: int, gamma: float) -> None:
        self.gamma = gamma
        self.returns: npt.NDArray[np.float64] = np.zeros(num_agents)
        self.count = self.mean = self.square = 0.0

    def update(
        self, rewards: npt.NDArray[Any], acted: npt.NDArray[Any], ended: npt.NDArray[Any]
    ) -> None:
        """Add one step: rewards (A,), bool `acted` (A,), bool `ended` (A,) of lives that ended."""
        self.returns *= self.gamma
        self.returns += rewards
        finite = np.isfinite(self.returns)
        returns = self.returns[acted & finite]
        if n := len(returns):
            mean = float(returns.mean())
            total, delta = self.count + n, mean - self.mean
            self.square += float(returns.var()) * n
            self.square += delta * delta * self.count * n / total
            self.mean += delta * n / total
            self.count = total
        self.returns[ended | ~finite] = 0.0

    @property
    def deviation(self) -> float:
        """The standard deviation; 1 before the first step, and while all returns are equal."""
        deviation = math.sqrt(self.square / self.count) if self.count else 0.0
        return deviation if deviation > max(EQUAL * abs(self.mean), TINY) else 1.0

    def state(self) -> dict[str, float]:
        """Return the state for `load`, without the returns of current lives."""
        return {"count": self.count, "mean": self.mean, "square": self.square}

    def load(self, state: dict[str, float]) -> None:
        """Continue from the statistics of `state()`."""
        self.count, self.mean, self.square = (state[k] for k in ("count", "mean", "square"))


def flat_float(obs: Tensor, leading: int) -> Tensor:
    """Return observations (..., *O) as floats (..., F), where ... stands for `leading` dimensions.

    Integers become float32; a view of floats stays a view.
    """
    flat = obs.flatten(leading) if obs.dim() > leading else obs.unsqueeze(-1)
    return flat if flat.is_floating_point() else flat.float()
