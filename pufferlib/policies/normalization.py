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

EPSILON = 1e-8  # added to variances, so that a constant entry becomes 0 instead of NaN


class ObservationNorm(nn.Module):
    """Scales each of the F entries of an observation to mean 0 and standard deviation 1.

    It is saved with the policy's weights. `update` accumulates statistics, which `forward` uses
    after the next `publish`. Before the first `publish`, observations are unchanged.
    """

    mean: Tensor  # (F,) float32, in use
    scale: Tensor  # (F,) float32, in use: 1 / deviation
    count: Tensor  # () float64, gathered: number of observations
    running_mean: Tensor  # (F,) float64, gathered
    running_square: Tensor  # (F,) float64, gathered: sum of squared deviations

    def __init__(self, size: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(size))
        self.register_buffer("scale", torch.ones(size))
        self.register_buffer("count", torch.zeros((), dtype=torch.float64))
        self.register_buffer("running_mean", torch.zeros(size, dtype=torch.float64))
        self.register_buffer("running_square", torch.zeros(size, dtype=torch.float64))

    def forward(self, x: Tensor) -> Tensor:
        """Normalize x (..., F) float32."""
        return (x - self.mean) * self.scale

    def fold(
        self, weight: Tensor, bias: Tensor, out: tuple[Tensor, Tensor] | None = None
    ) -> tuple[Tensor, Tensor]:
        """Return weight (D, F) and bias (D,) for raw entries, given those for normalized entries.

        W' = W * scale, b' = b - W' mean. If `out` is given, they are written there, without
        gradient.
        """
        into = out or (None, None)
        weight = torch.mul(weight, self.scale, out=into[0])
        return weight, torch.addmv(bias, weight, self.mean, alpha=-1, out=into[1])

    @torch.no_grad()
    def update(self, x: Tensor) -> None:
        """Add observations x (N, F) to the running statistics."""
        n = x.shape[0]
        variance, mean = torch.var_mean(x.float(), dim=0, correction=0)
        total = self.count + n
        delta = mean.double() - self.running_mean
        self.running_mean += delta * (n / total)
        self.running_square += variance.double() * n + delta * delta * (self.count * n / total)
        self.count.copy_(total)

    @torch.no_grad()
    def publish(self) -> None:
        """Use the statistics accumulated so far from now on."""
        if self.count > 0:
            self.mean.copy_(self.running_mean)
            self.scale.copy_((self.running_square / self.count + EPSILON).rsqrt())


class ReturnNorm:
    """The running standard deviation of returns, by which rewards are divided.

    A return is the discounted sum of the rewards in an agent's life so far.
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
        returns = self.returns[acted]
        if n := len(returns):
            mean = float(returns.mean())
            total, delta = self.count + n, mean - self.mean
            self.square += float(returns.var()) * n
            self.square += delta * delta * self.count * n / total
            self.mean += delta * n / total
            self.count = total
        self.returns[ended] = 0.0

    @property
    def deviation(self) -> float:
        """The standard deviation; 1 before the first step, and while all returns are equal."""
        variance = self.square / self.count if self.count else 0.0
        return math.sqrt(variance) if variance > EPSILON else 1.0

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
