"""Layers that all networks share: the input layer, the heads, activations.

Letters: N agents that act, *O one observation, F its entries, D hidden units, C choices of all
discrete heads together, X continuous axes.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pufferlib.ops.output import Output
from pufferlib.policies.base import PolicySpec
from pufferlib.policies.normalization import ObservationNorm, flat_float

ACTIVATIONS: dict[str, type[nn.Module]] = {
    "relu": nn.ReLU,
    "tanh": nn.Tanh,
    "gelu": nn.GELU,
    "silu": nn.SiLU,
    "elu": nn.ELU,
}
LOG_STD = -0.5  # a new policy's log deviation, in halves of an axis's range


def orthogonal(layer: nn.Linear, gain: float) -> nn.Linear:
    """Give `layer` an orthogonal weight (Saxe et al. 2014) of this gain and a bias of 0."""
    nn.init.orthogonal_(layer.weight, gain)
    nn.init.zeros_(layer.bias)
    return layer


class InputLayer(nn.Linear):
    """The first layer: reads raw observations where they are, strided or not, and normalizes by
    changed weights instead of changed observations."""

    def __init__(self, spec: PolicySpec, hidden_size: int) -> None:
        super().__init__(spec.obs_size, hidden_size)
        orthogonal(self, math.sqrt(2))

    def weights(self, norm: ObservationNorm | None) -> tuple[Tensor, Tensor]:
        """Weight (D, F) and bias (D,) for raw observations, the normalization folded in."""
        return (self.weight, self.bias) if norm is None else norm.fold(self.weight, self.bias)

    def forward(self, obs: Tensor, norm: ObservationNorm | None = None) -> Tensor:
        """Obs (N, *O) of any dtype -> (N, D)."""
        flat = flat_float(obs, 1)
        if norm is not None and torch.is_autocast_enabled(flat.device.type):
            flat, norm = norm(flat), None  # before digits are lost
        return F.linear(flat, *self.weights(norm))


class LastLayer(nn.Linear):
    """The heads': of the weights' own dtype under autocast too, for it costs little, and a value
    of bfloat16's three digits would drown what an action is worth."""

    def forward(self, x: Tensor) -> Tensor:
        """Units (N, D) of any dtype -> (N, C + X + 1)."""
        with torch.autocast(x.device.type, enabled=False):
            return super().forward(x.to(self.weight.dtype))


class Heads(nn.Module):
    """The last layer: hidden units to logits, means and value, in one product."""

    middle: Tensor  # (X,) of each axis's range, and half its width; without a range 0 and 1
    reach: Tensor

    def __init__(self, spec: PolicySpec, hidden_size: int) -> None:
        super().__init__()
        self.sizes = [spec.num_choices, len(spec.low), 1]
        self.out = orthogonal(LastLayer(hidden_size, sum(self.sizes)), 1.0)
        for part, gain in zip(self.parts(), (0.01, 0.01, 1.0), strict=True):
            if len(part):
                nn.init.orthogonal_(part, gain)
        if spec.low:
            bounds = [
                ((low + high) / 2, (high - low) / 2) if math.isfinite(high - low) else (0.0, 1.0)
                for low, high in zip(spec.low, spec.high, strict=True)
            ]
            self.register_buffer("middle", torch.tensor([m for m, _ in bounds]), persistent=False)
            self.register_buffer("reach", torch.tensor([h for _, h in bounds]), persistent=False)
            self.log_std = nn.Parameter(torch.full((len(bounds),), LOG_STD))

    def parts(self) -> tuple[Tensor, ...]:
        """Return the weights (C, D) of the logits, (X, D) of the means, (1, D) of the value."""
        return torch.split(self.out.weight.detach(), self.sizes)

    def forward(self, hidden: Tensor) -> Output:
        """Hidden (N, D) -> output of N."""
        return self.split(self.out(hidden))

    def split(self, out: Tensor) -> Output:
        """Tell apart what the product (N, C + X + 1) holds."""
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
