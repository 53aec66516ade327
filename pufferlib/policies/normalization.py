"""Running statistics: of observations, for the policy's first layer, and of returns, for rewards.

Both merge counts, means and sums of squared deviations (Chan, Golub, LeVeque 1979) in float64, and
are used frozen: what a batch was acted with is what it is trained with.
"""

import math
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

EPSILON = 1e-8  # added to a variance, so that a constant entry becomes 0 and not NaN


class ObservationNorm(nn.Module):
    """Mean 0 and deviation 1 for each of F observation entries; part of the policy's weights.

    `update` gathers, `publish` makes what was gathered take effect. Before the first `publish` it
    changes nothing.
    """

    mean: Tensor  # (F,) float32, in use
    scale: Tensor  # (F,) float32, in use: 1 / deviation
    count: Tensor  # () float64, gathered
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
        """Weight (D, F), bias (D,) of a layer that does to raw entries what it did to normal.

        Without gradient into `out`, if it is given.
        """
        into = out or (None, None)
        weight = torch.mul(weight, self.scale, out=into[0])
        return weight, torch.addmv(bias, weight, self.mean, alpha=-1, out=into[1])

    @torch.no_grad()
    def update(self, x: Tensor) -> None:
        """Gather observations x (N, F)."""
        n = x.shape[0]
        variance, mean = torch.var_mean(x.float(), dim=0, correction=0)
        total = self.count + n
        delta = mean.double() - self.running_mean
        self.running_mean += delta * (n / total)
        self.running_square += variance.double() * n + delta * delta * (self.count * n / total)
        self.count.copy_(total)

    @torch.no_grad()
    def publish(self) -> None:
        """Use the statistics gathered so far from now on."""
        if self.count > 0:
            self.mean.copy_(self.running_mean)
            self.scale.copy_((self.running_square / self.count + EPSILON).rsqrt())


class ReturnNorm:
    """The running deviation of the discounted return that each agent's life has gathered so far."""

    def __init__(self, num_agents: int, gamma: float) -> None:
        self.gamma = gamma
        self.returns: npt.NDArray[np.float64] = np.zeros(num_agents)
        self.count = self.mean = self.square = 0.0

    def update(
        self, rewards: npt.NDArray[Any], acted: npt.NDArray[Any], over: npt.NDArray[Any]
    ) -> None:
        """Take one step: rewards (A,), who acted (A,) bool, whose life is over now (A,) bool."""
        self.returns *= self.gamma
        self.returns += rewards
        seen = self.returns[acted]
        if len(seen):
            mean = float(seen.mean())
            total, delta = self.count + len(seen), mean - self.mean
            self.square += float(seen.var()) * len(seen)
            self.square += delta * delta * self.count * len(seen) / total
            self.mean += delta * len(seen) / total
            self.count = total
        self.returns[over] = 0.0

    @property
    def deviation(self) -> float:
        """1 before anything was seen, and while returns are all the same."""
        variance = self.square / self.count if self.count else 0.0
        return math.sqrt(variance) if variance > EPSILON else 1.0

    def state(self) -> dict[str, float]:
        """What `load` needs; the open lives' returns are not in it."""
        return {"count": self.count, "mean": self.mean, "square": self.square}

    def load(self, state: dict[str, float]) -> None:
        """Go on with the statistics of `state`."""
        self.count, self.mean, self.square = (state[k] for k in ("count", "mean", "square"))


def flat_float(obs: Tensor, leading: int) -> Tensor:
    """Observations (`leading` dimensions, *O) as float32 (leading, F); a float view stays one."""
    flat = obs.flatten(leading) if obs.dim() > leading else obs.unsqueeze(-1)
    return flat if flat.is_floating_point() else flat.float()
