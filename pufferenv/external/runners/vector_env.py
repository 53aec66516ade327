"""The runner of whole vector envs: Gymnasium's in any autoreset mode, and envpool's.

If a vector env returns the first observation of a new episode only in the next step (NEXT_STEP, and
envpool), no agent acts in that step, so the engine sees an env without a live agent.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from gymnasium.vector import AutoresetMode

from pufferenv.engine._engine import LIVE, TERMINAL, TRUNCATED
from pufferenv.external._external import EnvError, FiniteCheck, Mailbox, as_bytes
from pufferenv.external.description import EnvDescription, is_envpool
from pufferenv.external.episode_infos import info_of_env, write_infos
from pufferenv.external.runners.base import EnvMask, Seeds
from pufferenv.spaces import FLOAT32_MAX


class VectorEnvRunner:
    """Steps vector envs of `block` envs each. `first`: the engine's index of the first env."""

    def __init__(
        self, mailbox: Mailbox, envs: list[Any], first: int, description: EnvDescription
    ) -> None:
        self.mailbox, self.envs, self.first, self.name = mailbox, envs, first, description.name
        self.observations, self.actions = description.observations, description.actions
        self.masks, self._finite = description.masks, FiniteCheck(self.observations)
        self.block, self.autoreset = description.envs_per_make, description.autoreset
        # (E,) True if the env's next step only returns the first observation of an episode
        self._between = np.zeros(self.block * len(envs), np.bool_)
        # (block, *O) current observations of the vector env that is being stepped
        self._obs = np.zeros((self.block, *self.observations.shape), self.observations.dtype)
        self._num_steps = 0

    def reset(self, begin: int, end: int, seeds: Seeds = None, mask: EnvMask = None) -> None:
        """Begin new episodes in envs [begin, end).

        seeds: (E,); each vector env gets the seed of its first env and derives the others itself.
        envpool takes seeds only when it is made. mask: not used, because ExternalGame does not
        allow DISABLED mode for vector envs.
        """
        arrays = self.mailbox.arrays
        for b, envs in self._blocks(begin, end):
            arrays["current_env"][0] = envs.start
            options = {}
            if seeds is not None and not is_envpool(self.envs[b]):
                options["seed"] = int(seeds[envs.start])  # not all vector envs take a list
            try:
                obs, infos = self.envs[b].reset(**options)
                self._read(obs, infos, envs)
            except Exception as error:
                raise self._error(envs, "reset", error) from error
            arrays["reward"][envs] = 0
            arrays["done"][envs] = LIVE
            arrays["episode_done"][envs] = LIVE
            arrays["alive"][envs] = 1
            arrays["written_slot"][envs] = -1
            arrays["obs"][envs] = self._obs
            self._between[envs.start - self.first : envs.stop - self.first] = False

    def step(self, begin: int, end: int) -> None:
        """Step envs [begin, end), whole vector envs, with the actions of the engine's arrays."""
        self._num_steps += 1
        for b, envs in self._blocks(begin, end):
            try:
                self._step(self.envs[b], envs)
            except Exception as error:
                raise self._error(envs, "step", error) from error

    def render(self, envs: Sequence[int]) -> list[Any]:
        """Return the pictures of envs; a vector env's render() returns those of all its envs."""
        blocks = {(env - self.first) // self.block for env in envs}
        drawn = {b: self.envs[b].render() for b in blocks}
        places = [divmod(env - self.first, self.block) for env in envs]
        return [None if drawn[b] is None else drawn[b][k] for b, k in places]

    def close(self) -> None:
        """Close all vector envs."""
        for env in self.envs:
            env.close()

    def _blocks(self, begin: int, end: int) -> list[tuple[int, slice]]:
        """Return, for each vector env of a range, its index in `self.envs` and its envs."""
        if (begin - self.first) % self.block or (end - self.first) % self.block:
            raise ValueError(
                f"envs [{begin}, {end}) are not whole vector envs of {self.block} envs: choose "
                f"groups of a multiple of {self.block} envs"
            )
        starts = range(begin, end, self.block)
        return [((s - self.first) // self.block, slice(s, s + self.block)) for s in starts]

    def _error(self, envs: slice, what: str, error: Exception) -> EnvError:
        return EnvError(
            f"{self.name}: envs [{envs.start}, {envs.stop}), {what} {self._num_steps}: "
            f"{type(error).__name__}: {error}"
        )

    def _step(self, env: Any, envs: slice) -> None:
        arrays = self.mailbox.arrays
        arrays["current_env"][0] = envs.start
        between = self._between[envs.start - self.first : envs.stop - self.first]
        actions = self.actions.unpack(arrays["action"][envs], arrays["axis"][envs])
        obs, rewards, terminated, truncated, infos = env.step(actions)
        finite = np.abs(np.where(between, 0, rewards)) <= FLOAT32_MAX  # false for NaN too
        if not finite.all():
            bad = int(np.argmin(finite))
            raise ValueError(
                f"the reward of env {envs.start + bad} is {rewards[bad]}, not a finite float32: "
                "the env must return finite rewards"
            )
        # An env between episodes cannot end one.
        done = np.where(terminated, TERMINAL, np.where(truncated, TRUNCATED, LIVE))
        done[between] = LIVE
        ended = np.flatnonzero(done)
        arrays["reward"][envs] = rewards
        arrays["episode_done"][envs] = done
        self._read(obs, infos, envs)
        self._keep_finals(env, envs, ended, infos)
        between[:] = False
        if self.autoreset is AutoresetMode.NEXT_STEP:
            between[ended] = True
        arrays["alive"][envs] = ~between
        self._write_obs(envs, np.flatnonzero(~between))

    def _keep_finals(
        self, env: Any, envs: slice, ended: npt.NDArray[Any], infos: dict[str, Any]
    ) -> None:
        """Write final observations and infos; `_obs` then holds those of the new episodes."""
        if not len(ended):
            return
        final = self.mailbox.arrays["final_obs"][envs]
        same_step = self.autoreset is AutoresetMode.SAME_STEP
        for k in ended:
            info = info_of_env(infos, k, self.block)
            if same_step:
                self.observations.pack(_observation_of(infos["final_obs"], k), final[k])
                self._check_finite(final, k, envs)
                info = {**info.pop("final_info", {}), "episode": info.get("episode")}
            write_infos(self.mailbox.arrays, envs.start + k, [info])
        if same_step:
            return
        final[ended] = self._obs[ended]
        if self.autoreset is AutoresetMode.DISABLED:
            mask = np.zeros(self.block, np.bool_)
            mask[ended] = True
            obs, infos = env.reset(options={"reset_mask": mask})
            self._read(obs, infos, envs)

    def _read(self, obs: Any, infos: Any, envs: slice) -> None:
        """Read the observations and masks of a vector env into `_obs` and the mailbox."""
        self.observations.pack_batch(obs, self._obs)
        if (bad := self._finite.first_bad(as_bytes(self._obs))) >= 0:
            self._check_finite(self._obs, bad, envs)
        if self.masks is not None:
            self.masks.read_batch(obs, infos, self.mailbox.arrays["action_mask"][envs])

    def _check_finite(self, slots: npt.NDArray[Any], k: int, envs: slice) -> None:
        """Raise ValueError for a NaN or an infinity in the observation of env k of a block."""
        try:
            self._finite.check(as_bytes(slots), k)
        except ValueError as error:
            raise ValueError(f"env {envs.start + k}: {error}") from None

    def _write_obs(self, envs: slice, live: npt.NDArray[Any]) -> None:
        """Write the observations of live envs (indices in the block) to slots or the mailbox."""
        arrays = self.mailbox.arrays
        agents = envs.start + live
        slots = np.array([self.mailbox.next_slot(agent) for agent in agents], np.int64)
        direct = slots >= 0
        if direct.any():
            arrays["slots"][slots[direct]] = self._obs[live[direct]]
        arrays["obs"][agents[~direct]] = self._obs[live[~direct]]


def _observation_of(batch: Any, k: int) -> Any:
    """Return observation k of a batch in Gymnasium's infos: an array, or arrays in dicts."""
    if isinstance(batch, dict):
        return {
            key: _observation_of(part, k)
            for key, part in batch.items()
            if not str(key).startswith("_")
        }
    return batch[k]
