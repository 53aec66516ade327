"""wrap: outside envs as one vector env, which trains wherever a game's name does."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import gymnasium
from gymnasium.vector import AutoresetMode

from pufferenv.outside import Only, OutsideGame
from pufferenv.vector import PufferVectorEnv


def wrap(
    env: str | Callable[[], Any] | gymnasium.Env[Any, Any],
    num_envs: int = 1,
    *,
    backend: str = "serial",
    num_workers: int | None = None,
    timeout: float | None = None,
    name: str | None = None,
    seed: int | Sequence[int] | None = None,
    autoreset_mode: str | AutoresetMode = AutoresetMode.SAME_STEP,
    copy: bool = True,
    kwargs: Mapping[str, Any] | None = None,
) -> PufferVectorEnv:
    """Return `num_envs` copies of an outside env as one vector env over agents.

    env: a Gymnasium id, or a function that makes an env: Gymnasium's, a PettingZoo ParallelEnv, a
        whole vector env (Gymnasium's or envpool's, in any autoreset mode); or one env as it is,
        which `num_envs=1` and `backend="serial"` can play.
    backend: "serial", "threads" (for envs that release the GIL) or "processes".
    num_workers: of threads or processes; None: one per core.
    timeout: seconds that a worker process may take for what it was told last; None: any.
    kwargs: what an id's env is made with.
    seed, autoreset_mode, copy: as of `pufferenv.make`. Results are the same for every backend and
        number of workers.

    It starts with the first `reset`. To train, give it, or its `game`, to a Trainer or a RowEnv in
    place of a game's name: they start envs of their own.
    Raises TypeError or ValueError naming what cannot be handled.
    """
    if isinstance(env, str):
        env = functools.partial(gymnasium.make, env, **(kwargs or {}))
    make = env if callable(env) else Only(env)
    game = OutsideGame(make, name=name, backend=backend, num_workers=num_workers, timeout=timeout)
    return PufferVectorEnv(
        game,
        num_envs,
        num_threads=1,
        seed=seed,
        autoreset_mode=autoreset_mode,
        copy=copy,
        buffers=None,
        config={},
    )
