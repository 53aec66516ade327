"""Speed of sampling 4,096 actions of 4 choices on one thread, with torch and with our kernel.

    python bench/sampling.py [--agents 4096] [--choices 4] [--horizon 64] [--repetitions 7]

Each line is the median over the repetitions; the candidates take turns. The last column lists the
results of a call. Our kernel also writes the pool's columns, in memory laid out as in training:
once with one slot per row, which corresponds to the output of the others, and once into rows of
--horizon slots, where the slots of one step are far apart.
"""

import argparse
import platform
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from pufferenv.row_env import RowEnv
from pufferlib.kernels import _kernels

COLUMNS = ("action", "logprob", "value", "next_value", "version")  # columns of the pool


def torch_ways(logits: torch.Tensor) -> dict[str, tuple[str, Callable[[], Any]]]:
    """Return name -> (results, call) of each way to sample from logits (N, C) in torch."""

    def categorical() -> Any:
        distribution = torch.distributions.Categorical(logits=logits)
        action = distribution.sample()
        return action, distribution.log_prob(action), distribution.entropy()

    def multinomial() -> Any:
        return torch.multinomial(logits.softmax(1), 1)

    def cumulative_sum() -> Any:
        sums = logits.softmax(1).cumsum(1)
        return (sums <= torch.rand(len(sums), 1) * sums[:, -1:]).sum(1)

    def gumbel_argmax() -> Any:
        return (logits - (-torch.rand(logits.shape).log()).log()).argmax(1)

    return {
        "Categorical": ("action, log-probability, entropy", categorical),
        "multinomial": ("action", multinomial),
        "cumulative sum": ("action", cumulative_sum),
        "Gumbel argmax": ("action", gumbel_argmax),
    }


def our_way(logits: torch.Tensor, horizon: int) -> Callable[[], None]:
    """Return a call of `_kernels.sample` for one agent per row of logits, each in a row of a pool.

    The pool belongs to an engine with that many agents; the game does not matter here.
    """
    agents, choices = logits.shape
    pool = RowEnv("cartpole", agents, horizon=horizon).arrays
    given = {
        "values": np.zeros(agents, np.float32),
        "logits": logits.numpy(),
        "sizes": np.array([choices], np.int32),
        "counts": np.zeros(agents, np.uint64),
        "entropy": np.zeros(agents, np.float32),
        **{name: pool[name] for name in ("slot", "bootstrap_slot", "action")},
        **{f"pool_{name}": pool[f"pool_{name}"] for name in COLUMNS},
    }
    return lambda: _kernels.sample(**given, seed=1, version=0)


def rate(call: Callable[[], Any], seconds: float = 0.1) -> float:
    """Return calls per second over about `seconds`."""
    count, begin = 0, time.perf_counter()
    while (taken := time.perf_counter() - begin) < seconds:
        call()
        count += 1
    return count / taken


def processor() -> str:
    """Return the name of the processor."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    names = (line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.processor())


def built() -> str:
    """Return how the native code was built."""
    from pufferenv.engine import _engine

    return ", ".join(f"{name} {value}" for name, value in _engine.compiled().items())


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--agents", type=int, default=4096)
    parser.add_argument("--choices", type=int, default=4)
    parser.add_argument("--horizon", type=int, default=64)
    parser.add_argument("--repetitions", type=int, default=7)
    args = parser.parse_args()
    torch.set_num_threads(1)
    logits = torch.randn(args.agents, args.choices)
    ways = torch_ways(logits)
    everything = "action, log-probability, entropy, value, version"
    for horizon in (1, args.horizon):
        ways[f"ours, rows of {horizon}"] = (everything, our_way(logits, horizon))
    rates: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(args.repetitions):
        for name, (_, call) in ways.items():
            rates[name].append(rate(call))
    print(f"{args.agents} x {args.choices} logits, one thread, median of {args.repetitions}")
    print(f"{processor()}; kernels: {_kernels.instruction_set()}; torch {torch.__version__}")
    print(f"{built()}\n")
    slowest = statistics.median(rates["Categorical"])
    print(f"{'':<20}{'calls/s':>10}{'us/call':>10}{'ratio':>8}  gives")
    for name, (gives, _) in ways.items():
        median = statistics.median(rates[name])
        print(f"{name:<20}{median:>10,.0f}{1e6 / median:>10.1f}{median / slowest:>8.1f}  {gives}")


if __name__ == "__main__":
    main()
