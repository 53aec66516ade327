"""The runner of whole vector envs: Gymnasium's in any autoreset mode, and envpool's.

Where a vector env shows the new episode's first observation only in the next step (NEXT_STEP, and
envpool), that step is nobody's: the env has no live agent between its episodes.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from gymnasium.vector import AutoresetMode

from pufferenv.engine.transition import LIVE, TERMINAL, TRUNCATED
from pufferenv.external._external import EnvError, Floats, Mailbox, raw
from pufferenv.external.action_masks import Legal
from pufferenv.external.episode_infos import numbers_of, tell
from pufferenv.spaces import FLOAT32_MAX, ActionPacking, Packing


class VectorEnvRunner:
    """Vector envs of `block` envs each. `first`: the engine's index of the very first env."""

    def __init__(
        self,
        mailbox: Mailbox,
        envs: list[Any],
        first: int,
        name: str,
        observations: Packing,
        actions: ActionPacking,
        legal: Legal | None,
        block: int,
        autoreset: AutoresetMode,
    ) -> None:
        self.mailbox, self.envs, self.first, self.name, self.block = (
            mailbox,
            envs,
            first,
            name,
            block,
        )
        self.observations, self.actions, self.autoreset = observations, actions, autoreset
        self.legal, self._floats = legal, Floats(observations)
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
        arrays = self.mailbox.arrays
        for b, some in self._blocks(begin, end):
            arrays["at"][0] = some.start
            given = {}
            if seeds is not None and not is_envpool(self.envs[b]):
                given["seed"] = int(seeds[some.start])  # not all take one for each env
            try:
                obs, infos = self.envs[b].reset(**given)
                self._pack(obs, infos, some)
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
        arrays = self.mailbox.arrays
        arrays["at"][0] = some.start
        between = self._between[some.start - self.first : some.stop - self.first]
        actions = self.actions.unpack(arrays["action"][some], arrays["axis"][some])
        obs, rewards, terminated, truncated, infos = env.step(actions)
        sound = np.abs(np.where(between, 0, rewards)) <= FLOAT32_MAX  # nor NaN
        if not sound.all():
            bad = int(np.argmin(sound))
            raise ValueError(
                f"the reward of env {some.start + bad} is {rewards[bad]}, no finite float32"
            )
        over = np.where(terminated, TERMINAL, np.where(truncated, TRUNCATED, LIVE))
        over[between] = LIVE
        ended = np.flatnonzero(over)
        arrays["reward"][some] = rewards
        arrays["over"][some] = over
        self._pack(obs, infos, some)
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
        final = self.mailbox.arrays["final"][some]
        same_step = self.autoreset is AutoresetMode.SAME_STEP
        for k in ended:
            info = numbers_of(infos, k, self.block)
            if same_step:
                self.observations.pack(_one(infos["final_obs"], k), final[k])
                self._look(final, k, some)
                info = {**info.pop("final_info", {}), "episode": info.get("episode")}
            tell(self.mailbox.arrays, some.start + k, [info])
        if same_step:
            return
        final[ended] = self._seen[ended]
        if self.autoreset is AutoresetMode.DISABLED:
            mask = np.zeros(self.block, np.bool_)
            mask[ended] = True
            seen, infos = env.reset(options={"reset_mask": mask})
            self._pack(seen, infos, some)

    def _pack(self, obs: Any, infos: Any, some: slice) -> None:
        """Take what all envs of a block see and may do now."""
        self.observations.pack_batch(obs, self._seen)
        if (bad := self._floats.first_bad(raw(self._seen))) >= 0:
            self._look(self._seen, bad, some)
        if self.legal is not None:
            self.legal.write_batch(self.mailbox.arrays["legal"][some], obs, infos)

    def _look(self, slots: npt.NDArray[Any], k: int, some: slice) -> None:
        """Refuse a NaN or an infinity in what env k of a block sees."""
        try:
            self._floats.check(raw(slots), k)
        except ValueError as error:
            raise ValueError(f"env {some.start + k}: {error}") from None

    def _place(self, some: slice, who: npt.NDArray[Any]) -> None:
        """Put what these envs (of the block) see now into their next slots, or the mailbox."""
        arrays = self.mailbox.arrays
        agents = some.start + who
        at = np.array([self.mailbox.place(agent) for agent in agents], np.int64)
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
