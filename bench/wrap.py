"""Cost of wrapping a Python env, compared with Gymnasium's own vector envs.

    python bench/wrap.py [--envs 64] [--workers 2] [--micros 5 100] [--rounds 5] [--seconds 0.5]

Compares Gymnasium's AsyncVectorEnv (one process per env) and SyncVectorEnv with the backends of
`wrap`, for Python envs that take --micros microseconds per step. They take turns in each round; the
unit is thousand env steps per second. Then it measures the overhead of the serial backend with an
env that does nothing: ns per env step of a bare loop, of `step` on a vector env, and of a RowEnv,
as a trainer steps it.
"""

from __future__ import annotations

import argparse
import functools
import os
import statistics
import time
from collections.abc import Callable
from typing import Any

import gymnasium
import numpy as np
from gymnasium.vector import AsyncVectorEnv, SyncVectorEnv, VectorEnv
from timing import describe, rate, rounds, table

import pufferenv


class Busy(gymnasium.Env[Any, Any]):
    """Computes for `micros` microseconds in each step; its episodes never end."""

    observation_space = gymnasium.spaces.Box(-1, 1, (4,), np.float32)
    action_space = gymnasium.spaces.Discrete(2)

    def __init__(self, micros: float = 0) -> None:
        self.nanos = int(micros * 1000)
        self.obs, self.info = np.zeros(4, np.float32), dict[str, Any]()

    def reset(self, *, seed: Any = None, options: Any = None) -> Any:
        """Begin an episode."""
        return self.obs, self.info

    def step(self, action: Any) -> Any:
        """Compute."""
        if self.nanos:
            until = time.perf_counter_ns() + self.nanos
            while time.perf_counter_ns() < until:
                pass
        return self.obs, 1.0, False, False, self.info


def thousands(make: Callable[[], VectorEnv[Any, Any, Any]], envs: int, seconds: float) -> float:
    """Make a vector env, return its thousand env steps per second, and close it."""
    env = make()
    env.reset(seed=1)
    actions = np.zeros(envs, np.int64)
    for _ in range(10):
        env.step(actions)
    per_second = rate(lambda: env.step(actions), seconds)  # type: ignore[arg-type]
    env.close()
    return per_second * envs / 1e3


def beside_gymnasium(micros: float, envs: int, workers: int, count: int, seconds: float) -> None:
    """Print the rates of all vector envs, and the ratio to AsyncVectorEnv."""
    busy = functools.partial(Busy, micros)
    wrap = functools.partial(pufferenv.wrap, busy, envs, copy=False)
    makes = {
        "gymnasium AsyncVectorEnv": lambda: AsyncVectorEnv([busy] * envs),
        "gymnasium SyncVectorEnv": lambda: SyncVectorEnv([busy] * envs),
        "wrap, serial": wrap,
        "wrap, processes": functools.partial(wrap, backend="processes", num_workers=workers),
    }
    figures = rounds(
        [(name, functools.partial(thousands, make, envs, seconds)) for name, make in makes.items()],
        count,
    )
    table(f"{micros:g} us per step, {envs} envs, {workers} workers: k steps/s", figures)
    theirs = statistics.median(figures["gymnasium AsyncVectorEnv"])
    ours = statistics.median(figures["wrap, processes"])
    print(f"processes / AsyncVectorEnv: {ours / theirs:.2f}")


def added(envs: int, count: int, seconds: float) -> None:
    """Print the cost of the serial backend for an env that does nothing."""
    bare = [Busy() for _ in range(envs)]
    vector = pufferenv.wrap(Busy, envs, copy=False)
    vector.reset(seed=1)
    rows = pufferenv.RowEnv(vector.game, envs, horizon=64)
    actions = np.zeros(envs, np.int64)

    def loop() -> None:
        for env in bare:
            env.step(0)

    def train() -> None:
        rows.step()
        while rows.engine.num_full >= rows.batch_rows:
            rows.engine.release()

    steps = {"bare loop": loop, "vector env": lambda: vector.step(actions), "rows": train}

    def nanos(step: Callable[[], Any]) -> float:
        return 1e9 / rate(step, seconds) / envs

    cases = [(name, functools.partial(nanos, step)) for name, step in steps.items()]
    table(f"an env that does nothing, {envs} envs: ns per env step", rounds(cases, count), 0)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--envs", type=int, default=64)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--micros", type=float, nargs="*", default=[5, 100])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=0.5)
    args = parser.parse_args()
    describe()
    print(f"gymnasium {gymnasium.__version__}; {os.cpu_count()} logical cores shared by all")
    for micros in args.micros:
        beside_gymnasium(micros, args.envs, args.workers, args.rounds, args.seconds)
    added(args.envs, args.rounds, args.seconds)


if __name__ == "__main__":
    main()
