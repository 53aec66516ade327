"""What wrapping a Python env costs: steps/s beside gymnasium's vector envs, for envs of known cost.

`python bench/wrap.py` prints, per cost of one env step, the steps/s of gymnasium's AsyncVectorEnv and
SyncVectorEnv and of the backends of pufferlib.wrap, side by side in each round, and the ratio of
medians; then what serial wrapping adds to a trivial env's own step. Workers are as many as --workers.
AsyncVectorEnv has one process per env, as it always has.
"""

from __future__ import annotations

import argparse
import functools
import statistics
import time
from typing import Any

import gymnasium
import numpy as np

import pufferlib


class Busy(gymnasium.Env[Any, Any]):
    """Computes for `micros` in each step, holding the GIL, as a Python env does."""

    observation_space = gymnasium.spaces.Box(-1, 1, (4,), np.float32)
    action_space = gymnasium.spaces.Discrete(2)

    def __init__(self, micros: float = 0) -> None:
        self.nanos, self.obs, self.info = int(micros * 1000), np.zeros(4, np.float32), {}

    def reset(self, *, seed: Any = None, options: Any = None) -> Any:
        """Begin an episode, which never ends."""
        return self.obs, self.info

    def step(self, action: Any) -> Any:
        """Take `micros`."""
        if self.nanos:
            until = time.perf_counter_ns() + self.nanos
            while time.perf_counter_ns() < until:
                pass
        return self.obs, 1.0, False, False, self.info
