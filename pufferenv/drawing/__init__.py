"""Pictures of games: display lists, the rasterizer, windows and terminals; see docs/drawing.md."""

from pufferenv._installation import built_path

__path__[:0] = built_path("pufferenv.drawing._drawing", __path__)
