"""The runner of PettingZoo's ParallelEnvs: agents that enter and leave, at places of the engine's.

An id that is in `possible_agents` has a place of its own; any other takes one that is free when it
enters. An agent that leaves by `terminations` dies there; by `truncations` its life is cut short,
and its observation is the final one. An episode is over when nobody is left.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from pufferenv.engine._engine import DISABLED, NEXT_STEP
from pufferenv.engine.transition import LIVE, TERMINAL, TRUNCATED
from pufferenv.external._external import EnvError, Floats, Mailbox, raw
from pufferenv.external.action_masks import Legal
from pufferenv.external.episode_infos import tell
from pufferenv.spaces import FLOAT32_MAX, ActionPacking, Packing


class PettingZooRunner:
    """PettingZoo envs, stepped one after the other. `first`: the engine's index of envs[0]."""

    def __init__(
        self,
        mailbox: Mailbox,
        envs: list[Any],
        first: int,
        mode: int,
        name: str,
        observations: Packing,
        actions: ActionPacking,
        legal: Legal | None,
        num_agents: int,
    ) -> None:
        self.mailbox, self.envs, self.first, self.mode, self.name = mailbox, envs, first, mode, name
        self.observations, self.actions, self.num_agents = observations, actions, num_agents
        self.legal, self._floats = legal, Floats(observations)
        self._slots: dict[str, tuple[list[Any], npt.NDArray[np.uint8]]] = {
            key: (observations.views(mailbox.arrays[key]), raw(mailbox.arrays[key]))
            for key in ("slots", "obs", "final")
            if key in mailbox.arrays
        }
        self._home = [
            {agent: place for place, agent in enumerate(getattr(env, "possible_agents", ()))}
            for env in envs
        ]
        self._live: list[dict[Any, int]] = [{} for _ in envs]  # by env: place of each agent
        self._left: list[set[Any]] = [set() for _ in envs]  # by env: who died in this episode
        self._ended = [False] * len(envs)
        self._ticks = [0] * len(envs)

    def reset(
        self,
        begin: int,
        end: int,
        seeds: npt.NDArray[np.uint64] | None = None,
        mask: npt.NDArray[np.bool_] | None = None,
    ) -> None:
        """Begin new episodes in envs [begin, end), those of `mask` (E,), with `seeds` (E,)."""
        for i in range(begin, end):
            if mask is not None and not mask[i]:
                continue
            try:
                self._ended[i - self.first] = False
                self._clear(i)
                self._begin(i, None if seeds is None else int(seeds[i]), mailed=True)
            except Exception as error:
                raise self._error(i, "reset", error) from error

    def step(self, begin: int, end: int) -> None:
        """Step envs [begin, end) with the actions of the engine's arrays."""
        for i in range(begin, end):
            if self._ended[i - self.first]:
                self._ended[i - self.first] = self.mode == DISABLED
                continue
            try:
                self._step(i)
            except Exception as error:
                raise self._error(i, "step", error) from error

    def close(self) -> None:
        """Close all envs."""
        for env in self.envs:
            env.close()

    def _error(self, i: int, what: str, error: Exception) -> EnvError:
        tick = self._ticks[i - self.first]
        return EnvError(f"{self.name}: env {i}, {what} {tick}: {type(error).__name__}: {error}")

    def _clear(self, i: int) -> None:
        arrays, agents = self.mailbox.arrays, self._agents(i)
        arrays["reward"][agents] = 0
        arrays["done"][agents] = LIVE
        arrays["over"][i] = LIVE

    def _agents(self, i: int) -> slice:
        return slice(i * self.num_agents, (i + 1) * self.num_agents)

    def _begin(self, i: int, seed: int | None, mailed: bool) -> None:
        """Begin an episode; `mailed`: no observation goes straight to its slot."""
        e = i - self.first
        env = self.envs[e]
        self.mailbox.arrays["at"][0] = i
        seen, infos = env.reset() if seed is None else env.reset(seed=seed)
        self._left[e] = set()
        self._live[e] = {}
        if not env.agents:
            raise ValueError("a new episode begins with no agents: nobody would ever act")
        for agent in env.agents:
            self._live[e][agent] = self._place(e, agent, set(self._live[e].values()))
        self._look(i, seen, infos, mailed)

    def _place(
        self, e: int, agent: Any, taken: set[int], leaving: frozenset[int] = frozenset()
    ) -> int:
        """Find a place: the agent's own, else one that nobody leaves in this step, else any."""
        own = self._home[e].get(agent)
        if own is not None and own not in taken:
            return own
        free = [p for p in range(self.num_agents) if p not in taken]
        if not free:
            raise ValueError(
                f"{agent!r} enters, and all {self.num_agents} places are taken: wrap(agents=...) "
                "says how many there are at once"
            )
        return min(free, key=lambda place: (place in leaving, place))

    def _look(
        self, i: int, seen: dict[Any, Any], infos: dict[Any, Any], mailed: bool = False
    ) -> None:
        """Write what everybody sees, and may do, who is alive now."""
        arrays, base = self.mailbox.arrays, i * self.num_agents
        arrays["alive"][self._agents(i)] = 0
        for agent, place in self._live[i - self.first].items():
            arrays["alive"][base + place] = 1
            at = -1 if mailed else self.mailbox.place(base + place)
            if at < 0:
                arrays["written"][base + place] = -1
                self._write("obs", base + place, agent, seen)
            else:
                self._write("slots", at, agent, seen)
            if self.legal is not None:
                try:
                    mask = arrays["legal"][base + place]
                    self.legal.write(mask, seen[agent], infos.get(agent, {}))
                except ValueError as error:
                    raise ValueError(f"agent {agent!r}: {error}") from None

    def _write(self, key: str, index: int, agent: Any, seen: dict[Any, Any]) -> None:
        """Put what an agent sees to place `index` of slots, obs or final."""
        if agent not in seen:
            raise ValueError(f"there is no observation of {agent!r}, who lives or was truncated")
        views, raw_slots = self._slots[key]
        try:
            self.observations.write(views, index, seen[agent])
            self._floats.check(raw_slots, index)
        except ValueError as error:
            raise ValueError(f"agent {agent!r}: {error}") from None

    def _step(self, i: int) -> None:
        e, base, arrays = i - self.first, i * self.num_agents, self.mailbox.arrays
        env, acting = self.envs[e], self._live[e]
        arrays["at"][0] = i
        self._ticks[e] += 1
        self._clear(i)
        actions = {
            agent: self.actions.unpack(arrays["action"][base + p], arrays["axis"][base + p])
            for agent, p in acting.items()
        }
        seen, rewards, terminated, truncated, infos = env.step(actions)
        here = set(env.agents)
        leaving: dict[int, int] = {}  # by place: how its agent's life ended
        for agent, place in acting.items():
            reward = float(rewards.get(agent, 0.0))
            if not abs(reward) <= FLOAT32_MAX:  # nor NaN
                raise ValueError(f"the reward of {agent!r} is {reward}, no finite float32")
            arrays["reward"][base + place] = reward
            if truncated.get(agent) and not terminated.get(agent):
                leaving[place] = TRUNCATED
            elif terminated.get(agent) or agent not in here:
                leaving[place] = TERMINAL
            else:
                continue
            self._left[e].add(agent)
            if agent in seen or leaving[place] == TRUNCATED:
                self._write("final", base + place, agent, seen)
        if leaving:
            tell(arrays, i, [infos.get(a, {}) for a, p in acting.items() if p in leaving])
        self._live[e] = {a: p for a, p in acting.items() if p not in leaving}
        self._enter(e, env.agents, leaving)
        for place, done in leaving.items():
            arrays["done"][base + place] = done
        if self._live[e]:
            self._look(i, seen, infos)
            return
        # Who is ended by the episode's own reason has no end of its own.
        over = TERMINAL if TERMINAL in leaving.values() or not leaving else TRUNCATED
        arrays["over"][i] = over
        ends = arrays["done"][self._agents(i)]
        ends[ends == over] = LIVE
        self._ended[e] = self.mode in (NEXT_STEP, DISABLED)
        if self.mode != DISABLED:
            self._begin(i, None, mailed=self.mode == NEXT_STEP)

    def _enter(self, e: int, agents: list[Any], leaving: dict[int, int]) -> None:
        """Give a place to everybody who is new; who is cut short keeps its place in this step."""
        live = self._live[e]
        cut = {place for place, done in leaving.items() if done == TRUNCATED}
        for agent in agents:
            if agent not in live and agent not in self._left[e]:
                live[agent] = self._place(e, agent, cut | set(live.values()), frozenset(leaving))
