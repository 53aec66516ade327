"""stable-baselines3's VecEnv over a game: `PPO("MlpPolicy", sb3.make("breakout", num_envs=256))`.

A place of the VecEnv is one agent, as in `pufferenv.make`. stable-baselines3 steps all places and
has no mask in its loss, so a dead agent idles in its place: it sees zeros, is rewarded 0, and any
action will do. Its death is `done`; so is the step in which it enters again, which keeps the new
life's value out of the idle steps, but counts as no episode. It learns from the idle steps as well.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from functools import partial
from os import PathLike
from typing import Any

import numpy as np
import numpy.typing as npt
from gymnasium.vector import AutoresetMode

import pufferenv
from pufferenv import Game, PufferVectorEnv

try:
    from stable_baselines3.common.monitor import Monitor
    from stable_baselines3.common.vec_env import VecEnv
except ModuleNotFoundError as error:
    raise ImportError(
        f"{error.name} is not installed: run `pip install 'pufferenv[sb3]'`"
    ) from None

Indices = int | Sequence[int] | None
Infos = list[dict[str, Any]]


def make(
    game: str | PathLike[str] | Game,
    num_envs: int = 1,
    *,
    num_threads: int = 1,
    seed: int | Sequence[int] | None = None,
    debug: bool = False,
    config: Mapping[str, Any] | None = None,
    **fields: Any,
) -> PufferVecEnv:
    """Return `num_envs` copies of a game as a VecEnv; `pufferenv.make` says what it takes."""
    return PufferVecEnv(
        pufferenv.make(
            game,
            num_envs,
            num_threads=num_threads,
            seed=seed,
            debug=debug,
            config=config,
            **fields,
        )
    )


class PufferVecEnv(VecEnv):
    """A VecEnv over the A agents of a vector env in SAME_STEP mode.

    What `step` and `reset` return is the caller's to keep, for stable-baselines3 does: it holds an
    observation until the step after it is over, and adds values to the rewards it was given.

    Infos hold something only where something happened, as VecMonitor and DummyVecEnv write it:
        terminal_observation   (*O), where `done`; zeros for who saw none: it died, or was idle
        TimeLimit.truncated    bool, where `done`: its life was cut short, not ended
        episode                {"r": return, "l": steps, "t": seconds}, where a life ended
        the game's log fields  floats, for all agents of an env whose episode ended
    The other dicts are empty, and the same objects from step to step until somebody writes to one.
    """

    def __init__(self, env: PufferVectorEnv) -> None:
        if env.autoreset_mode is not AutoresetMode.SAME_STEP:
            raise ValueError(
                f"autoreset_mode is {env.autoreset_mode.value}, stable-baselines3 takes SameStep: "
                f"make the env with autoreset_mode='same_step'"
            )
        self.vector_env = env
        self._name = env.game.name  # for messages
        self._empty: Infos = [{} for _ in range(env.num_envs)]
        self._returns = np.zeros(env.num_envs)  # of the lives at hand; of idling, too
        self._lengths = np.zeros(env.num_envs, np.int64)
        self._started = time.monotonic()
        self._actions: Any = None
        fixed = {
            **env.config,
            "observation_space": env.single_observation_space,
            "action_space": env.single_action_space,
            "render_mode": None,
            "spec": env.spec,
        }
        self._fixed = {name: [value] * env.num_envs for name, value in fixed.items()}
        self._attributes: dict[str, list[Any]] = {}  # what set_attr set
        super().__init__(env.num_envs, env.single_observation_space, env.single_action_space)

    def reset(self) -> npt.NDArray[Any]:
        """Begin new episodes and return observations (A, *O); in envs made afresh after `seed`.

        Env i takes the seed of its first agent's place. Raises ValueError for `set_options`.
        """
        if any(self._options):
            raise ValueError(f"{self._name} takes no options at reset: set none")
        seeds = self._seeds[:: self.vector_env.env_agents]
        seen = self.vector_env.reset(seed=None if seeds[0] is None else seeds)[0]
        self._reset_seeds()
        self._returns[:] = 0
        self._lengths[:] = 0
        return np.array(seen)

    def step_async(self, actions: Any) -> None:
        """Keep the actions for `step_wait`, as the vector env takes them: (A,), (A, K), (A, X)."""
        self._actions = actions

    def step_wait(
        self,
    ) -> tuple[npt.NDArray[Any], npt.NDArray[np.float32], npt.NDArray[np.bool_], Infos]:
        """Step and return (observations (A, *O), rewards (A,), dones (A,), infos)."""
        env = self.vector_env
        acted = env.alive.copy()
        observations, rewards, terminations, truncations, extra = env.step(self._actions)
        self._returns += rewards
        self._lengths += 1
        dones = terminations | truncations | (env.alive > acted)
        infos = self._infos(np.flatnonzero(dones), acted, truncations, extra)
        return observations.copy(), rewards.copy(), dones, infos

    def _infos(
        self,
        ended: npt.NDArray[np.intp],
        acted: npt.NDArray[np.bool_],
        truncations: npt.NDArray[np.bool_],
        extra: dict[str, Any],
    ) -> Infos:
        """Return one dict per place, a new one where something happened in this step."""
        if any(self._empty):  # somebody wrote to one of the last step's
            self._empty = [{} if info else info for info in self._empty]
        infos = self._empty.copy()
        if len(ended):
            last = self._last_seen(ended, extra)
            now = round(time.monotonic() - self._started, 6)
            returns, lengths = self._returns[ended].tolist(), self._lengths[ended].tolist()
            cuts, lived = truncations[ended].tolist(), acted[ended].tolist()
            for k, place in enumerate(ended.tolist()):
                infos[place] = {"terminal_observation": last[k], "TimeLimit.truncated": cuts[k]}
                if lived[k]:
                    infos[place]["episode"] = {"r": returns[k], "l": lengths[k], "t": now}
            self._returns[ended] = 0
            self._lengths[ended] = 0
        if "final_info" in extra:
            logs = {name: extra["final_info"][name] for name, _ in self.vector_env.game.log_fields}
            for place in np.flatnonzero(extra["_final_info"]).tolist():
                fields = {name: float(values[place]) for name, values in logs.items()}
                infos[place] = {**infos[place], **fields}
        return infos

    def _last_seen(self, ended: npt.NDArray[np.intp], extra: dict[str, Any]) -> npt.NDArray[Any]:
        """Return the final observations of these places, (len(ended), *O), zeros without one."""
        space = self.observation_space
        last = np.zeros((len(ended), *space.shape), space.dtype)
        if "final_obs" in extra:
            seen = extra["_final_obs"][ended]
            last[seen] = extra["final_obs"][ended[seen]]
        return last

    def action_masks(self) -> npt.NDArray[np.bool_]:
        """Return the legal choices (A, C), head by head, all of them for the dead.

        Raises AttributeError in a game without masks.
        """
        if self.vector_env.action_masks is None:
            raise AttributeError(f"{self._name} has no action masks")
        dead: npt.NDArray[np.bool_] = ~self.vector_env.alive[:, None]
        return self.vector_env.action_masks | dead

    def get_attr(self, attr_name: str, indices: Indices = None) -> list[Any]:
        """Return per place: what set_attr set, the game's config, alive, action_masks, spaces."""
        places = self._get_indices(indices)
        if attr_name == "alive":
            return [bool(self.vector_env.alive[place]) for place in places]
        if attr_name == "action_masks" and self.vector_env.action_masks is not None:
            return [partial(self._mask, place) for place in places]
        values = self._attributes.get(attr_name) or self._fixed.get(attr_name)
        if values is None:
            known = sorted({*self._fixed, *self._attributes, "alive"})
            raise AttributeError(
                f"{self._name} has no attribute {attr_name!r}, but {', '.join(known)}"
            )
        return [values[place] for place in places]

    def _mask(self, place: int) -> npt.NDArray[np.bool_]:
        """Return one place's legal choices (C,)."""
        mask: npt.NDArray[np.bool_] = self.action_masks()[place]
        return mask

    def set_attr(self, attr_name: str, value: Any, indices: Indices = None) -> None:
        """Keep a value per place for get_attr; the game does not see it.

        Raises AttributeError for what is fixed when the env is made, as the game's config is.
        """
        if attr_name in (*self._fixed, "alive", "action_masks"):
            raise AttributeError(f"{self._name}: {attr_name} cannot be set afterwards")
        values = self._attributes.setdefault(attr_name, [None] * self.num_envs)
        for place in self._get_indices(indices):
            values[place] = value

    def env_method(
        self, method_name: str, *method_args: Any, indices: Indices = None, **method_kwargs: Any
    ) -> list[Any]:
        """Call what get_attr returns, place by place; `action_masks` is one call for all."""
        if method_name == "action_masks" and self.vector_env.action_masks is not None:
            masks = self.action_masks()
            return [masks[place] for place in self._get_indices(indices)]
        methods = self.get_attr(method_name, indices)
        return [method(*method_args, **method_kwargs) for method in methods]

    def env_is_wrapped(self, wrapper_class: type[Any], indices: Indices = None) -> list[bool]:
        """Say yes to Monitor alone: its statistics are in the infos, VecMonitor is not needed."""
        return [wrapper_class is Monitor for _ in self._get_indices(indices)]

    def get_images(self) -> list[None]:
        """Return one None per place: games are not drawn in Python."""
        return [None] * self.num_envs

    def close(self) -> None:
        """Stop the threads; arrays that somebody holds stay valid. Twice is fine."""
        self.vector_env.close()
