"""What several tests share: test games built on demand."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from pufferenv import games
from pufferenv._engine import Game

GAMES = Path(__file__).parent / "games"


@cache
def load_game(name: str, debug: bool = False) -> Game:
    """A game of tests/games, built if it changed and loaded."""
    return games.load(GAMES / f"{name}.h", debug=debug)


def short_episodes(game: str) -> dict[str, int]:
    """The config of a game of the ocean package that truncates long episodes at 50 steps."""
    fields = [field.name for field in games.load(game).config_fields]
    return {"max_steps": 50} if "max_steps" in fields else {}
