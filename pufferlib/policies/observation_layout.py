"""Parts: a packed observation as a network reads it, part by part, as views of the slot.

Letters: N observations, F entries of all parts that are normalized, *O one slot, *P one part.
"""

from typing import Any

import numpy as np
import torch
from torch import Tensor

from pufferenv.spaces import Packing
from pufferlib.policies.normalization import ObservationNorm, flat_float
from pufferlib.policies.observation_kinds import is_flat, normalized

BOUND = 10.0  # deviations from the mean that a normalized entry is clipped to


class Parts:
    """The torch side of a Packing. What is flat is read as it is, and normalized whole."""

    def __init__(self, packing: Packing) -> None:
        self.packing = packing
        self.flat = is_flat(packing)
        parts = packing.parts
        self.normalized = [i for i, part in enumerate(parts) if self.flat or normalized(part)]
        self.sizes = [int(np.prod(parts[i].shape)) for i in self.normalized]

    @property
    def num_normalized(self) -> int:
        """F: what an ObservationNorm for these observations has to know."""
        return sum(self.sizes)

    def views(self, obs: Tensor) -> list[Tensor]:
        """Slots (N, *O) -> one (N, *P) per part, no copies."""
        return self.packing.views(obs, lambda dtype: getattr(torch, dtype.name))

    def numbers(self, obs: Tensor) -> Tensor:
        """Slots (N, *O) -> the entries (N, F) that are normalized, float32."""
        if self.flat:
            return flat_float(obs, 1)
        views = self.views(obs)
        return torch.cat([flat_float(views[i], 1) for i in self.normalized], 1)

    def normal(self, obs: Tensor, norm: ObservationNorm | None) -> list[Tensor]:
        """Slots (N, *O) -> one (N, *P) per part; what is normalized is float32 and clipped."""
        views = self.views(obs)
        if norm is None:
            return views
        first = 0
        for i, size in zip(self.normalized, self.sizes, strict=True):
            last = first + size
            entries = (flat_float(views[i], 1) - norm.mean[first:last]) * norm.scale[first:last]
            views[i] = entries.clamp_(-BOUND, BOUND).view(views[i].shape)
            first = last
        return views

    def nest(self, obs: Tensor, norm: ObservationNorm | None) -> Any:
        """Slots (N, *O) -> dicts and tuples of (N, *P), as the env's own space nests them."""
        return self.packing.nest(list(self.normal(obs, norm)))
