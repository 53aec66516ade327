"""Watch evaluations: draw some of their envs on screens, step by step; change no result.

Several evaluations are shown side by side, as for `--compare`: each waits at the end of its episode
until all have ended theirs, so that episodes of the same seed begin together. What is between two
steps is interpolated for screens that have more frames than the game has steps.
Letters: n shown envs, H, W height and width of a frame in pixels, A agents of all envs.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from pufferenv import games
from pufferenv.drawing.grid import GAP, Grid, caption_size, tile
from pufferenv.drawing.renderer import frame_size
from pufferlib.run.evaluate import Evaluation, Evaluator, main_field
from pufferlib.run.pictures import Pictures, show
from pufferlib.run.screens import Frame, Screen

if TYPE_CHECKING:
    from pufferenv.game_spec import GameSpec

ASPECT = 16 / 10  # wanted width of a picture of several envs divided by its height
REACH = 6  # pixels around a click in which an agent is found


class Shown:
    """The first `num_envs` envs of one evaluation, as they are drawn.

    evaluator: made with show_endings. label: its name in the caption. agent: whose view is drawn;
        None: everybody's. While that agent is dead, the view is that of the next live one.
    """

    def __init__(
        self,
        evaluator: Evaluator,
        label: str,
        *,
        num_envs: int = 1,
        agent: int | None = None,
    ) -> None:
        self.evaluator, self.env, self.label = evaluator, evaluator.env, label
        self._envs = range(min(num_envs, evaluator.num_envs))
        n = len(self._envs)
        self._agents = [-1 if agent is None else agent] * n  # (n,) whose view is drawn
        self._followed = [-1] * n  # (n,) the agent of each env that is outlined
        self._ended = np.zeros(evaluator.num_envs, bool)  # (E,) in the step before
        self._had_end = np.zeros(n, bool)  # (n,) in this round
        self._returns = np.zeros(n)  # (n,) of the episodes, mean over the agents
        self._scores = np.zeros(n)  # (n,) of the first episode to end in this round
        self._field = str(main_field(evaluator.spec))
        self.result: Evaluation | None = None  # once all episodes that count have ended
        self.pictures = Pictures(self.env.renderer, self.env._engine, self._envs, self._seen_by)

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
        self._outline()
        self.pictures.step()

    def begin_next(self) -> None:
        """Begin new episodes where one ended, after the ending was drawn."""
        self.evaluator.begin_next(self._ended)
        ended = self._ended[: len(self._envs)]
        if ended.any():
            self._returns[ended] = 0
            self._outline()
            self.pictures.begin()
        self._ended = np.zeros_like(self._ended)

    def begin_round(self) -> None:
        """Begin a new round."""
        self._had_end[:] = False

    def click(self, x: float, y: float) -> None:
        """Follow the agent at a pixel of the picture; a second click on it shows its own view.

        A click on no agent shows what everybody sees.
        """
        source, lists = self.pictures.source, self.pictures.now
        grid = Grid(len(self._envs), source.width, source.height, aspect=ASPECT)
        i = grid.at(x, y)
        if i is None or lists is None:
            return
        cell, view = grid.cells[i], lists[i].view
        scale = min(cell.width / view[2], cell.height / view[3])  # pixels per world unit
        across = view[0] + view[2] / 2 + (x - cell.x - cell.width / 2) / scale
        down = view[1] + view[3] / 2 + (y - cell.y - cell.height / 2) / scale
        agent = lists[i].agent_at(across, down, REACH / scale)
        own_view = agent >= 0 and (self._agents[i] >= 0 or self._followed[i] == agent)
        self._agents[i] = agent if own_view else -1
        self._followed[i] = -1 if own_view else agent

    def _outline(self) -> None:
        self.pictures.outlined = self._alive(self._followed)

    def _seen_by(self) -> list[int]:
        """Return the agent (n,) whose view of each env is drawn; -1: everybody's."""
        return self._alive(self._agents)

    def _alive(self, agents: Sequence[int]) -> list[int]:
        """Replace each of `agents` (n,) that is dead by the next live one of its env."""
        alive = self.env.alive.reshape(-1, self.env.env_agents)
        return [
            agent if agent < 0 else next_alive(alive[i], agent)
            for i, agent in zip(self._envs, agents, strict=True)
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


def next_alive(alive: npt.NDArray[np.bool_], agent: int) -> int:
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
            one.pictures.between = any(screen.between for screen in left)
            one.pictures.begin()
        _draw(shown, left, first=True)
        while left and not (is_live and all(one.result for one in shown)):
            for one in shown:
                if len(shown) == 1 or not one.round_over:
                    one.step()
                else:
                    one.pictures.rest()
            over = all(one.round_over for one in shown)
            if stopped := _draw(shown, left, last=over):
                break
            for place in (place for screen in left for place in screen.take_clicks()):
                if len(shown) == 1:
                    shown[0].click(*place)
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
    """Show one step of all evaluations, as pictures.show does."""
    status = "   ".join(one.caption() for one in shown)
    return show(lambda t: picture_of(shown, t), screens, status, first=first, last=last)


def picture_of(shown: Sequence[Shown], t: float = 1.0) -> Frame:
    """Return one picture of all shown envs at time `t` between the step before and this one.

    Several evaluations are side by side with captions.
    """
    pictures = [tile(one.pictures.frames(t), aspect=ASPECT) for one in shown]
    if len(pictures) == 1:
        return pictures[0]
    width = max(picture.shape[1] for picture in pictures)
    height = max(picture.shape[0] for picture in pictures)
    aspect = _aspect_of(len(pictures), width, height)
    return tile(pictures, aspect=aspect, labels=[one.caption() for one in shown])


def _aspect_of(evaluations: int, width: int, height: int) -> float:
    """Return the wanted aspect of a picture of several evaluations: in one row, if it fits."""
    return min(evaluations * width / height, 2 * ASPECT)


def frame_width(spec: "GameSpec", width: int, *, evaluations: int = 1, envs: int = 1) -> int:
    """Return the largest width of one env's frame for which picture_of stays within `width`.

    evaluations: how many are side by side, each with `envs` shown envs.
    """
    view = games.drawing(spec.game).view(spec.packed)
    narrow = 2
    for columns in range(1, evaluations * envs + 1):
        narrow = max(2, (width - GAP * (columns - 1)) // columns // 2 * 2)
        inner = Grid(envs, *frame_size(narrow, view), aspect=ASPECT)
        outer = Grid(
            evaluations,
            inner.width,
            inner.height,
            aspect=_aspect_of(evaluations, inner.width, inner.height),
            caption_height=caption_size(inner.width) if evaluations > 1 else 0,
        )
        if outer.width <= width:
            break
    return narrow
