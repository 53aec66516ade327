"""Kinds of observation, and how a network treats each. This file imports no torch.

image    uint8 or bool of 2 or 3 dimensions: height x width x channels, or channels first
choices  Discrete, MultiDiscrete: encoded one-hot
bits     integers that are 0 or 1: read unchanged
numbers  everything else: normalized to mean 0 and deviation 1 if train.norm_obs is on
"""

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from gymnasium.spaces import Box, Discrete, MultiBinary, MultiDiscrete

from pufferenv.spaces import ObservationPart, Packing

IMAGE, CHOICES, BITS, NUMBERS = "image", "choices", "bits", "numbers"
MIN_SIDE = 5  # pixels; smaller arrays are read as numbers, not as images
NATURE_SIDE = 36  # pixels; the minimum for the three convolutions of Mnih et al. 2015


class ImageSize(NamedTuple):
    """The size of an image; `channel_axis` is 0 or 2, or -1 for an image without channels."""

    height: int
    width: int
    channels: int
    channel_axis: int

    @property
    def large(self) -> bool:
        """Whether it is large enough for the network of Mnih et al. 2015: a screen, not a map."""
        return min(self.height, self.width) >= NATURE_SIDE


def image_size(part: ObservationPart) -> ImageSize | None:
    """Return the size of an image, or None if the part is not an image.

    Of three dimensions the first or the last holds the channels: of a square image the one that
    differs, else the smaller one.
    """
    if not isinstance(part.space, Box) or part.dtype != np.uint8:
        return None
    shape = part.shape
    if len(shape) == 2 and min(shape) >= NATURE_SIDE:
        return ImageSize(shape[0], shape[1], 1, -1)
    if len(shape) != 3:
        return None
    square = (shape[1] == shape[2]) != (shape[0] == shape[1])
    first = shape[1] == shape[2] if square else shape[0] < shape[2]
    height, width = shape[1:] if first else shape[:2]
    if min(height, width) < MIN_SIDE:
        return None
    return ImageSize(height, width, shape[0] if first else shape[2], 0 if first else 2)


def kind(part: ObservationPart) -> str:
    """Return the kind of a part: IMAGE, CHOICES, BITS or NUMBERS."""
    if isinstance(part.space, (Discrete, MultiDiscrete)):
        return CHOICES
    if image_size(part):
        return IMAGE
    space: Any = part.space
    integers = part.dtype.kind in "iu"
    if isinstance(space, MultiBinary):
        return BITS
    if integers and space.low.min() >= 0 and space.high.max() <= 1:
        return BITS
    return NUMBERS


def choices(part: ObservationPart) -> list[tuple[int, int]]:
    """Return (number of choices, lowest choice) of each entry of a part of kind CHOICES."""
    space: Any = part.space
    if isinstance(space, Discrete):
        return [(int(space.n), int(space.start))]
    pairs = zip(space.nvec.reshape(-1), space.start.reshape(-1), strict=True)
    return [(int(n), int(start)) for n, start in pairs]


def is_normalized(part: ObservationPart) -> bool:
    """Return whether norm_obs normalizes a part: numbers, and small images of uint8."""
    image = image_size(part)
    if image:
        return not image.large and part.space.dtype != np.bool_
    return kind(part) == NUMBERS


def is_flat(packing: Packing) -> bool:
    """Return whether an observation is one array that a linear layer can read directly."""
    return packing.is_plain and kind(packing.parts[0]) in (BITS, NUMBERS)


def auto_network(packing: Packing) -> str:
    """Return the network that `policy.name=auto` chooses: cnn if there is an image, else mlp."""
    return "cnn" if any(kind(part) == IMAGE for part in packing.parts) else "mlp"


def array_layout(shape: tuple[int, ...], dtype: npt.DTypeLike) -> Packing:
    """Return the layout of an observation that is one array, as in games written in C."""
    kind = np.dtype(dtype)
    bounds: tuple[Any, Any] = (-np.inf, np.inf)
    if kind.kind in "iu":
        bounds = (np.iinfo(kind).min, np.iinfo(kind).max)
    return Packing.of(Box(*bounds, shape, dtype=kind.type))
