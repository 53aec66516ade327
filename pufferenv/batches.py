"""The host of whole vector envs: Gymnasium's in any autoreset mode, and envpool's.

Where a vector env shows the new episode's first observation only in the next step (NEXT_STEP, and
envpool), that step is nobody's: the env has no live agent between its episodes.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from gymnasium.vector import AutoresetMode

from pufferenv._outside import EnvError, Mail
from pufferenv.done import LIVE, TERMINAL, TRUNCATED
from pufferenv.packing import ActionPacking, Packing


class Batches:
    """Vector envs of `block` envs each. `first`: the engine's index of the very first env."""

    def __init__(
        self,
        mail: Mail,
        envs: list[Any],
        first: int,
        name: str,
        observations: Packing,
        actions: ActionPacking,
        block: int,
        autoreset: AutoresetMode,
    ) -> None:
        self.mail, self.envs, self.first, self.name, self.block = mail, envs, first, name, block
        self.observations, self.actions, self.autoreset = observations, actions, autoreset
        self._between = np.zeros(block * len(envs), np.bool_)  # its first observation is due
        self._seen = np.zeros((block, *observations.shape), observations.dtype)
        self._ticks = 0

    def reset(
        self,
        begin: int,
        end: int,
        seeds: npt.NDArray[np.uint64] | None = None,
        mask: npt.NDArray[np.bool_] | None = None,
    ) -> None:
        """Begin new episodes in envs [begin, end), with `seeds` (E,): that of the first env.

        A vector env makes the seeds of the others itself. envpool takes seeds only when it is made.
        """
        arrays = self.mail.arrays
        for b, some in self._blocks(begin, end):
            given = {}
            if seeds is not None and not is_envpool(self.envs[b]):
                given["seed"] = int(seeds[some.start])  # not all take one for each env
            try:
                obs, _ = self.envs[b].reset(**given)
                self._pack(obs)
            except Exception as error:
                raise self._error(some, "reset", error) from error
            for name, value in (("reward", 0), ("done", LIVE), ("over", LIVE), ("alive", 1)):
                arrays[name][some] = value
            arrays["written"][some] = -1
            arrays["obs"][some] = self._seen
            self._between[some.start - self.first : some.stop - self.first] = False

    def step(self, begin: int, end: int) -> None:
        """Step envs [begin, end), whole vector envs, with the actions of the engine's arrays."""
        self._ticks += 1
        for b, some in self._blocks(begin, end):
            try:
                self._step(self.envs[b], some)
            except Exception as error:
                raise self._error(some, "step", error) from error

    def close(self) -> None:
        """Close all vector envs."""
        for env in self.envs:
            env.close()

    def _blocks(self, begin: int, end: int) -> list[tuple[int, slice]]:
        """Return each vector env of a range: its place in `envs`, and its envs."""
        if (begin - self.first) % self.block or (end - self.first) % self.block:
            raise ValueError(
                f"envs [{begin}, {end}) are not whole vector envs of {self.block}: take groups "
                "that are"
            )
        starts = range(begin, end, self.block)
        return [((s - self.first) // self.block, slice(s, s + self.block)) for s in starts]

    def _error(self, some: slice, what: str, error: Exception) -> EnvError:
        return EnvError(
            f"{self.name}: envs [{some.start}, {some.stop}), {what} {self._ticks}: "
            f"{type(error).__name__}: {error}"
        )

    def _step(self, env: Any, some: slice) -> None:
        arrays = self.mail.arrays
        arrays["at"][0] = some.start
        between = self._between[some.start - self.first : some.stop - self.first]
        actions = self.actions.unpack(arrays["actions"][some], arrays["axes"][some])
        obs, rewards, terminated, truncated, infos = env.step(actions)
        if not np.isfinite(np.where(between, 0, rewards)).all():
            bad = int(np.flatnonzero(~np.isfinite(np.where(between, 0, rewards)))[0])
            raise ValueError(f"the reward of env {some.start + bad} is {rewards[bad]}")
        over = np.where(terminated, TERMINAL, np.where(truncated, TRUNCATED, LIVE))
        over[between] = LIVE
        ended = np.flatnonzero(over)
        arrays["reward"][some] = rewards
        arrays["over"][some] = over
        self._pack(obs)
        self._finish(env, some, ended, infos)
        between[:] = False
        if self.autoreset is AutoresetMode.NEXT_STEP:
            between[ended] = True
        arrays["alive"][some] = ~between
        self._place(some, np.flatnonzero(~between))

    def _finish(self, env: Any, some: slice, ended: npt.NDArray[Any], infos: Any) -> None:
        """Keep final observations, and see to it that `_seen` has the next ones."""
        if not len(ended):
            return
        final = self.mail.arrays["final"][some]
        if self.autoreset is AutoresetMode.SAME_STEP:
            for k in ended:
                self.observations.pack(_one(infos["final_obs"], k), final[k])
            return
        final[ended] = self._seen[ended]
        if self.autoreset is AutoresetMode.DISABLED:
            mask = np.zeros(self.block, np.bool_)
            mask[ended] = True
            self._pack(env.reset(options={"reset_mask": mask})[0])

    def _pack(self, obs: Any) -> None:
        self.observations.pack_batch(obs, self._seen)

    def _place(self, some: slice, who: npt.NDArray[Any]) -> None:
        """Put what these envs (of the block) see now into their next slots, or the mailbox."""
        arrays = self.mail.arrays
        agents = some.start + who
        at = np.array([self.mail.place(agent) for agent in agents], np.int64)
        straight = at >= 0
        if straight.any():
            arrays["slots"][at[straight]] = self._seen[who[straight]]
        arrays["obs"][agents[~straight]] = self._seen[who[~straight]]


def is_envpool(env: Any) -> bool:
    """Whether an env is one of envpool's, which is a vector env though it does not say so."""
    return hasattr(env, "async_reset") and hasattr(env, "config")


def autoreset_of(env: Any) -> AutoresetMode:
    """Return when a vector env begins new episodes. Raise ValueError where it does not say."""
    if is_envpool(env):
        return AutoresetMode.NEXT_STEP
    mode = env.metadata.get("autoreset_mode")
    if not isinstance(mode, AutoresetMode):
        raise ValueError(
            f"{type(env).__name__} does not say when it begins new episodes: its "
            f"metadata['autoreset_mode'] is {mode!r}, must be a gymnasium.vector.AutoresetMode"
        )
    return mode


def _one(batch: Any, k: int) -> Any:
    """Return observation k of a batch, as Gymnasium's infos have one: arrays in dicts."""
    if isinstance(batch, dict):
        return {key: _one(part, k) for key, part in batch.items() if not str(key).startswith("_")}
    return batch[k]
