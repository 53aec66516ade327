"""Pixels as observations: the choice between a game and its pixel game by the config.

The fields `pixels`, `pixel_channels` and `frame_stack` are in no header: every game that draws has
them. A config with `pixels` selects its pixel game, a PixelGame, whose config holds them after the
game's own fields. A header's own field of one of these names keeps its meaning, and then the game
cannot be observed as pixels.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pufferenv import games
from pufferenv.drawing._drawing import PIXEL_FIELDS
from pufferenv.drawing.pixel_game import PixelGame
from pufferenv.engine._engine import Field, Game

PIXELS = "pixels"  # the field that turns the others on
NAMES = tuple(field.name for field in PIXEL_FIELDS)


def fields(game: Game) -> tuple[Field, ...]:
    """Return the fields that a config of `game` may have beside those of its header."""
    if isinstance(game, PixelGame) or not game.draws or _own(game):
        return ()
    return PIXEL_FIELDS


def on(game: Game, config: Mapping[str, Any]) -> bool:
    """Return whether a config of `game`, checked and complete, asks for pixels."""
    return bool(fields(game)) and bool(config.get(PIXELS))


def select(game: Game, given: Mapping[str, Any]) -> tuple[Game, dict[str, Any]]:
    """Return the game that a config asks for, `game` or its pixel game, and the config of that.

    Raise NotDrawn for pixels of a game that does not draw, ValueError where there can be none and
    for the other fields without `pixels`.
    """
    own = _own(game)
    asked = {name: given[name] for name in NAMES if name in given and name not in own}
    rest = {name: value for name, value in given.items() if name not in asked}
    if isinstance(game, PixelGame):
        if not given.get(PIXELS):
            raise ValueError(
                f"{game.name} was loaded with pixels=True: give `pixels`, the side of its picture, "
                "such as pixels=84"
            )
    elif not asked:
        return game, rest
    elif own:
        raise ValueError(
            f"{', '.join(asked)}: {game.name} cannot be observed as pixels, because its header has "
            f"a config field of its own that is named {own[0]}; rename that field"
        )
    elif not asked.get(PIXELS, 0):
        others = ", ".join(f"{name}={value}" for name, value in asked.items() if name != PIXELS)
        if others:
            raise ValueError(
                f"{game.name}: {others} without pixels: give pixels as well, the side of the "
                "observed picture, such as pixels=84"
            )
        return game, rest
    if given.get("pixel_channels") == 2:
        raise ValueError(f"{game.name}: pixel_channels=2 must be 1 for grey or 3 for RGB")
    return _pixel_game(game, asked), dict(given)


def not_of_python(name: str) -> str:
    """Return the message for pixels of an environment that is written in Python."""
    return (
        f"pixels are for games that draw themselves in C; {name} is written in Python. To observe "
        "what it renders, wrap a function that makes it with render_mode='rgb_array' and wraps it "
        "in gymnasium.wrappers.AddRenderObservation, ResizeObservation and FrameStackObservation. "
        "Atari games (ale:) are observed as pixels already"
    )


def _own(game: Game) -> list[str]:
    """Return the names of PIXEL_FIELDS that the header itself has as fields."""
    if isinstance(game, PixelGame):
        return []
    return [field.name for field in game.config_fields if field.name in NAMES]


def _pixel_game(game: Game, asked: Mapping[str, Any]) -> Game:
    if isinstance(game, PixelGame):
        return game
    if hasattr(game, "description"):  # an external env
        raise ValueError(not_of_python(game.name))
    if game.header is None:
        games.drawing(game)  # raises
    assert game.header is not None
    return games.load(game.header, debug=game.debug, pixels=True)
