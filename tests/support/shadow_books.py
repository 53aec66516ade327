"""Records every agent's transitions during training on probe, independently of the rows.

A plain vector env with the same seed, the twin, takes the same actions. Its code has nothing in
common with the rows. Its observations, rewards and dones are recorded, and every slot of a batch
must equal a recorded transition, which may occur only once. Letters as in pufferlib.ppo.batch.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

import pufferenv
from pufferenv.engine._engine import LIVE, TERMINAL, TRUNCATED
from pufferlib.ops.sample import UNUSED
from pufferlib.ppo.trainer import Trainer

COLUMNS = (
    "pool_observation",
    "pool_action",
    "pool_axis",
    "pool_logprob",
    "pool_value",
    "pool_next_value",
    "pool_reward",
    "pool_done",
    "pool_segment_start",
    "pool_version",
)


class Lived(NamedTuple):
    """One transition, or N of them."""

    seen: Any  # (4,)
    agent: Any
    when: Any  # step of all envs
    version: Any  # of the weights that acted
    choices: Any  # (2,) as the game read them
    push: Any
    reward: Any
    done: Any
    after: Any  # (4,) next observation; the final observation if the life was truncated


class Shadow:
    """Follows `trainer`, whose game is probe with config `env`, from its first step on.

    `batches` gets (columns, lived) when a batch is loaded: the pool's columns (B, H, ...) before
    loading changes them, and the recorded transitions (B, H, ...) of its observations.
    """

    def __init__(self, trainer: Trainer, env: dict[str, Any]) -> None:
        self.trainer = trainer
        self.twin = pufferenv.make("probe", trainer.env.num_envs, seed=trainer.train.seed, **env)
        self.seen = self.twin.reset()[0].copy()
        self.alive = self.twin.alive.copy()
        self.lived: list[Lived] = []
        self.waiting: dict[tuple[int, ...], int] = {}  # observation -> index in `lived`
        self.trained = self.steps = self.empty = 0  # empty: steps since an agent was alive
        self.batches: list[tuple[dict[str, Any], Lived]] = []
        self._step, self._load = trainer.env.step, trainer.batch.load
        trainer.env.step = self.step  # type: ignore[method-assign]
        trainer.batch.load = self.load  # type: ignore[method-assign]
        self._choices = np.zeros((trainer.env.num_agents, 2), np.int32)
        self._push = np.zeros((trainer.env.num_agents, 1), np.float32)

    def step(self, begin: int = 0, end: int | None = None) -> None:
        """Step one group; after the last group, step the twin."""
        env = self.trainer.env
        some = slice(begin * env.env_agents, (end or env.num_envs) * env.env_agents)
        self._choices[some], self._push[some] = (
            env.arrays["action"][some],
            env.arrays["axis"][some],
        )
        self._step(begin, end)
        if some.stop == env.num_agents:
            self._follow()
            np.testing.assert_array_equal(env.arrays["alive"], self.alive)

    def _follow(self) -> None:
        given = {"discrete": self._choices, "continuous": self._push}
        now, reward, terminated, truncated, infos = self.twin.step(given)
        for agent in np.flatnonzero(self.alive):
            done = TERMINAL if terminated[agent] else TRUNCATED if truncated[agent] else LIVE
            seen = infos["final_obs"] if done == TRUNCATED else now
            key = tuple(map(int, self.seen[agent]))
            assert key not in self.waiting
            self.waiting[key] = len(self.lived)
            self.lived.append(
                Lived(
                    self.seen[agent].copy(),
                    agent,
                    self.steps,
                    self.trainer.version,
                    self._choices[agent].copy(),
                    self._push[agent, 0],
                    reward[agent],
                    done,
                    seen[agent].copy(),
                )
            )
        self.seen, self.alive = now.copy(), self.twin.alive.copy()
        self.steps += 1
        self.empty = 0 if self.alive.any() else self.empty + 1

    def load(self, policy: Any, version: int, reward_scale: float) -> None:
        """Find each slot of the batch among the recorded transitions, and mark it as trained."""
        rows, arrays = self.trainer.env.engine.batch(), self.trainer.env.arrays
        columns = {name: arrays[name][rows].copy() for name in COLUMNS}
        keys = columns["pool_observation"].reshape(-1, 4).astype(int).tolist()
        found = [self.lived[self.waiting.pop(tuple(key))] for key in keys]
        self.trained += len(found)
        shape = columns["pool_reward"].shape
        lived = Lived(
            *(
                np.array(part).reshape(*shape, *np.shape(part[0]))
                for part in zip(*found, strict=True)
            )
        )
        self._load(policy, version, reward_scale)
        self.batches.append((columns, lived))

    def check_places(self, columns: dict[str, Any], lived: Lived) -> None:
        """Assert that each slot holds its transition and that the steps of a row are in order."""
        np.testing.assert_array_equal(columns["pool_observation"], lived.seen)
        np.testing.assert_array_equal(columns["pool_action"], lived.choices)
        np.testing.assert_array_equal(np.clip(columns["pool_axis"][..., 0], -1, 1), lived.push)
        np.testing.assert_array_equal(columns["pool_reward"], lived.reward)
        np.testing.assert_array_equal(columns["pool_done"], lived.done)
        np.testing.assert_array_equal(columns["pool_version"], lived.version)
        starts = columns["pool_segment_start"]
        assert starts[:, 0].all()
        on = ~starts[:, 1:]
        assert (lived.agent[:, 1:] == lived.agent[:, :-1])[on].all()
        assert (np.diff(lived.when, axis=1)[on] == 1).all()
        assert (np.diff(lived.when, axis=1) > 0).all()
        assert (lived.seen[:, 1:, 3][~on] == 0).all()  # a segment after slot 0 begins a life

    def check_conserved(self) -> None:
        """Assert that each transition was trained on, or is in the pool, exactly once."""
        trainer = self.trainer
        assert self.trained == trainer.trained_steps
        assert self.trained + len(self.waiting) == len(self.lived) == trainer.agent_steps
        assert trainer.dropped == len(self.waiting)
        arrays = trainer.env.arrays
        kept = arrays["pool_observation"][arrays["pool_version"] != UNUSED].astype(int).tolist()
        assert sorted(map(tuple, kept)) == sorted(self.waiting)
