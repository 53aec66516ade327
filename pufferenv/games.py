"""Games: their names, the object that a game is loaded from, and its training defaults.

A game is named by its header in the ocean package or by the path of a header. In a checkout, and
for a header anywhere else, `find` builds the object when it is missing or when a file that it
includes has changed, which takes less than a second. The games of an installed wheel are used as
they are.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pufferenv._installation import ROOT, is_checkout, selected
from pufferenv.toolchain import targets

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

if TYPE_CHECKING:
    from pufferenv.engine._engine import Game

GameLike = str | os.PathLike[str]


def names() -> list[str]:
    """Return the names of all games in the ocean package, sorted."""
    return list(targets.headers())


def find(game: GameLike, *, debug: bool = False, drawing: bool = False) -> Path:
    """Return the object to load; build it first if it is missing or out of date.

    drawing: the game's drawing object instead (contract/drawing.h).
    Raises ValueError for an unknown game, with the nearest name, and BuildError with the compiler's
    message or, without a compiler, the name of a package that contains one.
    """
    header = targets.header_of(game)
    variant = selected("debug" if debug else None)
    if header.parent == targets.OCEAN and not is_checkout():
        shipped = targets.object_path(header, variant, into=ROOT, drawing=drawing)
        if shipped.is_file():
            return shipped
    return targets.built_game(header, variant, drawing=drawing) or targets.build_game(
        header, variant, drawing=drawing
    )


def load(game: GameLike, *, debug: bool = False) -> Game:
    """Load the object that `find` returns for a game.

    Raises the errors of `find`, and ValueError if PUF_NAME is not the header's file name.
    """
    from pufferenv.engine._engine import Game

    loaded = Game(str(find(game, debug=debug)))
    header = targets.header_of(game)
    if loaded.name != header.stem:
        raise ValueError(f"{header}: PUF_NAME is {loaded.name!r}; it must be {header.stem!r}")
    return loaded


def defaults(game: GameLike) -> dict[str, dict[str, Any]]:
    """Return the TOML file beside the header: sections env, vec, train, policy; {} without one."""
    path = targets.header_of(game).with_suffix(".toml")
    if not path.is_file():
        return {}
    try:
        with path.open("rb") as file:
            tables: dict[str, dict[str, Any]] = tomllib.load(file)
    except ValueError as error:  # not TOML, or not even UTF-8
        raise ValueError(f"{path} is not TOML: {error}") from None
    return tables
