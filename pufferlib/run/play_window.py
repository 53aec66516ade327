"""The window in which a person plays: the game, a line above it, and the keys below it."""

import time
from typing import Any

from pufferenv.drawing._drawing import DisplayList
from pufferenv.drawing.grid import caption_size
from pufferenv.drawing.hud import CYAN, GREEN, with_frame, with_text, wrapped
from pufferenv.drawing.keys import Mouse
from pufferenv.drawing.viewer import Viewer
from pufferlib.run.play import status
from pufferlib.run.play_controls import Controls
from pufferlib.run.play_session import PlaySession

LEAST_WIDTH = 480  # pixels of a window that shows frames of an env written in Python
FRAME = 1 / 30  # seconds between two looks at the keys while nothing moves


class PlayWindow:
    """A Stage in a window. It opens with the first `show`.

    pace: steps per second. The window has the width of the session's renderer.
    Raises NoDisplay without a display, and ImportError without pygame.
    """

    def __init__(self, title: str, pace: float) -> None:
        self._title, self._pace = title, pace
        self._viewer: Viewer | None = None
        self._view = (0.0, 0.0, 1.0, 1.0)  # of the game without the text, in world units or pixels
        self._list: DisplayList | None = None  # of the game as it is shown now

    def show(self, session: PlaySession, controls: Controls, *, smooth: bool = True) -> None:
        """Show the env after a step, until the next step is due."""
        self._draw(session, controls, wait=True, smooth=smooth)

    def hold(self, session: PlaySession, controls: Controls, seconds: float) -> None:
        """Show the env as it is for a while, until a person ends or restarts the game."""
        until = time.monotonic() + seconds
        while not (controls.ended or controls.restart or self._opened.closed):
            self._draw(session, controls, wait=False, smooth=False)
            left = until - time.monotonic()
            self._opened.window.wait(time.monotonic() + min(left, FRAME))
            if left <= FRAME:
                break
            self.take(session, controls)

    def take(self, session: PlaySession, controls: Controls) -> Mouse | None:
        """Take what a person did; return where the mouse is in the game, each 0 to 1."""
        viewer = self._opened
        events = viewer.events()
        controls.take(events.keys)
        if events.closed:
            controls.ended = True
        for click in events.clicks:
            found = viewer.pick(click.x, click.y)
            if found is not None and self._list is not None:
                session.select(self._list.agent_at(found.x, found.y))
        place = viewer.pick(*events.mouse) if events.mouse is not None else None
        if place is None:
            return None
        x, y, width, height = self._view
        return (place.x - x) / width, (place.y - y) / height

    def close(self) -> None:
        """Close the window."""
        if self._viewer is not None:
            self._viewer.close()

    @property
    def _opened(self) -> Viewer:
        assert self._viewer is not None, "show() opens the window"
        return self._viewer

    def _draw(self, session: PlaySession, controls: Controls, *, wait: bool, smooth: bool) -> None:
        env = session.env
        source: Any = env.renderer
        agent = session.agent if controls.own_view else -1
        lists = source.lists(env._engine, [0], agent)
        left, right = status(session, controls)
        below = wrapped(controls.lines(env.num_envs > 1)) if controls.help else []
        if lists is None:
            frames = source.frames(env._engine, [0])
            self._view = 0.0, 0.0, float(frames.shape[2]), float(frames.shape[1])
            scale = -(-LEAST_WIDTH // frames.shape[2])  # old games have small pictures
            strip = caption_size(frames.shape[2])
            self._open(scale * frames.shape[2], scale * (frames.shape[1] + strip))
            viewer = self._opened
            viewer.pace = self._pace * controls.speed
            viewer.show_frames(list(frames), [f"{right}   {left}"], wait=wait)
            return
        game: DisplayList = lists[0]
        if env.num_envs > 1:
            game = with_frame(game, session.agent)
        self._list, self._view = game, game.view
        colour = GREEN if controls.person_plays else CYAN
        whole = with_text(game, left, right, below, colour)
        self._open(source.width, round(source.width * whole.view[3] / whole.view[2]))
        viewer = self._opened
        viewer.pace = self._pace * controls.speed
        viewer.show([whole], wait=wait, smooth=smooth)

    def _open(self, width: int, height: int) -> None:
        if self._viewer is None:
            self._viewer = Viewer(self._title, self._pace, 1, width, height)
