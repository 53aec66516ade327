"""Kinds of observation, and the network and the training defaults that suit each. No torch here.

image    uint8 or bool of 2 or 3 dimensions, height x width x channels or channels first
choices  Discrete, MultiDiscrete: one-hot
bits     whole numbers that are 0 or 1: as they are
numbers  everything else: running mean 0 and deviation 1 where norm_obs is on
"""

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from gymnasium.spaces import Box, Discrete, MultiBinary, MultiDiscrete

from pufferenv.spaces import Packing, Part

IMAGE, CHOICES, BITS, NUMBERS = "image", "choices", "bits", "numbers"
MIN_SIDE = 5  # pixels of an image; less is no picture
NATURE_SIDE = 36  # pixels from which on the three layers of Mnih et al. 2015 have something to see


class Picture(NamedTuple):
    """Sizes of an image; `channel` says where its channels are: 0 first, 2 last, -1 none."""

    height: int
    width: int
    channels: int
    channel: int

    @property
    def large(self) -> bool:
        """Whether it is for the network of Mnih et al. 2015: photographs rather than maps."""
        return min(self.height, self.width) >= NATURE_SIDE


def picture(part: Part) -> Picture | None:
    """Return the sizes of an image; None: the part is none. The fewest are the channels."""
    if not isinstance(part.space, Box) or part.dtype != np.uint8:
        return None
    shape = part.shape
    if len(shape) == 2 and min(shape) >= NATURE_SIDE:
        return Picture(shape[0], shape[1], 1, -1)
    if len(shape) != 3:
        return None
    first = shape[0] < shape[2]
    height, width = shape[1:] if first else shape[:2]
    if min(height, width) < MIN_SIDE:
        return None
    return Picture(height, width, shape[0] if first else shape[2], 0 if first else 2)


def kind(part: Part) -> str:
    """Return which of the four a part is."""
    if isinstance(part.space, (Discrete, MultiDiscrete)):
        return CHOICES
    if picture(part):
        return IMAGE
    space: Any = part.space
    whole = part.dtype.kind in "iu"
    if isinstance(space, MultiBinary) or (whole and space.low.min() >= 0 and space.high.max() <= 1):
        return BITS
    return NUMBERS


def choices(part: Part) -> list[tuple[int, int]]:
    """Return (how many, the lowest) of each entry of a part of choices."""
    space: Any = part.space
    if isinstance(space, Discrete):
        return [(int(space.n), int(space.start))]
    pairs = zip(space.nvec.reshape(-1), space.start.reshape(-1), strict=True)
    return [(int(n), int(start)) for n, start in pairs]


def normalized(part: Part) -> bool:
    """Whether norm_obs is about this part: numbers, and small images, whose pixels are numbers."""
    image = picture(part)
    if image:
        return not image.large and part.space.dtype != np.bool_
    return kind(part) == NUMBERS


def is_flat(packing: Packing) -> bool:
    """Whether an observation is one array that a linear layer reads as it is."""
    return packing.is_plain and kind(packing.parts[0]) in (BITS, NUMBERS)


def network(packing: Packing) -> str:
    """Return the network that `policy.name=auto` stands for."""
    return "cnn" if any(kind(part) == IMAGE for part in packing.parts) else "mlp"


def plain(shape: tuple[int, ...], dtype: npt.DTypeLike) -> Packing:
    """Return the layout of an observation that is one array, as a game written in C shows it."""
    kind = np.dtype(dtype)
    ends: tuple[Any, Any] = (-np.inf, np.inf)
    if kind.kind in "iu":
        ends = (np.iinfo(kind).min, np.iinfo(kind).max)
    return Packing.of(Box(*ends, shape, dtype=kind.type))
