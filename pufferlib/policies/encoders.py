"""Encoders: the input layer for observations of several parts or of images.

Images go through convolutions, choices are encoded one-hot, and the rest is read as numbers; one
linear layer joins them.

Letters: N observations, *O one slot, *P one part, D hidden units.
"""

import math
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pufferlib.policies.base import PolicySpec
from pufferlib.policies.layers import InputLayer, orthogonal
from pufferlib.policies.normalization import ObservationNorm, flat_float
from pufferlib.policies.observation_kinds import (
    CHOICES,
    IMAGE,
    ImageSize,
    choices,
    image_size,
    kind,
)

MAX_CHOICES = 4096  # maximum number of one-hot columns of one part

# Filters, side and stride of each convolution.
NATURE = ((32, 8, 4), (64, 4, 2), (64, 3, 1))  # Mnih et al. 2015, methods; 32: conv_filters
SMALL = ((16, 3, 1), (32, 3, 1))  # for maps; above SMALL_SIDE the second has stride 2
SMALL_SIDE = 12  # pixels up to which the second convolution has stride 1


class Convolutions(nn.Module):
    """Encodes images (N, *P) as the env writes them: features (N, size), relu after each layer.

    conv_filters: filters of the first convolution of a large image; the others are in proportion.
    """

    def __init__(self, image: ImageSize, conv_filters: int = NATURE[0][0]) -> None:
        super().__init__()
        self.image = image
        self.scale = 1 / 255 if image.large else 1.0
        layers: tuple[tuple[int, int, int], ...] = SMALL
        if image.large:
            layers = tuple((n * conv_filters // NATURE[0][0], k, step) for n, k, step in NATURE)
        if not image.large and min(image.height, image.width) > SMALL_SIDE:
            layers = (*SMALL[:-1], (32, 3, 2))
        self.layers = nn.ModuleList()
        channels, height, width = image.channels, image.height, image.width
        for filters, side, stride in layers:
            layer = nn.Conv2d(channels, filters, side, stride)
            nn.init.orthogonal_(layer.weight, math.sqrt(2))
            nn.init.zeros_(cast(Tensor, layer.bias))
            self.layers.append(layer)
            channels = filters
            height, width = (height - side) // stride + 1, (width - side) // stride + 1
        self.size = channels * height * width

    def forward(self, image: Tensor) -> Tensor:
        """Encode images of integers or of normalized floats.

        The scale is applied to the first layer's weights, which are fewer than the pixels.
        """
        if self.image.channel_axis == -1:
            image = image.unsqueeze(1)
        elif self.image.channel_axis == 2:
            image = image.permute(0, 3, 1, 2)
        x = image
        if not image.is_floating_point():  # bytes are exact in bfloat16
            kind = image.device.type
            lower = torch.is_autocast_enabled(kind)
            x = image.to(torch.get_autocast_dtype(kind) if lower else torch.float32)
        for i, layer in enumerate(cast("list[nn.Conv2d]", list(self.layers))):
            weight = layer.weight if i or self.scale == 1 else layer.weight * self.scale
            x = F.conv2d(x, weight, layer.bias, layer.stride).relu_()
        return x.flatten(1)


class OneHot(nn.Module):
    """Choices (N, *P) int32 -> (N, size) float32, one column per entry and choice.

    An entry outside its choices has 0 in all of its columns.
    """

    owner: Tensor  # (size,) entry of each column
    value: Tensor  # (size,) choice of each column

    def __init__(self, choices: list[tuple[int, int]], name: str) -> None:
        super().__init__()
        self.size = sum(n for n, _ in choices)
        if self.size > MAX_CHOICES:
            raise ValueError(
                f"observation {name!r} has {self.size} choices; at most {MAX_CHOICES} are encoded "
                "one-hot: set policy.path to a network of your own"
            )
        owner = [k for k, (n, _) in enumerate(choices) for _ in range(n)]
        value = [start + i for n, start in choices for i in range(n)]
        self.register_buffer("owner", torch.tensor(owner), persistent=False)
        self.register_buffer("value", torch.tensor(value), persistent=False)

    def forward(self, chosen: Tensor) -> Tensor:
        """Encode choices."""
        flat = chosen.reshape(len(chosen), -1)
        return (flat.index_select(1, self.owner) == self.value).float()


class Flat(nn.Module):
    """Any part (N, *P) -> its entries (N, size) as float32, scaled."""

    def __init__(self, scale: float) -> None:
        super().__init__()
        self.scale = scale

    def forward(self, part: Tensor) -> Tensor:
        """Encode a part."""
        entries = flat_float(part, 1)
        return entries if self.scale == 1 else entries * self.scale


class Encoder(nn.Module):
    """The input layer for observations that are not flat; it replaces InputLayer.

    With `images`, images go through convolutions; otherwise they are read as rows of pixels.
    """

    def __init__(self, spec: PolicySpec, hidden_size: int, images: bool, conv_filters: int) -> None:
        super().__init__()
        self.parts = spec.parts
        self.each = nn.ModuleList()
        size = 0
        for part in spec.layout.parts:
            image, part_kind = image_size(part), kind(part)
            if part_kind == IMAGE and images:
                encoder: nn.Module = Convolutions(cast(ImageSize, image), conv_filters)
            elif part_kind == CHOICES:
                encoder = OneHot(choices(part), part.name or "of the env")
            else:
                encoder = Flat(1 / 255 if image and image.large else 1.0)
            self.each.append(encoder)
            size += getattr(encoder, "size", math.prod(part.shape))
        self.join = orthogonal(nn.Linear(size, hidden_size), math.sqrt(2))

    def forward(self, obs: Tensor, norm: ObservationNorm | None = None) -> Tensor:
        """Encode slots (N, *O) -> (N, D)."""
        views = self.parts.normal(obs, norm)
        encoded = [each(view) for each, view in zip(self.each, views, strict=True)]
        joined = encoded[0] if len(encoded) == 1 else torch.cat(encoded, 1)
        return cast(Tensor, self.join(joined))


def input_layer(
    spec: PolicySpec, hidden_size: int, images: bool = True, conv_filters: int = NATURE[0][0]
) -> InputLayer | Encoder:
    """Return the layer that reads observations: layer(obs (N, *O), norm) -> (N, D)."""
    if spec.parts.flat:
        return InputLayer(spec, hidden_size)
    return Encoder(spec, hidden_size, images, conv_filters)
