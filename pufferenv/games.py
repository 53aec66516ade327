"""The games at hand: their names, the object that a game is loaded from, its training defaults.

A game is a name of the ocean package or a path to a header. In a checkout, and for a header from
anywhere, the object always is what the header is now: `find` builds it when it is missing or when
anything it includes changed (under a second). An installed wheel's games are taken as they came.
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
    """All games of the ocean package, sorted."""
    return list(targets.headers())


def find(game: GameLike, *, debug: bool = False) -> Path:
    """Return the object to load, built first where it is not what the header is now.

    Raises ValueError for an unknown game (with the nearest name), BuildError with the compiler's
    message, or with the package to install where there is no compiler.
    """
    header = targets.header_of(game)
    variant = selected("debug" if debug else None)
    if header.parent == targets.OCEAN and not is_checkout():
        shipped = targets.object_path(header, variant, into=ROOT)
        if shipped.is_file():
            return shipped
    return targets.built_game(header, variant) or targets.build_game(header, variant)


def load(game: GameLike, *, debug: bool = False) -> Game:
    """Load a game's object, found or built as `find` does it.

    Raises what `find` raises, and ValueError where PUF_NAME is not the header's file name.
    """
    from pufferenv.engine._engine import Game

    loaded = Game(str(find(game, debug=debug)))
    header = targets.header_of(game)
    if loaded.name != header.stem:
        raise ValueError(f"{header}: PUF_NAME is {loaded.name!r}, must be {header.stem!r}")
    return loaded


def defaults(game: GameLike) -> dict[str, dict[str, Any]]:
    """Read the TOML file beside the header: sections env, vec, train, policy; {} without one."""
    path = targets.header_of(game).with_suffix(".toml")
    if not path.is_file():
        return {}
    try:
        with path.open("rb") as file:
            tables: dict[str, dict[str, Any]] = tomllib.load(file)
    except tomllib.TOMLDecodeError as error:
        raise ValueError(f"{path} is not TOML: {error}") from None
    return tables
