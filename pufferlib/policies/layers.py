"""Layers that all networks share: the input layer, the heads, activations.

Letters: N agents that act, *O one observation, F its entries, D hidden units, C choices of all
discrete heads together, X continuous axes.
"""

import math
from typing import cast

import torch
from torch import Tensor, nn

from pufferlib.config.networks import ACTIVATIONS
from pufferlib.ops.output import Output
from pufferlib.policies.base import PolicySpec
from pufferlib.policies.normalization import ObservationNorm, flat_float

LOG_STD = -0.5  # initial log of the standard deviation, in units of half an axis's range


def make_activation(name: str) -> nn.Module:
    """Make the activation that `policy.activation` names."""
    return cast(nn.Module, getattr(nn, ACTIVATIONS[name])())


def orthogonal(layer: nn.Linear, gain: float) -> nn.Linear:
    """Initialize a layer: orthogonal weight (Saxe et al. 2014) of this gain, bias 0. Return it."""
    nn.init.orthogonal_(layer.weight, gain)
    nn.init.zeros_(layer.bias)
    return layer


class InputLayer(nn.Linear):
    """The first layer, which reads observations as the game writes them, and normalizes them."""

    def __init__(self, spec: PolicySpec, hidden_size: int) -> None:
        super().__init__(spec.obs_size, hidden_size)
        orthogonal(self, math.sqrt(2))

    def forward(self, obs: Tensor, norm: ObservationNorm | None = None) -> Tensor:
        """Apply the layer: obs (N, *O) of any dtype -> (N, D)."""
        flat = flat_float(obs, 1)
        return super().forward(flat if norm is None else norm(flat))


class LastLayer(nn.Linear):
    """The heads' layer, which computes in the dtype of its weights even under autocast.

    It costs little, and bfloat16 is too coarse for a value, compared with which advantages are
    small.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Apply the layer: x (N, D) of any dtype -> (N, C + X + 1)."""
        with torch.autocast(x.device.type, enabled=False):
            return super().forward(x.to(self.weight.dtype))


class Heads(nn.Module):
    """The last layer: logits, means and value of all heads in one product.

    Means and deviations are relative to the range of each axis: mean = middle + reach * output.
    """

    middle: Tensor  # (X,) middle of each axis's range; 0 if it is unbounded
    reach: Tensor  # (X,) half its width; 1 if it is unbounded

    def __init__(self, spec: PolicySpec, hidden_size: int) -> None:
        super().__init__()
        self.sizes = [spec.num_choices, len(spec.low), 1]
        self.out = orthogonal(LastLayer(hidden_size, sum(self.sizes)), 1.0)
        # With small gains a new policy chooses almost uniformly, whatever it observes.
        for weight, gain in zip(self.weights(), (0.01, 0.01, 1.0), strict=True):
            if len(weight):
                nn.init.orthogonal_(weight, gain)
        if spec.low:
            bounds = [
                ((low + high) / 2, (high - low) / 2) if math.isfinite(high - low) else (0.0, 1.0)
                for low, high in zip(spec.low, spec.high, strict=True)
            ]
            self.register_buffer("middle", torch.tensor([m for m, _ in bounds]), persistent=False)
            self.register_buffer("reach", torch.tensor([h for _, h in bounds]), persistent=False)
            self.log_std = nn.Parameter(torch.full((len(bounds),), LOG_STD))

    def weights(self) -> tuple[Tensor, ...]:
        """Return views of the weights of logits (C, D), means (X, D) and value (1, D)."""
        return torch.split(self.out.weight.detach(), self.sizes)

    def forward(self, hidden: Tensor) -> Output:
        """Apply the heads: hidden (N, D) -> output of N."""
        return self.split(self.out(hidden))

    def split(self, out: Tensor) -> Output:
        """Split the product (N, C + X + 1) into the output of N."""
        logits, mean, value = torch.split(out, self.sizes, dim=1)
        log_std = None
        if self.sizes[1]:
            mean = self.middle + self.reach * mean
            log_std = self.log_std + self.reach.log()
        return Output(
            logits if self.sizes[0] else None,
            mean if self.sizes[1] else None,
            log_std,
            value.squeeze(-1),
        )
