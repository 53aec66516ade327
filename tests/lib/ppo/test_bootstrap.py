"""Values at the ends: every line of docs/design.md's same-step table, with computed numbers.

The trainer collects from the game `script`, which follows a test's script, and computes advantages.
The value of agent a in step t of life l is 16 a + 4 l + t, its reward 1000 a + t; lives count from
1. gamma is 1/2, gamma * lambda 1/4.
"""

from __future__ import annotations

import math

import numpy as np
import pytest

from pufferenv.engine._engine import TERMINAL, TRUNCATED
from pufferlib.config.options import PolicyOptions, TrainOptions, VecOptions
from pufferlib.ppo.trainer import Trainer
from tests.support.games import load_game, training_columns
from tests.support.paths import KNOWN_POLICY

pytestmark = pytest.mark.filterwarnings("ignore:batch_rows")
SPELLED = f"{KNOWN_POLICY}:Spelled"
DIE, CUT, RESPAWN, SPAWN, FLASH = 1, 2, 3, 4, 5


class Scripted:
    """A trainer of one env with two agents; `steps`: (fate of agent 1, end of the episode)."""

    def __init__(self, horizon: int, batch_rows: int, steps: list[tuple[int, int]]) -> None:
        train = TrainOptions(
            horizon=horizon,
            batch_size=horizon * batch_rows,
            gamma=0.5,
            gae_lambda=0.5,
            threads=1,
            device="cpu",
        )
        vec, policy = VecOptions(num_envs=1, num_threads=1), PolicyOptions(path=SPELLED)
        self.trainer = Trainer(load_game("script"), {"agents": 2}, vec, train, policy)
        self.steps = list(steps)
        self._step = self.trainer.env.step
        self.trainer.env.step = self.step

    def step(self, begin: int, end: int) -> None:
        fate, over = self.steps.pop(0)
        self.trainer.env.arrays["action"][:] = [[0, over, 0], [fate, 0, 0]]
        self._step(begin, end)

    def batch(self) -> dict[tuple[int, int, int], float]:
        """Collect a batch; return its advantages by (agent, life, step)."""
        trainer = self.trainer
        trainer._collect()
        trainer.batch.load(trainer.policy, trainer.version, 1.0)
        own = {name: column.reshape(-1) for name, column in training_columns(trainer).items()}
        np.testing.assert_allclose(own["target"], own["value"] + own["advantage"])
        seen = trainer.env.arrays["pool_observation"][trainer.batch.rows].reshape(-1, 4)[:, 1:]
        trainer.batch.release()
        return dict(zip(map(tuple, seen.tolist()), own["advantage"].tolist(), strict=True))


# name: horizon, rows of the batch, `steps` of Scripted, advantages by (agent, life, step)
TABLE = {
    # Row full for agent 0: 1 + 6/2 - 5 = -1, before it 0 + 5/2 - 4 - 1/4.
    # Agent 1: 1001 - 21 = 980, before it 1000 + 21/2 - 20 + 980/4.
    "dies in the last slot of its row": (
        2,
        2,
        [(0, 0), (DIE, 0)],
        {(0, 1, 0): -1.75, (0, 1, 1): -1, (1, 1, 0): 1235.5, (1, 1, 1): 980},
    ),
    # The other's final observation: 0 + 5/2 - 4. New lives, row full: 9/2 - 8, 1000 + 25/2 - 24.
    "dies and the episode is truncated": (
        2,
        2,
        [(DIE, TRUNCATED), (0, 0)],
        {(0, 1, 0): -1.5, (0, 2, 0): -3.5, (1, 1, 0): 980, (1, 2, 0): 988.5},
    ),
    "dies and the episode is terminal": (
        2,
        2,
        [(DIE, TERMINAL), (0, 0)],
        {(0, 1, 0): -4, (0, 2, 0): -3.5, (1, 1, 0): 980, (1, 2, 0): 988.5},
    ),
    # Life 2 of agent 1 had no step: 3 follows. Row full: 1000 + 29/2 - 28.
    "dies, respawns, and the episode is truncated": (
        2,
        2,
        [(RESPAWN, TRUNCATED), (0, 0)],
        {(0, 1, 0): -1.5, (0, 2, 0): -3.5, (1, 1, 0): 980, (1, 3, 0): 986.5},
    ),
    # Agent 1's row waits for life 3; agent 0 fills two rows, the second: 2 + 7/2 - 6, 3 + 8/2 - 7.
    "spawns and dies in one step": (
        2,
        3,
        [(DIE, 0), (FLASH, 0), (SPAWN, 0), (0, 0)],
        {
            **{(0, 1, 0): -1.75, (0, 1, 1): -1, (0, 1, 2): -0.5, (0, 1, 3): 0},
            **{(1, 1, 0): 980, (1, 3, 0): 986.5},
        },
    ),
    "is truncated and its row is full": (
        1,
        2,
        [(0, TRUNCATED)],
        {(0, 1, 0): -1.5, (1, 1, 0): 990.5},
    ),
    "is cut where its row is full, the other goes on": (
        1,
        2,
        [(CUT, 0)],
        {(0, 1, 0): -1.5, (1, 1, 0): 990.5},
    ),
    # Life 2 begins in the next slot of the same row: 1000 + 25/2 - 24.
    "dies and respawns": (
        2,
        2,
        [(RESPAWN, 0), (0, 0)],
        {(0, 1, 0): -1.75, (0, 1, 1): -1, (1, 1, 0): 980, (1, 2, 0): 988.5},
    ),
}


@pytest.mark.parametrize("name", TABLE)
def test_an_agent_that(name):
    horizon, rows, steps, expected = TABLE[name]
    scripted = Scripted(horizon, rows, steps)
    assert scripted.batch() == expected
    assert not scripted.steps
    scripted.trainer.close()


def test_carried_over_slots_are_reevaluated_and_weighted_by_the_clipped_ratio():
    """Agent 1's row is open while agent 0's is trained on; the new weights' values are 8 higher."""
    scripted = Scripted(3, 1, [(DIE, 0), (SPAWN, 0), (0, 0), (0, 0)])
    trainer = scripted.trainer
    assert scripted.batch().keys() == {(0, 1, 0), (0, 1, 1), (0, 1, 2)}
    trainer.updates += 1
    trainer.policy.shift.data.fill_(8)
    # As if the weights that acted gave these half and twice the probability: ratios 2 and 1/2.
    logprob = trainer.env.arrays["pool_logprob"]
    logprob[1, :2] += [-math.log(2), math.log(2)]
    advantages = scripted.batch()
    assert trainer.batch.carried == pytest.approx(2 / 3)
    assert trainer.batch.age == pytest.approx(2 / 3)
    assert advantages == {
        (1, 1, 0): pytest.approx(1000 - 28),  # rho 1: clipped
        (1, 2, 0): pytest.approx((1000 + 33 / 2 - 32) / 2 + 985 / 8),  # rho and c 1/2
        (1, 2, 1): pytest.approx(1001 + 34 / 2 - 33),  # under the current weights
    }
    trainer.close()
