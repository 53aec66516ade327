"""Display lists of envs, and pictures of them. numpy only.

Letters in shapes: n envs, H, W height and width in pixels, C channels: 1 grey, 3 RGB, 4 RGBA.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from pufferenv.engine._engine import Field

MOST_SIDE: int  # pixels of a picture's side
MOST_WORDS: int  # of a display list
PIXEL_FIELDS: tuple[Field, ...]  # the pixel game's config fields after the game's own

class KeyBinding(NamedTuple):
    """One row of a game's PUF_KEYS."""

    action: str  # name of a head or of an axis
    choice: float  # of the head, or value of the axis
    keys: str
    label: str

class DisplayListError(RuntimeError):
    """A game draws something that cannot be shown: too much, or at no finite place."""

class DisplayList:
    """The shapes of one env and the part of the world that they show.

    words: the list, as pufferenv/draw.h describes it. view: x, y, width, height in world units.
    """

    words: npt.NDArray[np.uint32]
    view: tuple[float, float, float, float]
    def __init__(
        self, words: npt.NDArray[np.uint32], view: tuple[float, float, float, float]
    ) -> None: ...
    def raster(self, image: npt.NDArray[np.uint8]) -> None:
        """Draw into an array (H, W, C) of any positive strides.

        The view fills it as far as its shape allows, in the middle. Raises TypeError or ValueError
        for an image that cannot be drawn into, DisplayListError for a shape that is not finite.
        """
    def interpolated(self, later: DisplayList, t: float) -> DisplayList:
        """Return what is seen at time t between this list, 0, and that of the next step, 1.

        Shapes that have a key move from their place here to that in `later`: the n-th shape of a
        key is the n-th of that key there, if it is of the same kind. Sizes and colours change, too.
        Points of paths and polygons correspond from the first one on, and the last one to the last;
        if one has more, those come from the last point of the other, as a snake grows at its tail.
        Everything else is as here while t < 0.5, and then as in `later`: things that appear or
        vanish, shapes without a key, letters, and things that move farther than 12 % of the view's
        width. The view moves likewise.

        Raises ValueError for a t outside of [0, 1], DisplayListError for a list that is not legal.
        """
    def agent_at(self, x: float, y: float, reach: float = 0) -> int:
        """Return the agent whose shapes are topmost within `reach` of (x, y); -1: there is none.

        Coordinates are world units. Shapes that show no agent hide none.
        """
    def outline(self, agent: int) -> tuple[float, float, float, float] | None:
        """Return x, y, width, height of the smallest rectangle around an agent's shapes.

        In world units; None if no shape shows that agent.
        """

class Drawing:
    """How a game draws itself: its drawing object, which stays loaded.

    `config` is what `Game.pack` returned, and `engine` the Engine whose envs are drawn. Threads
    that use one Drawing wait for each other. Raises ImportError for a file that is not a drawing
    object.
    """

    path: str
    name: str
    source: str  # equal to that of the Game
    keys: tuple[KeyBinding, ...]
    def __init__(self, path: str) -> None: ...
    def pace(self, config: bytes) -> float:
        """Return the steps per second at which a person watches."""
    def view(self, config: bytes) -> tuple[float, float, float, float]:
        """Return x, y, width and height of the world that a picture shows, in world units."""
    def draw(self, engine: Any, env: int, config: bytes, agent: int = -1) -> DisplayList:
        """Return the display list of one env as `agent` sees it; -1: as everybody does."""
    def render(
        self,
        engine: Any,
        envs: Sequence[int],
        config: bytes,
        images: npt.NDArray[np.uint8],
        agents: Sequence[int] | None = None,
    ) -> None:
        """Draw envs (n,) into images (n, H, W, C), each as its agent of `agents` (n,) sees it.

        Raises DisplayListError for a list that is too long or not finite, and RuntimeError while
        the engine is in a step.
        """
