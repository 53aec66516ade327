"""The terminal in which a person plays: the game in coloured blocks, and a line of text."""

import time
from typing import TextIO

import numpy as np

from pufferenv.drawing.hud import with_frame
from pufferenv.drawing.keys import Mouse
from pufferenv.drawing.terminal import TerminalScreen
from pufferenv.drawing.terminal_keys import TerminalKeyboard
from pufferlib.run.play import status
from pufferlib.run.play_controls import Controls
from pufferlib.run.play_session import PlaySession


class PlayTerminal:
    """A Stage in a terminal. It opens with the first `show`.

    out, keys: streams of the terminal. pace: steps per second.
    """

    def __init__(self, out: TextIO, keys: TextIO, pace: float) -> None:
        self._screen, self._keyboard = TerminalScreen(out), TerminalKeyboard(keys)
        self._pace, self._due, self._open = pace, 0.0, False

    def show(self, session: PlaySession, controls: Controls, *, smooth: bool = True) -> None:
        """Show the env after a step, until the next step is due."""
        self._draw(session, controls)
        now = time.monotonic()
        self._due = max(self._due, now - 0.1) + 1 / (self._pace * controls.speed)
        self._wait(self._due, controls)

    def hold(self, session: PlaySession, controls: Controls, seconds: float) -> None:
        """Show the env as it is for a while, until a person ends or restarts the game."""
        until = time.monotonic() + seconds
        while not (controls.ended or controls.restart) and time.monotonic() < until:
            self._draw(session, controls)
            self._wait(min(until, time.monotonic() + 0.1), controls)

    def take(self, session: PlaySession, controls: Controls) -> Mouse | None:
        """Take the keys that were typed; there is no mouse."""
        controls.take(self._keyboard.events())
        return None

    def close(self) -> None:
        """Give the terminal back as it was."""
        if self._open:
            self._open = False
            self._screen.close()
            self._keyboard.__exit__()

    def _wait(self, until: float, controls: Controls) -> None:
        """Wait, and take keys as they come, because a terminal reports no releases later."""
        while not controls.ended and (left := until - time.monotonic()) > 0:
            self._keyboard.wait(left)
            controls.take(self._keyboard.events())

    def _draw(self, session: PlaySession, controls: Controls) -> None:
        if not self._open:
            self._open = True
            self._keyboard.__enter__()
            self._screen.__enter__()
        env = session.env
        source = env.renderer
        agent = session.agent if controls.own_view else -1
        lists = source.lists(env._engine, [0], agent)
        if lists is None or env.num_envs == 1:
            frame = source.frames(env._engine, [0], [agent])[0]
        else:
            frame = np.empty((source.height, source.width, 3), np.uint8)
            with_frame(lists[0], session.agent).raster(frame)
        left, right = status(session, controls)
        keys = controls.lines(env.num_envs > 1) if controls.help else []
        keys = [*keys[-1:], *keys[:-1]]  # how to end first: what does not fit is cut off
        self._screen.show(frame, "   ".join([right, left, *keys]))
