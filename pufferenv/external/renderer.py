"""ExternalRenderer: pictures of external envs, which draw themselves.

It takes the place of a Renderer (drawing/renderer.py) for the envs of an ExternalGame, and returns
the frames of their own render(), made with render_mode="rgb_array".
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from pufferenv.drawing._drawing import DisplayList, KeyBinding
from pufferenv.drawing.keys import KeyTable
from pufferenv.engine._engine import Axis, Head
from pufferenv.external._external import EnvError
from pufferenv.external.description import EnvDescription
from pufferenv.games import NotDrawn

PACE = 30.0  # steps per second of an env that declares none, as in Gymnasium
SIZE = 600, 400  # pixels of a window before its first frame

Frame = npt.NDArray[np.uint8]  # (H, W, 3)


class Appearance:
    """How an external env is drawn and played, found by inspecting one."""

    modes: tuple[str, ...]  # its render modes
    mode: str | None  # the one that it was made with
    pace: float  # steps per second for a person
    keys_to_action: Mapping[Any, Any] | None  # its get_keys_to_action()

    def __init__(self, env: Any) -> None:
        metadata = getattr(env, "metadata", None) or {}
        self.modes = tuple(metadata.get("render_modes") or ())
        self.mode = getattr(env, "render_mode", None)
        self.pace = _pace(metadata.get("render_fps"))
        base = getattr(env, "unwrapped", env)
        table = getattr(base, "get_keys_to_action", None)
        self.keys_to_action = None
        if callable(table):
            with contextlib.suppress(Exception):  # an env whose table is broken can still be run
                self.keys_to_action = table()


def _pace(declared: Any) -> float:
    """Return what an env declares as its steps per second, or PACE where that is no rate."""
    with contextlib.suppress(TypeError, ValueError, OverflowError):
        if 0 < (pace := float(declared)) < math.inf:
            return pace
    return PACE


class ExternalRenderer:
    """Returns the frames of external envs, whose size is their own."""

    width, height = SIZE
    keys: tuple[KeyBinding, ...] = ()  # see `key_table`
    pace: float  # steps per second for a person

    def __init__(self, description: EnvDescription, appearance: Appearance) -> None:
        self._description, self._appearance = description, appearance
        self.pace = appearance.pace

    def frames(
        self, engine: Any, envs: Sequence[int], agents: Sequence[int] | None = None
    ) -> npt.NDArray[np.uint8]:
        """Return RGB (n, H, W, 3) of envs (n,); all agents of an env see the same.

        Raises EnvError if an env has no frame of the usual kind or raises, and ValueError if the
        frames of the envs differ in size.
        """
        own = list(dict.fromkeys(envs))
        frames = dict(zip(own, self._drawn(engine, own), strict=True))
        shapes = {frame.shape for frame in frames.values()}
        if len(shapes) > 1:
            raise ValueError(
                f"{self._description.name}: the envs' frames differ in size, {sorted(shapes)}: "
                "draw one env at a time with render_envs"
            )
        return np.stack([frames[env] for env in envs])

    def lists(self, engine: Any, envs: Sequence[int], agent: int = -1) -> list[DisplayList] | None:
        """Return None: external envs have no display lists."""
        return None

    def key_table(self) -> KeyTable:
        """Return the keys of the env's get_keys_to_action(); none if it has no such method."""
        actions = self._description.actions
        table = {
            keys: actions.pack(action)
            for keys, action in (self._appearance.keys_to_action or {}).items()
        }
        heads = [Head(head.name, "", head.n) for head in actions.heads]
        axes = [Axis(axis.name, "", axis.low, axis.high) for axis in actions.axes]
        return KeyTable(table, heads, axes, game=self._description.name)

    def _drawn(self, engine: Any, envs: list[int]) -> list[Frame]:
        return [
            frame_of(self._description.name, env, drawn)
            for env, drawn in zip(envs, engine.render(envs), strict=True)
        ]


def check_drawable(name: str, appearance: Appearance, backend: str) -> None:
    """Raise NotDrawn for envs that give no frames, ValueError for workers in other processes."""
    if backend == "processes":
        raise ValueError(
            f"{name}: envs in other processes cannot be drawn: use backend='serial' or 'threads'"
        )
    if appearance.mode in ("rgb_array", "rgb_array_list"):
        return
    if appearance.modes and "rgb_array" not in appearance.modes:
        raise NotDrawn(
            f"{name} gives no frames: its render modes are {', '.join(appearance.modes)}, and a "
            "picture needs rgb_array"
        )
    raise NotDrawn(
        f"{name} was made with render_mode={appearance.mode!r}: its pictures need "
        "render_mode='rgb_array' in the function that makes it, or in wrap(kwargs=...) for an id"
    )


def frame_of(name: str, env: int, drawn: Any) -> Frame:
    """Return what an env's render() returned as a frame; of a list, the last one.

    Raises EnvError for anything but uint8 (H, W) or (H, W, C) with 1, 3 or 4 channels.
    """
    if isinstance(drawn, list) and drawn:
        drawn = drawn[-1]
    array = np.asarray(drawn)
    array = array[:, :, None] if array.ndim == 2 else array
    if array.ndim != 3 or array.dtype != np.uint8 or array.shape[2] not in (1, 3, 4):
        what = f"{array.dtype} {array.shape}" if array.ndim else type(drawn).__name__
        raise EnvError(
            f"{name}: env {env}: its render() returned {what}; it must be uint8 (height, width, "
            "3), as with render_mode='rgb_array'"
        )
    return np.repeat(array, 3, axis=2) if array.shape[2] == 1 else array[:, :, :3]
