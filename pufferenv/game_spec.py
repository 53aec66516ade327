"""GameSpec: one game bound to one config.

The shapes of observations and actions depend on the config: a grid of size 5 is observed as 5 x 5
cells. The config is checked and packed once, here. All code that steps a game, trains on it or
saves a policy for it reads shapes, heads and axes from the GameSpec.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from os import PathLike
from typing import Any

import numpy as np
import numpy.typing as npt
from gymnasium import Space
from gymnasium.spaces import Box, Dict, Discrete, MultiDiscrete

from pufferenv import pixels
from pufferenv.drawing.pixel_game import PixelGame
from pufferenv.engine._engine import Axis, Engine, Game, Head
from pufferenv.game_config import loaded, resolve
from pufferenv.spaces import Packing

GameLike = str | PathLike[str] | Game  # a name, the path of a header, or a loaded game


class GameSpec:
    """One game bound to one config; accepted wherever a game is.

    Letters: K discrete heads, C the sum of their choices, X continuous axes, *O one observation.
    """

    game: Game
    config: dict[str, int | float]  # every field of the header
    packed: bytes  # the game's struct Config
    env_agents: int  # agents of one env
    obs_shape: tuple[int, ...]  # *O
    obs_dtype: np.dtype[Any]
    heads: tuple[Head, ...]  # (K,)
    axes: tuple[Axis, ...]  # (X,)
    low: npt.NDArray[np.float32]  # (X,) bounds of the axes
    high: npt.NDArray[np.float32]  # (X,)

    def __init__(self, game: Game, config: Mapping[str, int | float]) -> None:
        """Bind `game` to a complete config whose values are legal; `of` checks them first."""
        self.game, self.config = game, dict(config)
        self.packed = game.pack(self.config)
        shapes = game.shapes(self.packed)
        self.env_agents, self.obs_shape = shapes.num_agents, shapes.obs_shape
        self.heads, self.axes = shapes.heads, shapes.axes
        self.obs_dtype = game.obs_dtype
        self.low = np.array([axis.low for axis in self.axes], np.float32)
        self.high = np.array([axis.high for axis in self.axes], np.float32)

    @classmethod
    def of(
        cls,
        game: GameLike | GameSpec,
        given: Mapping[str, Any] | None = None,
        *,
        debug: bool = False,
    ) -> GameSpec:
        """Load a game, check `given` against its header's table and bind it.

        given: some or all fields of the config; the others take the header's defaults. A game
            that draws has the fields of pufferenv/pixels.py as well: with `pixels` above 0 the
            observation is a picture, uint8 (frame_stack * pixel_channels, pixels, pixels).
        debug: load the game's debug object.
        A GameSpec is returned unchanged. Raises TypeError or ValueError for a value that is not
        legal, NotDrawn for pixels of a game that does not draw, and ValueError for a config given
        together with a GameSpec.
        """
        if not isinstance(game, GameSpec):
            found, config = pixels.select(loaded(game, debug), given or {})
            return cls(found, resolve(found, config))
        if given:
            raise ValueError(
                f"{game.name}: {', '.join(given)} given with a GameSpec, which has its config "
                "already: bind the game to the config that you mean"
            )
        loaded(game.game, debug)  # raises for a release object if debug is True
        return game

    @property
    def name(self) -> str:
        """Name of the game."""
        return self.game.name

    @property
    def pixels(self) -> dict[str, int | float]:
        """Return the fields of the observed picture; {} if the game's own observation is used."""
        on = isinstance(self.game, PixelGame)
        return {name: self.config[name] for name in pixels.NAMES} if on else {}

    @property
    def log_fields(self) -> tuple[tuple[str, str], ...]:
        """Return (name, doc) of each field of the game's log."""
        return self.game.log_fields

    @property
    def has_mask(self) -> bool:
        """True if the game masks illegal choices."""
        return self.game.has_mask

    @functools.cached_property
    def observation_space(self) -> Box:
        """Space of one agent's observation: (*O), bounded by its dtype."""
        dtype = self.obs_dtype
        if dtype.kind == "f":
            return Box(-np.inf, np.inf, self.obs_shape, dtype.type)
        info = np.iinfo(dtype)
        return Box(int(info.min), int(info.max), self.obs_shape, dtype.type)

    @functools.cached_property
    def action_space(self) -> Space[Any]:
        """Space of one agent's action.

        Discrete for one head, MultiDiscrete (K,) for several, Box (X,) for axes, Dict(discrete,
        continuous) for both.
        """
        spaces: dict[str, Space[Any]] = {}
        if self.heads:
            choices = [head.n for head in self.heads]
            spaces["discrete"] = (
                Discrete(choices[0]) if len(choices) == 1 else MultiDiscrete(choices)
            )
        if self.axes:
            spaces["continuous"] = Box(self.low, self.high, dtype=np.float32)
        return Dict(spaces) if len(spaces) > 1 else next(iter(spaces.values()))

    @property
    def description(self) -> Any:
        """The EnvDescription of an env written in Python; None for a game written in C."""
        return getattr(self.game, "description", None)

    @functools.cached_property
    def layout(self) -> Packing:
        """Layout of an observation in its slot: one array, or the parts of an external env's."""
        if self.description is None:
            return Packing.of(self.observation_space)
        packing: Packing = self.description.observations
        return packing

    def open(self, num_envs: int, **options: Any) -> Engine:
        """Make `num_envs` envs; `options` are the Engine's."""
        return self.game.open(self.packed, num_envs, **options)

    def __repr__(self) -> str:
        fields = "".join(f", {name}={value}" for name, value in self.config.items())
        return f"GameSpec({self.name}{fields})"
