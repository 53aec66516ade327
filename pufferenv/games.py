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
    from pufferenv.drawing._drawing import Drawing
    from pufferenv.engine._engine import Game

GameLike = str | os.PathLike[str]

FIRST_DRAWING = """\
static void env_draw(const Env *env, PufCanvas *c) {
    (void)env; // what it holds is drawn here
    puf_rect(c, 0, 0, 10, 10, PUF_NIGHT);
    puf_text(c, 5, 5, 1, 0, PUF_WHITE, "%s", PUF_NAME);
}"""


class NotDrawn(ValueError):
    """A game has no env_draw, so there is no picture of it; the message shows how to add one."""


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


def load(game: GameLike, *, debug: bool = False, pixels: bool = False) -> Game:
    """Load the object that `find` returns for a game.

    pixels: the game as it is seen (drawing/pixel_game.py), whose observation is a picture.
    Raises the errors of `find`, ValueError if PUF_NAME is not the header's file name, and NotDrawn
    for pixels of a game without env_draw.
    """
    from pufferenv.engine._engine import Game

    header = targets.header_of(game)
    loaded = Game(str(find(game, debug=debug)), header=header)
    if loaded.name != header.stem:
        raise ValueError(f"{header}: PUF_NAME is {loaded.name!r}; it must be {header.stem!r}")
    if not pixels:
        return loaded
    from pufferenv.drawing.pixel_game import PixelGame

    return PixelGame(str(find(_drawn(loaded), debug=debug, drawing=True)), header)


def drawing(game: Game) -> Drawing:
    """Load the drawing object of a loaded game.

    Raises NotDrawn if its header has no env_draw, BuildError if that does not compile, and
    ValueError for a game that was not loaded from a header.
    """
    from pufferenv.drawing._drawing import Drawing

    return Drawing(str(find(_drawn(game), drawing=True)))


def _drawn(game: Game) -> Path:
    """Return the header of a game that draws; raise the errors of `drawing`."""
    if not game.draws:
        raise NotDrawn(
            f"{game.name} does not draw itself: its header has no env_draw. To begin, add "
            "`#define PUF_VIEW(c) 10, 10` above the #include, the size of what a picture shows, "
            f"and at the end of the header:\n\n{FIRST_DRAWING}\n\npufferenv/draw.h has all shapes"
        )
    if game.header is None:
        raise ValueError(
            f"{game.path} was loaded from an object, and its drawing is another object of the same "
            "header: give the game's name or the path of its header"
        )
    return game.header


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
