"""External envs with identifiable observations, which record every transition that they make.

An observation is (tag of the env, agent, life, step of that life), which occurs only once.
`RECORDED` maps it to the action, reward, end and next observation of the step that followed. Envs
in worker processes write to the RECORDED of their own process.
"""

from __future__ import annotations

from typing import ClassVar, NamedTuple

import gymnasium
import numpy as np
from gymnasium.spaces import Box, Dict, Discrete, MultiDiscrete

from pufferenv.engine._engine import LIVE, TERMINAL, TRUNCATED
from pufferenv.game_config import env_seeds


class Transition(NamedTuple):
    """One step of one agent."""

    action: int
    reward: float
    done: int  # LIVE, TERMINAL or TRUNCATED
    after: tuple[float, ...]  # the next observation


RECORDED: dict[tuple[float, ...], Transition] = {}


def record(seen: tuple[float, ...], action: int, done: int) -> tuple[float, tuple[float, ...]]:
    """Record one step; return its reward and the next observation."""
    tag, agent, life, step = seen
    after = (tag, agent, life, step + 1)
    reward = float((7 * tag + 5 * agent + 3 * life + step) % 97 + 100 * action)
    assert seen not in RECORDED
    RECORDED[seen] = Transition(action, reward, done, after)
    return reward, after


class RecordingEnv(gymnasium.Env):
    """One agent. Each step ends the episode with probability `end`, half of them by truncation."""

    observation_space = Box(-1e9, 1e9, (4,), np.float32)
    action_space = Discrete(3)

    def __init__(self, end: float = 0.2) -> None:
        self.end, self.life, self.tag = end, -1, 0

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        if seed is not None:
            self.tag = seed % 2**20
        self.life += 1
        self.seen = (float(self.tag), 0.0, float(self.life), 0.0)
        return np.array(self.seen, np.float32), {}

    def step(self, action):
        done = int(self.np_random.integers(1, 3)) if self.np_random.random() < self.end else LIVE
        reward, self.seen = record(self.seen, int(action), done)
        seen = np.array(self.seen, np.float32)
        return seen, reward, done == TERMINAL, done == TRUNCATED, {}


class Nested(RecordingEnv):
    """A RecordingEnv whose observation and action spaces are nested and of several dtypes."""

    observation_space = Dict(
        {
            "who": Box(-1e9, 1e9, (2,), np.float64),
            "life": Discrete(10**6),
            "step": Box(0, 255, (1, 1), np.uint8),
        }
    )
    action_space = Dict({"push": Box(-1, 1, (2,), np.float64), "choice": MultiDiscrete([3, 2])})

    def _observations(self, seen):
        who = np.array(seen[:2], np.float64)
        return {"who": who, "life": int(seen[2]), "step": np.array([[seen[3]]], np.uint8)}

    def reset(self, *, seed=None, options=None):
        return self._observations(super().reset(seed=seed)[0]), {}

    def step(self, action):
        assert self.action_space.contains(action), action
        seen, *rest = super().step(action["choice"][0])
        return self._observations(seen), *rest


class Village:
    """A ParallelEnv of up to `places` agents: some die, some are truncated, some enter.

    `fresh`: agents that enter have new ids, and possible_agents is empty; otherwise no agent comes
    back.
    """

    metadata: ClassVar = {"name": "village"}

    def __init__(self, places: int = 4, fresh: bool = False) -> None:
        self.places, self.fresh, self.episode, self.tag = places, fresh, -1, 0
        self.possible_agents = [] if fresh else [f"agent_{n}" for n in range(places)]
        self.agents: list[str] = []
        self.born = 0
        self.random = np.random.default_rng(0)

    def observation_space(self, agent):
        return RecordingEnv.observation_space

    def action_space(self, agent):
        return RecordingEnv.action_space

    def _enter(self, name: str) -> None:
        self.agents.append(name)
        self.seen[name] = (float(self.tag), float(name[6:]), float(self.episode), 0.0)

    def reset(self, seed=None, options=None):
        if seed is not None:
            self.random, self.tag = np.random.default_rng(seed), seed % 2**20
        self.episode += 1
        self.agents, self.seen, self.last = [], {}, int(self.random.integers(3, 12))
        for n in range(self.places if self.random.random() < 0.5 else 2):
            self._enter(f"agent_{self.born if self.fresh else n}")
            self.born += 1
        return self._observations(self.agents), {name: {} for name in self.agents}

    def _observations(self, names):
        return {name: np.array(self.seen[name], np.float32) for name in names}

    def step(self, actions):
        assert set(actions) == set(self.agents)
        self.last -= 1
        names, rewards, done = list(self.agents), {}, {}
        for name in names:
            by_chance = self.random.choice([LIVE, TERMINAL, TRUNCATED], p=[0.8, 0.1, 0.1])
            done[name] = int(by_chance) if self.last or by_chance else TRUNCATED
            rewards[name], self.seen[name] = record(self.seen[name], int(actions[name]), done[name])
        self.agents = [name for name in names if not done[name]]
        if self.agents and self.fresh and len(names) < self.places and self.random.random() < 0.5:
            self._enter(f"agent_{self.born}")
            self.born += 1
        return (
            self._observations([*names, *(a for a in self.agents if a not in names)]),
            rewards,
            {name: done[name] == TERMINAL for name in names},
            {name: done[name] == TRUNCATED for name in names},
            {name: {} for name in names},
        )

    def close(self):
        """Close nothing."""


def first_seeds(seed, count):
    """Return the seeds of the first reset of `count` Python envs."""
    return env_seeds(seed, count) >> np.uint64(33)
