"""Parts: views of the parts of a packed observation, as a network reads them.

Letters: N observations, F entries of all parts that are normalized, *O one slot, *P one part.
"""

from typing import Any

import numpy as np
import torch
from torch import Tensor

from pufferenv.spaces import Packing
from pufferlib.policies.normalization import BOUND, INTEGER_BOUND, ObservationNorm, flat_float
from pufferlib.policies.observation_kinds import is_flat, is_normalized


class Parts:
    """The torch view of a Packing. A flat observation is one part and is normalized as a whole."""

    def __init__(self, packing: Packing) -> None:
        self.packing = packing
        self.flat = is_flat(packing)
        parts = packing.parts
        self.normalized = [i for i, part in enumerate(parts) if self.flat or is_normalized(part)]
        self.sizes = [int(np.prod(parts[i].shape)) for i in self.normalized]

    @property
    def num_normalized(self) -> int:
        """The number of entries F that an ObservationNorm normalizes."""
        return sum(self.sizes)

    @property
    def bounds(self) -> Tensor:
        """The bounds (F,) of those entries once they are normalized."""
        of_parts = [
            torch.full((size,), BOUND if self.packing.parts[i].dtype.kind == "f" else INTEGER_BOUND)
            for i, size in zip(self.normalized, self.sizes, strict=True)
        ]
        return torch.cat(of_parts) if of_parts else torch.zeros(0)

    def views(self, obs: Tensor) -> list[Tensor]:
        """Return slots (N, *O) as one view (N, *P) per part."""
        return self.packing.views(obs, lambda dtype: getattr(torch, dtype.name))

    def numbers(self, obs: Tensor) -> Tensor:
        """Return those entries (N, F) of slots (N, *O) that are normalized, as float32."""
        if self.flat:
            return flat_float(obs, 1)
        views = self.views(obs)
        return torch.cat([flat_float(views[i], 1) for i in self.normalized], 1)

    def normal(self, obs: Tensor, norm: ObservationNorm | None) -> list[Tensor]:
        """Return slots (N, *O) as one tensor (N, *P) per part.

        With `norm`, the parts that it normalizes become float32.
        """
        views = self.views(obs)
        if norm is None:
            return views
        first = 0
        for i, size in zip(self.normalized, self.sizes, strict=True):
            last = first + size
            entries = norm(flat_float(views[i], 1), slice(first, last))
            views[i] = entries.view(views[i].shape)
            first = last
        return views

    def nest(self, obs: Tensor, norm: ObservationNorm | None) -> Any:
        """Return slots (N, *O) as the env's dicts and tuples, with leaves (N, *P)."""
        return self.packing.nest(list(self.normal(obs, norm)))
