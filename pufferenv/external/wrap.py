"""wrap: turn external envs into one vector env, which can be trained on as a game can."""

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

from pufferenv.drawing.rendering import RenderEnvs
from pufferenv.external.game import DEFAULT_TIMEOUT, ExternalGame, SingleEnvFactory
from pufferenv.game_spec import GameSpec
from pufferenv.vector_env import Arrays, PufferVectorEnv


def wrap(
    env: str | Callable[[], Any] | gymnasium.Env[Any, Any],
    num_envs: int | None = None,
    *,
    backend: str = "serial",
    num_workers: int | None = None,
    timeout: float | None = DEFAULT_TIMEOUT,
    agents: int | None = None,
    name: str | None = None,
    seed: int | Sequence[int] | None = None,
    autoreset_mode: str | AutoresetMode = AutoresetMode.SAME_STEP,
    copy: bool = True,
    render_mode: str | None = None,
    render_envs: RenderEnvs = None,
    kwargs: Mapping[str, Any] | None = None,
) -> WrappedEnv:
    """Return `num_envs` copies of an external env as one vector env over agents.

    env: a Gymnasium id; a function that makes a Gymnasium env, a PettingZoo ParallelEnv or a whole
        vector env (Gymnasium's or envpool's, in any autoreset mode); or an env object, with the
        serial backend only.
    num_envs: number of envs; None for the number that one call of `env` makes.
    backend: "serial", "threads" (for envs that release the GIL) or "processes".
    num_workers: threads or processes; None: one per usable core.
    timeout: seconds that an env in a worker process may take to be made, reset or stepped; None:
        no limit.
    agents: the most agents that a PettingZoo env without `possible_agents` has at a time.
    name: the env's name in messages and runs; None: its id or class.
    render_mode, render_envs: as in `pufferenv.make`. The pictures are what the envs' own render()
        returns. For an id, the envs are made with `render_mode="rgb_array"`; a function and an env
        object must see to that themselves. Envs in other processes cannot be drawn.
    kwargs: arguments of `gymnasium.make` for an id.
    seed, autoreset_mode, copy: as in `pufferenv.make`. Results are the same for every backend and
        number of workers.

    Action masks of the envs are in `action_masks` and in infos; the numbers in the infos of final
    steps are in `log()`. No env is made and no worker starts before the first `reset`, except one
    env that is inspected here. To train, pass the returned env to a Trainer or a RowEnv in place of
    a game's name; they make their own envs.
    Raise TypeError or ValueError, naming the argument or space, for one that is not supported.
    """
    make: Any = env if callable(env) else SingleEnvFactory(env)
    if isinstance(env, str):
        drawn = {} if render_mode is None else {"render_mode": "rgb_array"}
        make = functools.partial(gymnasium.make, env, **drawn | dict(kwargs or {}))
    game = ExternalGame(
        make, name=name, backend=backend, num_workers=num_workers, timeout=timeout, agents=agents
    )
    return WrappedEnv(
        GameSpec.of(game),
        game.envs_per_make if num_envs is None else num_envs,
        num_threads=1,
        seed=seed,
        autoreset_mode=autoreset_mode,
        copy=copy,
        buffers=None,
        render_mode=render_mode,
        render_envs=render_envs,
    )


class WrappedEnv(PufferVectorEnv):
    """A vector env over the agents of external envs, in their own spaces; `wrap` makes it.

    Observations have the nesting of the envs' space. Their leaves are views of the slots, or
    copies if the slot has another dtype than the leaf.
    """

    game: ExternalGame

    def __init__(self, spec: GameSpec, num_envs: int, **options: Any) -> None:
        super().__init__(spec, num_envs, **options)
        description = self.game.description
        packing, action_space = description.observations, description.actions.space
        self._packing = packing
        # Observations that are stored exactly as the env's space describes them need no unpacking.
        own = self.single_observation_space
        self._is_plain = packing.is_plain and (own.shape, own.dtype) == (
            packing.space.shape,
            packing.space.dtype,
        )
        # The engine takes these actions without conversion: choices from 0, or vectors of float32.
        self._is_engine_action = (
            isinstance(action_space, Discrete) and action_space.start == 0
        ) or (
            isinstance(action_space, Box)
            and action_space.dtype == np.float32
            and len(action_space.shape) == 1
        )
        self.single_observation_space, self.single_action_space = packing.space, action_space
        self.observation_space = batch_space(packing.space, self.num_envs)
        self.action_space = batch_space(action_space, self.num_envs)

    def reset(
        self,
        *,
        seed: int | Sequence[int] | None = None,
        options: dict[str, Any] | None = None,
    ) -> tuple[Any, dict[str, Any]]:
        """Begin new episodes as PufferVectorEnv does; observations are in the envs' space."""
        obs, infos = super().reset(seed=seed, options=options)
        return self._unpack(obs), infos

    def step(self, actions: Any) -> Arrays:
        """Step all agents as PufferVectorEnv does; actions and results are in the envs' spaces."""
        if not self._is_engine_action:
            actions = self._pack_actions(actions)
        obs, *rest, infos = super().step(actions)
        if not self._is_plain and "final_obs" in infos:
            infos = {**infos, "final_obs": self._unpack(infos["final_obs"])}
        return (self._unpack(obs), *rest, infos)

    def _unpack(self, slots: npt.NDArray[Any]) -> Any:
        """Return slots (A, *O) in the nesting of the envs' space."""
        if self._is_plain:
            return slots
        parts = zip(self._packing.parts, self._packing.views(slots), strict=True)
        return self._packing.nest([v.astype(part.space.dtype, copy=False) for part, v in parts])

    def _pack_actions(self, actions: Any) -> Any:
        """Convert a batch of the envs' actions to the form that the engine takes."""
        packed = [
            self.game.description.actions.pack(one) for one in iterate(self.action_space, actions)
        ]
        heads, axes = (np.stack(part) for part in zip(*packed, strict=True))
        if self.heads and self.axes:
            return {"discrete": heads, "continuous": axes}
        return heads if self.heads else axes
