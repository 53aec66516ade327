"""A game as stable-baselines3's VecEnv: `PPO("MlpPolicy", sb3.make("breakout", num_envs=256))`.

Each index of the VecEnv's batch, a place, is one agent, as in `pufferenv.make`. stable-baselines3
steps all places and has no mask in its loss, so a dead agent keeps its place: its observations are
zeros, its rewards are 0, its actions are ignored, and stable-baselines3 learns from these idle
steps too. `done` is set when an agent dies, and again when it respawns, so that the value of the
new life does not flow into the idle steps. The second `done` does not count as an episode.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
from gymnasium.vector import AutoresetMode

from pufferenv import vector_env
from pufferenv.game_spec import GameLike
from pufferenv.vector_env import PufferVectorEnv

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
    game: GameLike,
    num_envs: int = 1,
    *,
    num_threads: int = 1,
    seed: int | Sequence[int] | None = None,
    debug: bool = False,
    config: Mapping[str, Any] | None = None,
    **fields: Any,
) -> PufferVecEnv:
    """Return `num_envs` copies of a game as a VecEnv; arguments are those of `pufferenv.make`.

    With `render_mode="rgb_array"`, `render()` returns one picture of all places, which
    VecVideoRecorder records.
    """
    return PufferVecEnv(
        vector_env.make(
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

    `step` and `reset` return copies, since stable-baselines3 keeps an observation until the next
    step is done and adds values to the rewards in place.

    Infos are empty except at these events, with the entries of VecMonitor and DummyVecEnv:
        terminal_observation   (*O), if `done`; zeros if the agent died or was dead already
        TimeLimit.truncated    bool, if `done`: the life was cut short
        episode                {"r": return, "l": steps, "t": seconds}, if a life ended
        the game's log fields  floats, for all agents of an env whose episode ended
    Empty infos are the same objects in every step, until a caller writes to one.
    """

    def __init__(self, env: PufferVectorEnv) -> None:
        if env.autoreset_mode is not AutoresetMode.SAME_STEP:
            raise ValueError(
                f"autoreset_mode is {env.autoreset_mode.value}, but stable-baselines3 needs "
                "SameStep: make the env with autoreset_mode='same_step'"
            )
        self.vector_env = env
        self._name = env.game.name  # for messages
        self._empty: Infos = [{} for _ in range(env.num_envs)]
        self._returns = np.zeros(env.num_envs)  # of the current lives and idle periods
        self._lengths = np.zeros(env.num_envs, np.int64)
        self._started = time.monotonic()
        self._actions: Any = None
        # Attributes that stable-baselines3 may read by place; all places have the same value.
        fixed = {
            **env.config,
            "observation_space": env.single_observation_space,
            "action_space": env.single_action_space,
            "render_mode": env.render_mode,
            "spec": env.spec,
        }
        self._fixed = {name: [value] * env.num_envs for name, value in fixed.items()}
        self._attributes: dict[str, list[Any]] = {}  # values of set_attr, by place
        super().__init__(env.num_envs, env.single_observation_space, env.single_action_space)
        self.metadata = {**env.metadata}  # VecVideoRecorder takes render_fps from it

    def reset(self) -> npt.NDArray[Any]:
        """Begin new episodes and return observations (A, *O). A call of `seed` re-creates them.

        Each env takes the seed of its first place. Raise ValueError if `set_options` was called.
        """
        if any(self._options):
            raise ValueError(f"{self._name} takes no options at reset: do not call set_options")
        seeds = self._seeds[:: self.vector_env.env_agents]
        observations = self.vector_env.reset(seed=None if seeds[0] is None else seeds)[0]
        self._reset_seeds()
        self._returns[:] = 0
        self._lengths[:] = 0
        return np.array(observations)

    def step_async(self, actions: Any) -> None:
        """Keep the actions (A,), (A, K) or (A, X) for `step_wait`."""
        self._actions = actions

    def step_wait(
        self,
    ) -> tuple[npt.NDArray[Any], npt.NDArray[np.float32], npt.NDArray[np.bool_], Infos]:
        """Step; return (observations (A, *O), rewards (A,), dones (A,), infos)."""
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
        """Return one dict per place, a new one for every place with an event in this step."""
        if any(self._empty):  # a caller wrote to an empty info of an earlier step
            self._empty = [{} if info else info for info in self._empty]
        infos = self._empty.copy()
        if len(ended):
            finals = self._final_observations(ended, extra)
            now = round(time.monotonic() - self._started, 6)
            returns, lengths = self._returns[ended].tolist(), self._lengths[ended].tolist()
            cuts, lived = truncations[ended].tolist(), acted[ended].tolist()
            for k, place in enumerate(ended.tolist()):
                infos[place] = {"terminal_observation": finals[k], "TimeLimit.truncated": cuts[k]}
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

    def _final_observations(
        self, ended: npt.NDArray[np.intp], extra: dict[str, Any]
    ) -> npt.NDArray[Any]:
        """Return the final observations of places (len(ended), *O); zeros if there is none."""
        space = self.observation_space
        finals = np.zeros((len(ended), *space.shape), space.dtype)
        if "final_obs" in extra:
            has_final = extra["_final_obs"][ended]
            finals[has_final] = extra["final_obs"][ended[has_final]]
        return finals

    def action_masks(self) -> npt.NDArray[np.bool_]:
        """Return the legal choices (A, C), head by head; for dead agents all choices.

        Raise AttributeError in a game without masks.
        """
        if self.vector_env.action_masks is None:
            raise AttributeError(f"{self._name} has no action masks")
        dead: npt.NDArray[np.bool_] = ~self.vector_env.alive[:, None]
        return self.vector_env.action_masks | dead

    def get_attr(self, attr_name: str, indices: Indices = None) -> list[Any]:
        """Return one value per place: of set_attr, the config, `alive`, a space, `action_masks`."""
        places = self._get_indices(indices)
        if attr_name == "alive":
            return [bool(self.vector_env.alive[place]) for place in places]
        if attr_name == "action_masks" and self.vector_env.action_masks is not None:
            return [partial(self._mask, place) for place in places]
        values = self._attributes.get(attr_name) or self._fixed.get(attr_name)
        if values is None:
            known = sorted({*self._fixed, *self._attributes, "alive"})
            raise AttributeError(
                f"{self._name} has no attribute {attr_name!r}; it has {', '.join(known)}"
            )
        return [values[place] for place in places]

    def _mask(self, place: int) -> npt.NDArray[np.bool_]:
        """Return one place's legal choices (C,)."""
        mask: npt.NDArray[np.bool_] = self.action_masks()[place]
        return mask

    def set_attr(self, attr_name: str, value: Any, indices: Indices = None) -> None:
        """Keep a value per place for get_attr; it has no effect on the game.

        Raise AttributeError for attributes that are fixed when the env is made, such as the config.
        """
        if attr_name in (*self._fixed, "alive", "action_masks"):
            raise AttributeError(
                f"{self._name}: {attr_name} cannot be changed; give it to sb3.make()"
            )
        values = self._attributes.setdefault(attr_name, [None] * self.num_envs)
        for place in self._get_indices(indices):
            values[place] = value

    def env_method(
        self, method_name: str, *method_args: Any, indices: Indices = None, **method_kwargs: Any
    ) -> list[Any]:
        """Call the method that get_attr returns for each place.

        `action_masks` and `render` are called once for all places.
        """
        if method_name == "render":
            drawn, places = self.vector_env.render(), self._get_indices(indices)
            one_each = isinstance(drawn, tuple) and len(drawn) == self.num_envs
            return [drawn[place] if one_each else drawn for place in places]
        if method_name == "action_masks" and self.vector_env.action_masks is not None:
            masks = self.action_masks()
            return [masks[place] for place in self._get_indices(indices)]
        methods = self.get_attr(method_name, indices)
        return [method(*method_args, **method_kwargs) for method in methods]

    def env_is_wrapped(self, wrapper_class: type[Any], indices: Indices = None) -> list[bool]:
        """Return True for Monitor only, because the infos hold its statistics already."""
        return [wrapper_class is Monitor for _ in self._get_indices(indices)]

    def get_images(self) -> list[npt.NDArray[np.uint8] | None]:
        """Return the frames (H, W, 3) of `PufferVectorEnv.render`; None for each place if undrawn.

        They are one per place, or one per env of `render_envs` if that was given.
        """
        if self.vector_env.render_mode != "rgb_array":
            return [None] * self.num_envs
        return [*self.vector_env.render()]

    def close(self) -> None:
        """Stop the threads. Returned arrays stay valid; a second call does nothing."""
        self.vector_env.close()
