"""Watch evaluations: draw some of their envs on screens, step by step; change no result.

Several evaluations are shown side by side, as for `--compare`: each waits at the end of its episode
until all have ended theirs, so that episodes of the same seed begin together. What is between two
steps is interpolated for screens that have more frames than the game has steps.
Letters: n shown envs, H, W height and width of a frame in pixels, A agents of all envs.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from pufferenv import games
from pufferenv.drawing._drawing import DisplayList
from pufferenv.drawing.grid import tile
from pufferenv.drawing.renderer import Renderer
from pufferenv.drawing.rendering import DrawnByItself, FrameSource
from pufferenv.vector_env import PufferVectorEnv
from pufferlib.run.evaluate import Evaluation, Evaluator, main_field
from pufferlib.run.screens import Frame, Screen

ASPECT = 16 / 10  # wanted width of a picture of several envs divided by its height


class Shown:
    """The first `num_envs` envs of one evaluation, as they are drawn.

    evaluator: made with show_endings. label: its name in the caption. agent: whose view is drawn;
        None: everybody's. While that agent is dead, the view is that of the next live one.
    width: pixels of one env's frame; None: the game's default.
    """

    def __init__(
        self,
        evaluator: Evaluator,
        label: str,
        *,
        num_envs: int = 1,
        agent: int | None = None,
        width: int | None = None,
    ) -> None:
        self.evaluator, self.label = evaluator, label
        self._envs = range(min(num_envs, evaluator.num_envs))
        n = len(self._envs)
        self._agents = [-1 if agent is None else agent] * n
        self.renderer = renderer_of(evaluator.env, width)
        self._ended = np.zeros(evaluator.num_envs, bool)  # (E,) in the step before
        self._had_end = np.zeros(n, bool)  # (n,) in this round
        self._returns = np.zeros(n)  # (n,) of the episodes, mean over the agents
        self._scores = np.zeros(n)  # (n,) of the first episode to end in this round
        self._field = str(main_field(evaluator.spec))
        self.result: Evaluation | None = None  # once all episodes that count have ended
        # Of the step before and of this one, (n,); made when something between them is drawn.
        self._before: list[DisplayList] | None = None
        self._now: list[DisplayList] | None = None
        self.interpolates = False  # whether lists are kept, for frames between two steps

    @property
    def round_over(self) -> bool:
        """Return whether each shown env has ended an episode in this round."""
        return bool(self._had_end.all())

    @property
    def begins_together(self) -> bool:
        """Return whether all shown envs begin an episode when one does."""
        return len(self._envs) == 1

    def step(self) -> None:
        """Act once in all envs."""
        if self.interpolates and self._now is None:
            self._now = self._lists()
        step = self.evaluator.step()
        n = len(self._envs)
        self._returns += step.rewards.reshape(self.evaluator.num_envs, -1).mean(1)[:n]
        self._ended = step.ended
        ended = step.ended[:n]
        if ended.any():
            scores, new = step.logs[self._field][:n], ended & ~self._had_end
            self._scores[new] = scores[new]
            self._had_end |= ended
        if self.evaluator.done and self.result is None:
            self.result = self.evaluator.result()
        if self.interpolates:
            self._before, self._now = self._now, self._lists()

    def begin_next(self) -> None:
        """Begin new episodes where one ended, after the ending was drawn."""
        self.evaluator.begin_next(self._ended)
        ended = self._ended[: len(self._envs)]
        if ended.any():
            self._returns[ended] = 0
            self._before = self._now = None  # nothing moves from an ending to a beginning
        self._ended = np.zeros_like(self._ended)

    def begin_round(self) -> None:
        """Begin a new round."""
        self._had_end[:] = False

    def frames(self, t: float = 1.0) -> npt.NDArray[np.uint8]:
        """Draw the shown envs (n, H, W, 3) at time `t` between the step before, 0, and this one."""
        if t < 1 and self._before and self._now:
            size = len(self._envs), self.renderer.height, self.renderer.width, 3
            images = np.empty(size, np.uint8)
            for image, before, now in zip(images, self._before, self._now, strict=True):
                before.interpolated(now, t).raster(image)
            return images
        return self.renderer.frames(self.evaluator.env._engine, self._envs, self._seen_by())

    def _lists(self) -> list[DisplayList]:
        engine = self.evaluator.env._engine
        return [
            self.renderer.lists(engine, [env], agent)[0]
            for env, agent in zip(self._envs, self._seen_by(), strict=True)
        ]

    def _seen_by(self) -> list[int]:
        """Return the agent (n,) whose view of each env is drawn; -1: everybody's."""
        env = self.evaluator.env
        alive = env.alive.reshape(-1, env.env_agents)
        return [
            agent if agent < 0 else _next_alive(alive[i], agent)
            for i, agent in zip(self._envs, self._agents, strict=True)
        ]

    def caption(self) -> str:
        """Return the label with the episode's return so far or, once it has ended, its score.

        Of several shown envs it is the mean.
        """
        if self.round_over:
            return f"{self.label}: {self._field} {self._scores.mean():.4g}"
        return f"{self.label}: return {self._returns.mean():.4g}"

    def finish(self) -> Evaluation:
        """Play to the end without drawing; return the result."""
        self.begin_next()  # it may wait with an ending that was drawn
        self.result = self.result or self.evaluator.finish()
        return self.result

    def so_far(self) -> Evaluation:
        """Return the result of the episodes that have ended."""
        return self.result or self.evaluator.result()


def _next_alive(alive: npt.NDArray[np.bool_], agent: int) -> int:
    """Return the first live agent of `alive` (agents of an env,) from `agent` on, or `agent`."""
    order = (agent + np.arange(len(alive))) % len(alive)
    living = order[alive[order]]
    return int(living[0]) if len(living) else agent


def watch(
    shown: Sequence[Shown], screens: Sequence[Screen], *, to_the_end: bool = True
) -> tuple[list[Evaluation], bool]:
    """Play all evaluations to their ends, drawn on the screens; return their results.

    A live screen that a person ends stops them early: the results then have the episodes that ended
    until then, and the second value is True. Closes the screens, also after an error or an
    interrupt.
    to_the_end: go on without drawing when all files are complete.
    """
    left = list(screens)
    stopped = False
    try:
        is_live = any(screen.live for screen in left)
        for one in shown:
            one.interpolates = any(screen.between for screen in left)
        _draw(shown, left, first=True)
        while left and not (is_live and all(one.result for one in shown)):
            for one in shown:
                if len(shown) == 1 or not one.round_over:
                    one.step()
            over = all(one.round_over for one in shown)
            if stopped := _draw(shown, left, last=over):
                break
            for one in shown:
                if over or len(shown) == 1 or not one.round_over:  # one that waits shows its end
                    one.begin_next()
            if over:
                for one in shown:
                    one.begin_round()
                if all(one.begins_together for one in shown) and not all(o.result for o in shown):
                    _draw(shown, left, first=True)
        finish = to_the_end and not stopped
        return [one.finish() if finish else one.so_far() for one in shown], stopped
    finally:
        for screen in screens:
            screen.close()


def _draw(
    shown: Sequence[Shown], screens: list[Screen], *, first: bool = False, last: bool = False
) -> bool:
    """Draw one step on the screens; remove those that are full; return whether a person ended one.

    first, last: the step is the first or the last one of an episode.
    """
    pictures: dict[float, Frame] = {}  # by time
    status = "   ".join(one.caption() for one in shown)
    for screen in list(screens):
        for t in screen.times(first=first, last=last):
            if t not in pictures:
                pictures[t] = picture_of(shown, t)
            if not screen.show(pictures[t], status, last=last and t == 1):
                screens.remove(screen)
                screen.close()
                if screen.live:
                    return True
                break
    return False


def renderer_of(env: PufferVectorEnv, width: int | None) -> FrameSource:
    """Return what draws the envs of a vector env, at a width in pixels.

    External envs draw themselves, at a size of their own.
    """
    if isinstance(env.game, DrawnByItself):
        return env.game.make_renderer()
    return Renderer(games.drawing(env.game), env.game_spec.packed, width)


def picture_of(shown: Sequence[Shown], t: float = 1.0) -> Frame:
    """Return one picture of all shown envs at time `t` between the step before and this one.

    Several evaluations are side by side with captions.
    """
    pictures = [tile(one.frames(t), aspect=ASPECT) for one in shown]
    if len(pictures) == 1:
        return pictures[0]
    width = max(picture.shape[1] for picture in pictures)
    height = max(picture.shape[0] for picture in pictures)
    aspect = min(len(pictures) * width / height, 2 * ASPECT)
    return tile(pictures, aspect=aspect, labels=[one.caption() for one in shown])
