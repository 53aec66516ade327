"""The runner of PettingZoo's parallel envs, whose agents enter and leave.

The engine has `num_agents` places per env. Each agent in `possible_agents` has its own place; any
other agent takes a free place when it enters. An agent in `terminations` dies. The life of an agent
in `truncations` is cut short, and its observation is its final one. An episode is over when no
agent is left.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from pufferenv.engine._engine import DISABLED, LIVE, NEXT_STEP, TERMINAL, TRUNCATED
from pufferenv.external._external import EnvError, FiniteCheck, Mailbox, as_bytes
from pufferenv.external.description import EnvDescription
from pufferenv.external.episode_infos import write_infos
from pufferenv.external.runners.base import EnvMask, Seeds
from pufferenv.spaces import FLOAT32_MAX


class PettingZooRunner:
    """Steps PettingZoo envs one after the other. `first`: the engine's index of envs[0]."""

    def __init__(
        self, mailbox: Mailbox, envs: list[Any], first: int, mode: int, description: EnvDescription
    ) -> None:
        self.mailbox, self.envs, self.first, self.mode = mailbox, envs, first, mode
        self.name, self.num_agents = description.name, description.num_agents
        self.observations, self.actions = description.observations, description.actions
        self.masks, self._finite = description.masks, FiniteCheck(self.observations)
        # The arrays that observations are written to, each as one view per part and as bytes.
        self._targets: dict[str, tuple[list[Any], npt.NDArray[np.uint8]]] = {
            key: (self.observations.views(mailbox.arrays[key]), as_bytes(mailbox.arrays[key]))
            for key in ("slots", "obs", "final_obs")
            if key in mailbox.arrays
        }
        # One entry per env in each of these.
        self._own_place = [
            {agent: place for place, agent in enumerate(getattr(env, "possible_agents", ()))}
            for env in envs
        ]
        self._places: list[dict[Any, int]] = [{} for _ in envs]  # place of each live agent
        self._departed: list[set[Any]] = [set() for _ in envs]  # agents that left this episode
        self._ended = [False] * len(envs)  # skip the next step: the episode is over
        self._num_steps = [0] * len(envs)

    def reset(self, begin: int, end: int, seeds: Seeds = None, mask: EnvMask = None) -> None:
        """Begin new episodes with `seeds` (E,) in the envs of `mask` (E,) within [begin, end)."""
        for i in range(begin, end):
            if mask is not None and not mask[i]:
                continue
            try:
                self._ended[i - self.first] = False
                self._clear_results(i)
                self._begin_episode(i, None if seeds is None else int(seeds[i]), to_mailbox=True)
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

    def render(self, envs: Sequence[int]) -> list[Any]:
        """Call the envs' own render()."""
        return [self.envs[env - self.first].render() for env in envs]

    def close(self) -> None:
        """Close all envs."""
        for env in self.envs:
            env.close()

    def _error(self, i: int, what: str, error: Exception) -> EnvError:
        step = self._num_steps[i - self.first]
        return EnvError(f"{self.name}: env {i}, {what} {step}: {type(error).__name__}: {error}")

    def _clear_results(self, i: int) -> None:
        arrays, agents = self.mailbox.arrays, self._agents(i)
        arrays["reward"][agents] = 0
        arrays["done"][agents] = LIVE
        arrays["episode_done"][i] = LIVE

    def _agents(self, i: int) -> slice:
        return slice(i * self.num_agents, (i + 1) * self.num_agents)

    def _begin_episode(self, i: int, seed: int | None, to_mailbox: bool) -> None:
        """Begin an episode. `to_mailbox`: write observations to the mailbox, not to their slots."""
        e = i - self.first
        env = self.envs[e]
        self.mailbox.arrays["current_env"][0] = i
        obs, infos = env.reset() if seed is None else env.reset(seed=seed)
        self._departed[e] = set()
        self._places[e] = {}
        if not env.agents:
            raise ValueError("a new episode begins with no agents: reset() must provide some")
        for agent in env.agents:
            self._places[e][agent] = self._find_place(e, agent, set(self._places[e].values()))
        self._write_live(i, obs, infos, to_mailbox)

    def _find_place(
        self, e: int, agent: Any, taken: set[int], leaving: frozenset[int] = frozenset()
    ) -> int:
        """Return the agent's own place, else a free one; places being left now come last."""
        own = self._own_place[e].get(agent)
        if own is not None and own not in taken:
            return own
        free = [place for place in range(self.num_agents) if place not in taken]
        if not free:
            raise ValueError(
                f"agent {agent!r} enters, but all {self.num_agents} places are taken: pass the "
                "maximum number of agents at a time as wrap(agents=...)"
            )
        return min(free, key=lambda place: (place in leaving, place))

    def _write_live(
        self, i: int, obs: dict[Any, Any], infos: dict[Any, Any], to_mailbox: bool = False
    ) -> None:
        """Write which agents are alive, their observations and their masks."""
        arrays, base = self.mailbox.arrays, i * self.num_agents
        arrays["alive"][self._agents(i)] = 0
        for agent, place in self._places[i - self.first].items():
            arrays["alive"][base + place] = 1
            slot = -1 if to_mailbox else self.mailbox.next_slot(base + place)
            if slot < 0:
                arrays["written_slot"][base + place] = -1
                self._write_obs("obs", base + place, agent, obs)
            else:
                self._write_obs("slots", slot, agent, obs)
            if self.masks is not None:
                try:
                    mask = arrays["action_mask"][base + place]
                    self.masks.read(obs[agent], infos.get(agent, {}), mask)
                except ValueError as error:
                    raise ValueError(f"agent {agent!r}: {error}") from None

    def _write_obs(self, key: str, index: int, agent: Any, obs: dict[Any, Any]) -> None:
        """Write an agent's observation to place `index` of an array of the mailbox."""
        if agent not in obs:
            raise ValueError(
                f"there is no observation of {agent!r}: step() must return one for every agent "
                "that is alive or truncated"
            )
        views, raw = self._targets[key]
        try:
            self.observations.write(views, index, obs[agent])
            self._finite.check(raw, index)
        except ValueError as error:
            raise ValueError(f"agent {agent!r}: {error}") from None

    def _step(self, i: int) -> None:
        e, base, arrays = i - self.first, i * self.num_agents, self.mailbox.arrays
        env, acting = self.envs[e], self._places[e]
        arrays["current_env"][0] = i
        self._num_steps[e] += 1
        self._clear_results(i)
        actions = {
            agent: self.actions.unpack(arrays["action"][base + p], arrays["axis"][base + p])
            for agent, p in acting.items()
        }
        obs, rewards, terminated, truncated, infos = env.step(actions)

        # Rewards and ends of the agents that acted.
        remaining = set(env.agents)
        leaving: dict[int, int] = {}  # by place: how its agent's life ended
        for agent, place in acting.items():
            reward = float(rewards.get(agent, 0.0))
            if not abs(reward) <= FLOAT32_MAX:  # false for NaN too
                raise ValueError(
                    f"the reward of {agent!r} is {reward}, not a finite float32: the env must "
                    "return finite rewards"
                )
            arrays["reward"][base + place] = reward
            if truncated.get(agent) and not terminated.get(agent):
                leaving[place] = TRUNCATED
            elif terminated.get(agent) or agent not in remaining:
                leaving[place] = TERMINAL
            else:
                continue
            self._departed[e].add(agent)
            if agent in obs or leaving[place] == TRUNCATED:
                self._write_obs("final_obs", base + place, agent, obs)
        if leaving:
            write_infos(arrays, i, [infos.get(a, {}) for a, p in acting.items() if p in leaving])

        # The agents that act in the next step.
        self._places[e] = {a: p for a, p in acting.items() if p not in leaving}
        self._enter(e, env.agents, leaving)
        for place, done in leaving.items():
            arrays["done"][base + place] = done
        if self._places[e]:
            self._write_live(i, obs, infos)
        else:
            self._end_episode(i, leaving)

    def _enter(self, e: int, agents: list[Any], leaving: dict[int, int]) -> None:
        """Give places to new agents; the place of a truncated life stays taken in this step."""
        live = self._places[e]
        cut = {place for place, done in leaving.items() if done == TRUNCATED}
        for agent in agents:
            if agent not in live and agent not in self._departed[e]:
                live[agent] = self._find_place(
                    e, agent, cut | set(live.values()), frozenset(leaving)
                )

    def _end_episode(self, i: int, leaving: dict[int, int]) -> None:
        """End the episode, and begin the next one except in DISABLED mode."""
        arrays = self.mailbox.arrays
        done = TERMINAL if TERMINAL in leaving.values() or not leaving else TRUNCATED
        arrays["episode_done"][i] = done
        # The engine ends all lives together with the episode, so `done` of an agent is set only if
        # it differs from the episode's.
        ends = arrays["done"][self._agents(i)]
        ends[ends == done] = LIVE
        self._ended[i - self.first] = self.mode in (NEXT_STEP, DISABLED)
        if self.mode != DISABLED:
            self._begin_episode(i, None, to_mailbox=self.mode == NEXT_STEP)
