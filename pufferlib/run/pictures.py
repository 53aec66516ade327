"""Pictures of some envs of one engine, also of what is between two of their steps.

Letters: n envs, H, W height and width of a frame in pixels.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from pufferenv.drawing._drawing import DisplayList
from pufferenv.drawing.hud import with_frame
from pufferenv.drawing.rendering import FrameSource
from pufferlib.run.screens import Frame, Screen


class Pictures:
    """Draws envs (n,) of an engine, each as one agent sees it.

    agents: returns these agents (n,) before each picture; -1: as everybody sees it.
    between: whether what is between two steps is to be drawn as well; `step` then costs a display
        list of each env.
    """

    def __init__(
        self,
        source: FrameSource,
        engine: Any,
        envs: Sequence[int],
        agents: Callable[[], Sequence[int]],
        *,
        between: bool = False,
    ) -> None:
        self.source, self.between = source, between
        self.outlined = [-1] * len(envs)  # (n,) the agent of each env that has a frame; -1: none
        self._engine, self._envs, self._agents = engine, envs, agents
        self._still: npt.NDArray[np.uint8] | None = None  # the frames of this step, once drawn
        self._before: list[DisplayList] | None = None  # (n,) of the step before
        self.now: list[DisplayList] | None = None  # (n,) of this one, if `between`

    def step(self) -> None:
        """Take over the state after a step."""
        self._still = None
        if self.between:
            self._before, self.now = self.now, self._lists()

    def rest(self) -> None:
        """Take the state of now for that of the step before: no step is made."""
        self._before = None

    def begin(self) -> None:
        """Take over the state at the beginning of an episode, to which nothing moves."""
        self._still = None
        self._before, self.now = None, self._lists() if self.between else None

    def frames(self, t: float = 1.0) -> npt.NDArray[np.uint8]:
        """Draw the envs: (n, H, W, 3) at time `t` between the step before, 0, and this one, 1."""
        source, now, before = self.source, self.now, self._before if t < 1 else None
        if now and (before or max(self.outlined) >= 0):
            lists = now
            if before:
                lists = [a.interpolated(b, t) for a, b in zip(before, now, strict=True)]
            images = np.empty((len(self._envs), source.height, source.width, 3), np.uint8)
            for image, one in zip(images, lists, strict=True):
                one.raster(image)
            return images
        if self._still is None:
            self._still = source.frames(self._engine, self._envs, self._agents())
        return self._still

    def _lists(self) -> list[DisplayList] | None:
        lists = []
        for env, agent, outlined in zip(self._envs, self._agents(), self.outlined, strict=True):
            found = self.source.lists(self._engine, [env], agent)
            if found is None:  # an env that only has frames
                return None
            lists += [with_frame(one, outlined) if outlined >= 0 else one for one in found]
        return lists


def show(
    picture: Callable[[float], Frame],
    screens: list[Screen],
    status: str = "",
    *,
    first: bool = False,
    last: bool = False,
) -> bool:
    """Show one step on the screens; return whether a person ended one of them.

    picture: draws a frame at a time between the step before, 0, and this one, 1. first, last: the
    step is the first or the last one of an episode. A screen that is full is closed and removed.
    """
    pictures: dict[float, Frame] = {}
    for screen in list(screens):
        for t in screen.times(first=first, last=last):
            if t not in pictures:
                pictures[t] = picture(t)
            if not screen.show(pictures[t], status, last=last and t == 1):
                screens.remove(screen)
                screen.close()
                if screen.live:
                    return True
                break
    return False
