"""Watch evaluations: draw some of their envs on screens, step by step; change no result.

Several evaluations are shown side by side, as for `--compare`: each waits at the end of its episode
until all have ended theirs, so that episodes of the same seed begin together.
Letters: n shown envs, H, W height and width of a frame in pixels, A agents of all envs.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from pufferenv import games
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
    width: pixels of one env's frame.
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
        self._agent = agent
        self.renderer = renderer_of(evaluator.env, width)
        self._ended = np.zeros(evaluator.num_envs, bool)  # (E,) in the step before
        self._had_end = np.zeros(len(self._envs), bool)  # (n,) in this round
        self._returns = np.zeros(len(self._envs))  # (n,) of the episodes, mean over the agents
        self._scores = np.zeros(len(self._envs))  # (n,) of the first episode to end in this round
        self._field = str(main_field(evaluator.spec))
        self.result: Evaluation | None = None  # once all episodes that count have ended

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
        step = self.evaluator.step()
        agents = self.evaluator.env.env_agents
        rewards = step.rewards.reshape(-1, agents).mean(1)
        self._returns += rewards[: len(self._envs)]
        self._ended = step.ended
        ended = step.ended[: len(self._envs)]
        if ended.any():
            scores = step.logs[self._field][: len(self._envs)]
            self._scores[ended & ~self._had_end] = scores[ended & ~self._had_end]
            self._had_end |= ended
        if self.evaluator.done and self.result is None:
            self.result = self.evaluator.result()

    def begin_next(self) -> None:
        """Begin new episodes where one ended, after the ending was drawn."""
        self.evaluator.begin_next(self._ended)
        self._returns[self._ended[: len(self._envs)]] = 0
        self._ended = np.zeros_like(self._ended)

    def begin_round(self) -> None:
        """Begin a new round."""
        self._had_end[:] = False

    def frames(self) -> npt.NDArray[np.uint8]:
        """Draw the shown envs: (n, H, W, 3)."""
        env = self.evaluator.env
        agents = None
        if self._agent is not None:
            alive = env.alive.reshape(-1, env.env_agents)
            agents = [_next_alive(alive[i], self._agent) for i in self._envs]
        return self.renderer.frames(env._engine, self._envs, agents)

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
    until then, and the second value is True. to_the_end: go on without drawing when all files are complete. Closes the screens,
    also after an error or an interrupt.
    """
    left = list(screens)
    try:
        is_live = any(screen.live for screen in left)
        _draw(shown, left, last=False)
        while left and not (is_live and all(map(_done, shown))):
            moving = [one for one in shown if len(shown) == 1 or not one.round_over]
            for one in moving:
                one.step()
            over = all(one.round_over for one in shown)
            if _draw(shown, left, last=over):
                return [_so_far(one) for one in shown], True
            for one in shown:
                if over or len(shown) == 1 or not one.round_over:  # one that waits shows its end
                    one.begin_next()
            if over:
                for one in shown:
                    one.begin_round()
                if all(one.begins_together for one in shown) and not all(map(_done, shown)):
                    _draw(shown, left, last=False)  # the first state of the new episodes
        return [one.finish() if to_the_end else _so_far(one) for one in shown], False
    finally:
        for screen in screens:
            screen.close()


def _done(one: Shown) -> bool:
    return one.result is not None


def _so_far(one: Shown) -> Evaluation:
    return one.result or one.evaluator.result()


def _draw(shown: Sequence[Shown], screens: list[Screen], *, last: bool) -> bool:
    """Draw on the screens and remove those that are full; return whether a person ended one."""
    picture = picture_of(shown)
    status = "   ".join(one.caption() for one in shown)
    for screen in list(screens):
        if not screen.show(picture, status, last=last):
            screens.remove(screen)
            screen.close()
            if screen.live:
                return True
    return False


def renderer_of(env: PufferVectorEnv, width: int | None) -> FrameSource:
    """Return what draws the envs of a vector env, at a width in pixels.

    External envs draw themselves, at a size of their own.
    """
    if isinstance(env.game, DrawnByItself):
        return env.game.make_renderer()
    return Renderer(games.drawing(env.game), env.game_spec.packed, width)


def picture_of(shown: Sequence[Shown]) -> Frame:
    """Return one picture of all shown envs; several evaluations are side by side with captions."""
    pictures = [tile(one.frames(), aspect=ASPECT) for one in shown]
    if len(pictures) == 1:
        return pictures[0]
    width = max(picture.shape[1] for picture in pictures)
    height = max(picture.shape[0] for picture in pictures)
    aspect = min(len(pictures) * width / height, 2 * ASPECT)
    return tile(pictures, aspect=aspect, labels=[one.caption() for one in shown])
