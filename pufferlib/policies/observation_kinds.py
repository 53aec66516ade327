"""Kinds of observation, and the network and the training defaults that suit each. No torch here.

image    uint8 or bool of 2 or 3 dimensions, height x width x channels or channels first
choices  Discrete, MultiDiscrete: one-hot
bits     whole numbers that are 0 or 1: as they are
numbers  everything else: running mean 0 and deviation 1 where norm_obs is on
"""

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt
from gymnasium.spaces import Box, Discrete, MultiBinary, MultiDiscrete

from pufferenv.spaces import Packing, Part
from pufferlib.config.networks import RECURRENT

if TYPE_CHECKING:
    from pufferenv.engine._engine import Game

IMAGE, CHOICES, BITS, NUMBERS = "image", "choices", "bits", "numbers"
MIN_SIDE = 5  # pixels of an image; less is no picture
FAR = 50  # steps that an episode is taken to last where nobody says how many it may
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


def layout(game: "Game", config: bytes) -> Packing:
    """Return how a game's observation lies in its slot."""
    description = getattr(game, "description", None)  # an external env's
    if description is not None:
        packing: Packing = description.observations
        return packing
    return plain(game.obs_shape(config), game.obs_dtype)


def defaults(
    packing: Packing, asked: str = "auto", limit: int | None = None
) -> dict[str, dict[str, Any]]:
    """Return the settings that external envs train with: few envs, normalization, reuse of steps.

    `asked` is the network that the user names: one that remembers learns from longer rows. `limit`:
    steps after which episodes are truncated, None: unknown; the discount looks twice as far.
    Rewards of unknown size are divided by the running deviation of returns. The figures that they
    were chosen by are in docs/external.md.
    """
    large = any((image := picture(part)) and image.large for part in packing.parts)
    norm_obs = any(normalized(part) for part in packing.parts)
    train = {
        "total_timesteps": 1_000_000,
        "horizon": 64,
        "minibatch_size": 256,
        "update_epochs": 8,
        "learning_rate": 1e-3,
        "ent_coef": 0.01,
        "gamma": round(1 - 0.5 / min(max(limit or FAR, 10), 500), 4),
        "gae_lambda": 0.95,
        "norm_obs": norm_obs,
        "norm_return": True,
        "eval_episodes": 20,
        "threads": 0 if large else 1,  # a second core is of more use to the envs
    }
    name = network(packing)
    policy: dict[str, Any] = {"name": name, "hidden_size": 128, "activation": "relu"}
    if name == "mlp":  # with relu Acrobot is never solved
        policy |= {"hidden_size": 64, "activation": "tanh"}
        train |= {"ent_coef": 0.002, "gae_lambda": 0.98}
        if asked in RECURRENT:
            train |= {"horizon": 128, "minibatch_size": 512, "ent_coef": 0.0}
            train |= {"gamma": 0.99, "gae_lambda": 0.9}
    if large:  # Mnih et al. 2015; Huang et al. 2022, the 37 implementation details, for Atari
        train |= {"total_timesteps": 10_000_000, "horizon": 128, "update_epochs": 4}
        train |= {"learning_rate": 2.5e-4, "reward_clip": 1.0, "norm_return": False}
        train["gamma"] = 0.99
        policy |= {"hidden_size": 512, "num_layers": 1}
    return {"vec": {"num_envs": 16}, "train": train, "policy": policy}
