"""Play: the loop in which a person plays a game, and what is shown meanwhile.

A stage shows the env and reports keys: a window (play_window.py) or a terminal (play_terminal.py).
"""

from collections.abc import Sequence
from typing import Protocol

from pufferenv.drawing._drawing import KeyBinding
from pufferenv.drawing.keys import KeyMap, Mouse
from pufferenv.engine._engine import Axis, Head
from pufferenv.external.renderer import ExternalRenderer
from pufferenv.game_spec import GameSpec
from pufferenv.vector_env import PufferVectorEnv
from pufferlib.run.formatting import number
from pufferlib.run.play_controls import Controls
from pufferlib.run.play_session import PlaySession

KEY_ROWS = ("0123456789", "qwertyuiop", "asdfghjkl", "zxcvbnm")  # for heads without keys
KEY_PAIRS = (("left", "right"), ("down", "up"), ("home", "end"), ("pagedown", "pageup"))  # for axes
HOLD = 1.5  # seconds for which the end of an episode stays


class PlayError(ValueError):
    """A game cannot be played by a person; the message says what it lacks."""


class Stage(Protocol):
    """Shows the env of a session, and takes what a person does."""

    def show(self, session: PlaySession, controls: Controls, *, smooth: bool = True) -> None:
        """Show the env after a step, until the next step is due. smooth: it follows on the last."""

    def hold(self, session: PlaySession, controls: Controls, seconds: float) -> None:
        """Show the env as it is for a while, until a person ends or restarts the game."""

    def take(self, session: PlaySession, controls: Controls) -> Mouse | None:
        """Take what a person did since the last call; return where the mouse is in the picture."""

    def close(self) -> None:
        """Close the window or restore the terminal."""


def play(
    session: PlaySession, controls: Controls, stage: Stage, *, episodes: int | None = None
) -> None:
    """Play until the person ends the game, or for a number of episodes.

    What is to be recorded is written also after an error or an interrupt.
    """
    try:
        stage.show(session, controls, smooth=False)
        while not controls.ended:
            mouse = stage.take(session, controls)
            if controls.restart:
                controls.restart = False
                session.restart()
                stage.show(session, controls, smooth=False)
                continue
            if controls.next_agent:
                controls.next_agent = False
                session.select_next()
            if controls.ended:
                break
            if controls.paused and not controls.once:
                stage.hold(session, controls, 0.05)
                continue
            controls.once = False
            session.step(controls.action(mouse))
            stage.show(session, controls)
            if session.ended:
                stage.hold(session, controls, HOLD)
                if episodes is not None and len(session.episodes) >= episodes:
                    break
                if not controls.restart:
                    session.begin_next()
                    stage.show(session, controls, smooth=False)
    finally:
        stage.close()
        session.keep()


def status(session: PlaySession, controls: Controls) -> tuple[str, str]:
    """Return what stands above the picture: the state of the game, and who plays."""
    parts = [f"episode {len(session.episodes) + (not session.ended)}"]
    parts.append(f"return {number(session.total)}")
    if session.env.num_envs > 1:
        parts.append(f"agent {session.agent}")
    who = "you play" if controls.person_plays else "policy plays"
    return "   ".join(parts), "paused" if controls.paused else who


def keys_of(env: PufferVectorEnv) -> KeyMap:
    """Return the keys of an env's game; of an env written in Python its own, else digits.

    Raise NotDrawn if it does not draw itself, KeyBindingError for a wrong row of its PUF_KEYS, and
    PlayError if there are none.
    """
    spec, renderer = env.game_spec, env.renderer
    if isinstance(renderer, ExternalRenderer):
        return renderer.key_table() or _default_keys(spec)
    keys = KeyMap(renderer.keys, spec.heads, spec.axes, game=spec.name, widest=spec.game)
    if not keys:
        raise PlayError(
            f"{spec.name} has no keys for a person: its header has no PUF_KEYS. To begin, add "
            "beside PUF_ACTIONS, with a row for each choice: head or axis, its choice or value, "
            f"keys, label\n\n{example_rows(spec.heads, spec.axes)}\n\n"
            "pufferenv/draw.h has all that a row may say"
        )
    return keys


def _default_keys(spec: GameSpec) -> KeyMap:
    """Return keys for any heads and axes: a row of keys for each head, two keys for each axis."""
    rows: list[KeyBinding] = []
    for head, line in zip(spec.heads, KEY_ROWS, strict=False):
        rows += [KeyBinding(head.name, n, key, f"{n}") for n, key in enumerate(line[: head.n])]
    for axis, (less, more) in zip(spec.axes, KEY_PAIRS, strict=False):
        for key, value in ((less, max(axis.low, -1.0)), (more, min(axis.high, 1.0))):
            rows.append(KeyBinding(axis.name, value, key, f"{axis.name or 'axis'} {value:g}"))
    keys = KeyMap(rows, spec.heads, spec.axes, game=spec.name)
    if not keys:
        raise PlayError(f"{spec.name} has no actions that a person could choose")
    return keys


def example_rows(heads: Sequence[Head], axes: Sequence[Axis]) -> str:
    """Return a PUF_KEYS with which a person could play these heads and axes."""
    arrows = iter(["left a", "right d", "up w", "down s", "space", *"fe123456789"])
    rows = []
    for head in heads:
        for choice in range(1, min(head.n, 5)):
            rows.append((head.name, f"{choice}", next(arrows, None), f"{head.name} {choice}"))
    for axis in axes:
        for value in (max(axis.low, -1.0), min(axis.high, 1.0)):
            rows.append((axis.name, f"{value:g}", next(arrows, None), f"{axis.name} {value:g}"))
    shown = [
        f'X({name}, {value}, "{keys}", "{label}")' for name, value, keys, label in rows if keys
    ]
    return "#define PUF_KEYS(X) \\\n    " + " \\\n    ".join(shown)
