"""Speed of VectorEnv.step from Python, compared with Gymnasium's numpy-vectorized CartPole.

    python bench/step.py [--envs 4096] [--rounds 5] [--seconds 0.5] [--games squared cartpole]

Prints million agent steps per second on one pinned core, with copy=False and int32 actions drawn
beforehand. Gymnasium's CartPole resets in a separate step; this step counts too, which favours
Gymnasium. Then the program measures breakout with one thread and with two, each on its own core.
"""

from __future__ import annotations

import itertools
import statistics
from collections.abc import Callable
from functools import partial
from typing import Any

import gymnasium
import numpy as np
from gymnasium.spaces import Discrete
from gymnasium.vector import VectorEnv
from timing import core_scaling, cores, describe, make_parser, os_threads, pin, rate, rounds, table

import pufferenv

SETS = 64  # sets of random actions, used in turn


def stepper(env: VectorEnv[Any, Any, Any], dtype: type) -> Callable[[], None]:
    """Return a function that steps `env` once with the next random actions."""
    rng = np.random.default_rng(0)
    assert isinstance(env.single_action_space, Discrete)
    choices = env.single_action_space.n
    actions = itertools.cycle(rng.integers(0, choices, (SETS, env.num_envs)).astype(dtype))
    env.reset(seed=0)

    def step() -> None:
        env.step(next(actions))

    return step


def one_core(games: list[str], envs: int, count: int, seconds: float) -> None:
    """Print the rates of all games, and those of our and Gymnasium's CartPole at two sizes."""
    steps = {f"{game}, {envs} envs": (envs, ours(game, envs)) for game in games}
    if "cartpole" in games:
        for size in (1024, 4096):
            theirs = gymnasium.make_vec(
                "CartPole-v1", size, vectorization_mode="vector_entry_point"
            )
            steps[f"cartpole, {size} envs"] = (size, ours("cartpole", size))
            steps[f"gymnasium's CartPole-v1, {size} envs"] = (size, stepper(theirs, np.int64))
    cases = [(name, partial(millions, step, size, seconds)) for name, (size, step) in steps.items()]
    table("one core, M steps/s", rounds(cases, count))


def ours(game: str, envs: int, threads: int = 1) -> Callable[[], None]:
    """Return a function that steps `envs` envs of our game once."""
    return stepper(pufferenv.make(game, envs, num_threads=threads, seed=0), np.int32)


def millions(step: Callable[[], None], envs: int, seconds: float) -> float:
    """Return million env steps per second."""
    return rate(step, seconds) * envs / 1e6


def two_cores(pair: list[int], envs: int, count: int, seconds: float) -> None:
    """Print breakout's rate with one and two threads, and the speedup of plain numpy with two."""
    pin(pair[0])
    before = os_threads()
    two = ours("breakout", envs, threads=2)
    for worker in os_threads() - before:
        pin(pair[1], worker)
    figures = rounds(
        [
            ("one thread", partial(millions, ours("breakout", envs), envs, seconds)),
            ("two threads", partial(millions, two, envs, seconds)),
            ("plain numpy, two threads / one", partial(core_scaling, pair, seconds)),
        ],
        count,
    )
    ratios = zip(figures["two threads"], figures["one thread"], strict=True)
    figures["breakout, two threads / one"] = [many / single for many, single in ratios]
    table(f"breakout, {envs} envs, M steps/s", figures)
    if statistics.median(figures["plain numpy, two threads / one"]) < 1.8:
        print("plain numpy did not get two whole cores either, so the ratio means little")


def main() -> None:
    parser = make_parser(__doc__)
    parser.add_argument("--envs", type=int, default=4096, help="envs per game (default 4096)")
    parser.add_argument("--many", type=int, default=16384, help="envs for two threads")
    parser.add_argument("--rounds", type=int, default=5, help="interleaved rounds (default 5)")
    parser.add_argument("--seconds", type=float, default=0.5, help="seconds per measurement")
    parser.add_argument("--games", nargs="+", default=["squared", "breakout", "cartpole"])
    args = parser.parse_args()
    describe()
    allowed = cores()
    pin(allowed[0] if allowed else None)
    one_core(args.games, args.envs, args.rounds, args.seconds)
    if len(allowed) > 1:
        two_cores(allowed[:2], args.many, args.rounds, args.seconds)


if __name__ == "__main__":
    main()
