"""Encoders: images by convolutions, choices one-hot, the rest as numbers, joined by one layer.

Letters as in policy.py; P entries of all parts after their encoding.
"""

import math
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pufferlib.policies.base import PolicySpec
from pufferlib.policies.layers import InputLayer, orthogonal
from pufferlib.policies.normalization import ObservationNorm, flat_float
from pufferlib.policies.observation_kinds import CHOICES, IMAGE, Picture, choices, kind, picture

MAX_CHOICES = 4096  # of one part, together: what is sensible one-hot

# Mnih et al. 2015, methods: 32 filters 8x8 stride 4, 64 of 4x4 stride 2, 64 of 3x3
NATURE = ((32, 8, 4), (64, 4, 2), (64, 3, 1))
SMALL = ((16, 3, 1), (32, 3, 1))  # maps of a few cells; larger ones with stride 2
SMALL_SIDE = 12  # pixels up to which the second layer sees every place


class Convolutions(nn.Module):
    """Image (N, *P) as the env gives it -> features (N, size), rectified."""

    def __init__(self, sizes: Picture) -> None:
        super().__init__()
        self.sizes = sizes
        self.scale = 1 / 255 if sizes.large else 1.0
        layers = NATURE if sizes.large else SMALL
        if not sizes.large and min(sizes.height, sizes.width) > SMALL_SIDE:
            layers = (*SMALL[:-1], (32, 3, 2))
        self.layers = nn.ModuleList()
        channels, height, width = sizes.channels, sizes.height, sizes.width
        for filters, side, stride in layers:
            layer = nn.Conv2d(channels, filters, side, stride)
            nn.init.orthogonal_(layer.weight, math.sqrt(2))
            nn.init.zeros_(cast(Tensor, layer.bias))
            self.layers.append(layer)
            channels = filters
            height, width = (height - side) // stride + 1, (width - side) // stride + 1
        self.size = channels * height * width

    def forward(self, image: Tensor) -> Tensor:
        """Whole numbers or normalized floats; the scale is in the first layer's weights."""
        if self.sizes.channel == -1:
            image = image.unsqueeze(1)
        elif self.sizes.channel == 2:
            image = image.permute(0, 3, 1, 2)
        x = image if image.is_floating_point() else image.float()
        for i, layer in enumerate(cast("list[nn.Conv2d]", list(self.layers))):
            weight = layer.weight if i or self.scale == 1 else layer.weight * self.scale
            x = F.conv2d(x, weight, layer.bias, layer.stride).relu_()
        return x.flatten(1)


class OneHot(nn.Module):
    """Choices (N, *P) int32 -> (N, size): one of each choice's places is 1, for others none."""

    owner: Tensor  # (size,) the choice that a place belongs to
    value: Tensor  # (size,) that it stands for

    def __init__(self, choices: list[tuple[int, int]], name: str) -> None:
        super().__init__()
        self.size = sum(n for n, _ in choices)
        if self.size > MAX_CHOICES:
            raise ValueError(
                f"observation {name!r} has {self.size} choices, more than {MAX_CHOICES} are not "
                "encoded one-hot: give a network of your own, policy.path"
            )
        owner = [k for k, (n, _) in enumerate(choices) for _ in range(n)]
        value = [start + i for n, start in choices for i in range(n)]
        self.register_buffer("owner", torch.tensor(owner), persistent=False)
        self.register_buffer("value", torch.tensor(value), persistent=False)

    def forward(self, chosen: Tensor) -> Tensor:
        """Return float32."""
        flat = chosen.reshape(len(chosen), -1)
        return (flat.index_select(1, self.owner) == self.value).float()


class Encoder(nn.Module):
    """The first layer for what is not flat; takes the place of InputLayer.

    images: by convolutions, otherwise as rows of pixels.
    """

    def __init__(self, spec: PolicySpec, hidden_size: int, images: bool = True) -> None:
        super().__init__()
        self.parts = spec.parts
        self.each = nn.ModuleList()
        size = 0
        for part in spec.layout.parts:
            what = kind(part)
            if what == IMAGE and images:
                made: nn.Module = Convolutions(cast(Picture, picture(part)))
            elif what == CHOICES:
                made = OneHot(choices(part), part.name or "of the env")
            else:
                sizes = picture(part)
                made = Flat(1 / 255 if sizes and sizes.large else 1.0)
            self.each.append(made)
            size += getattr(made, "size", math.prod(part.shape))
        self.join = orthogonal(nn.Linear(size, hidden_size), math.sqrt(2))

    def forward(self, obs: Tensor, norm: ObservationNorm | None = None) -> Tensor:
        """Slots (N, *O) -> (N, D)."""
        views = self.parts.normal(obs, norm)
        encoded = [each(view) for each, view in zip(self.each, views, strict=True)]
        joined = encoded[0] if len(encoded) == 1 else torch.cat(encoded, 1)
        return cast(Tensor, self.join(joined))


class Flat(nn.Module):
    """Any part (N, *P) -> its entries, scaled."""

    def __init__(self, scale: float) -> None:
        super().__init__()
        self.scale = scale

    def forward(self, part: Tensor) -> Tensor:
        """Return float32 (N, entries)."""
        entries = flat_float(part, 1)
        return entries if self.scale == 1 else entries * self.scale


def input_layer(spec: PolicySpec, hidden_size: int, images: bool = True) -> InputLayer | Encoder:
    """Return the layer that reads observations (N, *O) as they are: `layer(obs, norm)` (N, D)."""
    flat = spec.parts.flat
    return InputLayer(spec, hidden_size) if flat else Encoder(spec, hidden_size, images)
