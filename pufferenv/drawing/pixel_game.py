"""PixelGame: a game whose observation is a picture of it (contract/drawing_object.h).

Its config has the game's own fields and then PIXEL_FIELDS. To the engine it is a game like any
other.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pufferenv.drawing._drawing import Drawing
from pufferenv.engine._engine import Game


class PixelGame(Game):
    """The pixel game in a drawing object. Raises ImportError for another file."""

    def __init__(self, path: str, header: Path | None = None) -> None:
        self.drawing = Drawing(path)  # gives the object the rasterizer
        super().__init__(path, header=header)

    def __reduce__(self) -> Any:
        return PixelGame, (self.path, self.header)
