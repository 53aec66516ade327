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
from pufferlib.policies.axis_scale import axis_scale
from pufferlib.policies.base import PolicySpec
from pufferlib.policies.normalization import ObservationNorm, flat_float

LOG_STD = -0.5  # initial log of the standard deviation, in the unit of the axis
# Of an axis of one value, whose deviation has no effect; its entropy is 0.
FIXED_LOG_STD = -0.5 * math.log(2 * math.pi * math.e)


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

    Means and deviations are relative to the scale of each axis (axis_scale.py): mean = middle +
    reach * output. An axis of one value has it as its mean, and nothing learns from what is drawn.
    """

    middle: Tensor  # (X,)
    reach: Tensor  # (X,) 0: the axis has one value
    varies: Tensor  # (X,) 1, or 0 if the axis has one value
    log_unit: Tensor  # (X,) log of reach; FIXED_LOG_STD if the axis has one value

    def __init__(self, spec: PolicySpec, hidden_size: int) -> None:
        super().__init__()
        self.sizes = [spec.num_choices, len(spec.low), 1]
        self.out = orthogonal(LastLayer(hidden_size, sum(self.sizes)), 1.0)
        # With small gains a new policy chooses almost uniformly, whatever it observes.
        for weight, gain in zip(self.weights(), (0.01, 0.01, 1.0), strict=True):
            if len(weight):
                nn.init.orthogonal_(weight, gain)
        if spec.low:
            scales = [axis_scale(*bounds) for bounds in zip(spec.low, spec.high, strict=True)]
            middle, reach = torch.tensor(scales).T.contiguous()
            varies = (reach > 0).float()
            log_unit = torch.where(reach > 0, reach.log(), FIXED_LOG_STD)
            self.register_buffer("middle", middle, persistent=False)
            self.register_buffer("reach", reach, persistent=False)
            self.register_buffer("varies", varies, persistent=False)
            self.register_buffer("log_unit", log_unit, persistent=False)
            self.log_std = nn.Parameter(torch.full((len(scales),), LOG_STD))

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
            log_std = self.log_unit + self.varies * self.log_std
        return Output(
            logits if self.sizes[0] else None,
            mean if self.sizes[1] else None,
            log_std,
            value.squeeze(-1),
        )
