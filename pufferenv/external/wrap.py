"""wrap: external envs as one vector env, which trains wherever a game's name does."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import gymnasium
import numpy as np
import numpy.typing as npt
from gymnasium.spaces import Box, Discrete
from gymnasium.vector import AutoresetMode
from gymnasium.vector.utils import batch_space, iterate

from pufferenv.external.game import TIMEOUT, ExternalGame, SingleEnvFactory
from pufferenv.game_spec import GameSpec
from pufferenv.vector_env import Arrays, PufferVectorEnv


def wrap(
    env: str | Callable[[], Any] | gymnasium.Env[Any, Any],
    num_envs: int | None = None,
    *,
    backend: str = "serial",
    num_workers: int | None = None,
    timeout: float | None = TIMEOUT,
    agents: int | None = None,
    name: str | None = None,
    seed: int | Sequence[int] | None = None,
    autoreset_mode: str | AutoresetMode = AutoresetMode.SAME_STEP,
    copy: bool = True,
    kwargs: Mapping[str, Any] | None = None,
) -> WrappedEnv:
    """Return `num_envs` copies of an external env as one vector env over agents.

    env: a Gymnasium id, or a function that makes an env: Gymnasium's, a PettingZoo ParallelEnv, a
        whole vector env (Gymnasium's or envpool's, in any autoreset mode); or one env as it is,
        which only the serial backend can play.
    num_envs: envs in all; None: as many as `env` makes at once.
    backend: "serial", "threads" (for envs that release the GIL) or "processes".
    num_workers: of threads or processes; None: one per core.
    timeout: seconds that an env in a worker process may take to be made, reset or stepped; None:
        any.
    agents: of a PettingZoo env without possible_agents, how many there are at once at most.
    name: what it is called in messages and runs; None: its id or class.
    kwargs: what an id's env is made with.
    seed, autoreset_mode, copy: as of `pufferenv.make`. Results are the same for every backend and
        number of workers.

    Action masks that the envs tell are `action_masks` and in infos, the numbers of their last infos
    in `log()`. Nothing starts before the first `reset`. To train, give it to a Trainer or a RowEnv
    in place of a game's name: they start envs of their own.
    Raises TypeError or ValueError naming what cannot be handled.
    """
    make: Any = env if callable(env) else SingleEnvFactory(env)
    if isinstance(env, str):
        make = functools.partial(gymnasium.make, env, **(kwargs or {}))
    game = ExternalGame(
        make, name=name, backend=backend, num_workers=num_workers, timeout=timeout, agents=agents
    )
    return WrappedEnv(
        GameSpec.of(game),
        game.description.block if num_envs is None else num_envs,
        num_threads=1,
        seed=seed,
        autoreset_mode=autoreset_mode,
        copy=copy,
        buffers=None,
    )


class WrappedEnv(PufferVectorEnv):
    """A vector env over the agents of external envs, in their own spaces; made by `wrap`.

    Observations come as the envs tell them: nests of views, copies where the slot's dtype is
    another one.
    """

    game: ExternalGame

    def __init__(self, spec: GameSpec, num_envs: int, **options: Any) -> None:
        super().__init__(spec, num_envs, **options)
        seen, done = self.game.description.observations, self.game.description.actions.space
        self._seen = seen
        self._plain = seen.is_plain and self.single_observation_space.shape == seen.space.shape
        self._plain = self._plain and self.single_observation_space.dtype == seen.space.dtype
        # What the engine takes as it is: choices from 0 on, or a row of float32.
        self._direct = (isinstance(done, Discrete) and done.start == 0) or (
            isinstance(done, Box) and done.dtype == np.float32 and len(done.shape) == 1
        )
        self.single_observation_space, self.single_action_space = seen.space, done
        self.observation_space = batch_space(seen.space, self.num_envs)
        self.action_space = batch_space(done, self.num_envs)

    def reset(
        self,
        *,
        seed: int | Sequence[int] | None = None,
        options: dict[str, Any] | None = None,
    ) -> tuple[Any, dict[str, Any]]:
        """Begin new episodes, as PufferVectorEnv does; observations in the envs' own space."""
        obs, infos = super().reset(seed=seed, options=options)
        return self._told(obs), infos

    def step(self, actions: Any) -> Arrays:
        """Act with all agents, as PufferVectorEnv does, in the envs' own spaces."""
        obs, *rest, infos = super().step(actions if self._direct else self._asked(actions))
        if not self._plain and "final_obs" in infos:
            infos = {**infos, "final_obs": self._told(infos["final_obs"])}
        return (self._told(obs), *rest, infos)

    def _told(self, slots: npt.NDArray[Any]) -> Any:
        """Return slots (A, *O) as the envs' space nests them."""
        if self._plain:
            return slots
        parts = zip(self._seen.parts, self._seen.views(slots), strict=True)
        return self._seen.nest([v.astype(part.space.dtype, copy=False) for part, v in parts])

    def _asked(self, actions: Any) -> Any:
        """Return a batch of the envs' actions as the engine takes it."""
        packed = [
            self.game.description.actions.pack(one) for one in iterate(self.action_space, actions)
        ]
        heads, axes = (np.stack(part) for part in zip(*packed, strict=True))
        if self.heads and self.axes:
            return {"discrete": heads, "continuous": axes}
        return heads if self.heads else axes
