"""Speed of training on one core, on all cores, and with two threads that share one core.

    python bench/threads.py [breakout] [--rounds 5] [--seconds 3] [-- --policy.name lstm ...]

Each figure is the speed that `puffer bench train GAME` prints, in its own pinned process: one
thread on one core; the automatically chosen number of threads, on all cores; two threads for the
games and two for torch, all on one core, where sharing the core should cost little. `spin` adds
OpenMP threads that spin while they wait (OMP_WAIT_POLICY=ACTIVE); `puffer` turns spinning off by
default. Options after `--` go to the command.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys

from timing import core_scaling, cores, describe, make_parser, parse_with_flags, rounds, table

PUFFER = [sys.executable, "-m", "pufferlib", "bench", "train"]


def speed(words: list[str], use: list[int], threads: int, policy: str) -> float:
    """Run the command on these cores; return thousand agent steps per second.

    With `threads` 0 the number of threads is chosen automatically.
    """
    counts = [f"--train.threads={threads}", f"--vec.num-threads={threads}"]
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("OMP_", "GOMP_"))}
    if policy:
        environment["OMP_WAIT_POLICY"] = policy
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, use)  # the child inherits it
    try:
        answer = subprocess.check_output([*PUFFER, *words, *counts, "--json"], env=environment)
    finally:
        os.sched_setaffinity(0, before)
    return float(json.loads(answer)["steps_per_second"]) / 1e3


def main() -> None:
    """Measure the cases in turn; print them and their ratios to one thread."""
    parser = make_parser(__doc__)
    parser.add_argument("game", nargs="?", default="breakout")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=3.0)
    given, flags = parse_with_flags(parser)
    every = cores()
    if len(every) < 2:
        raise SystemExit("this benchmark needs two cores and an OS that can pin a process")
    describe()
    scaling = statistics.median(core_scaling(every[:2], 0.3) for _ in range(3))
    print(f"two pinned threads of plain numpy are {scaling:.2f} times as fast as one")
    words = [given.game, "--seconds", str(given.seconds), "--train.device=cpu", *flags]
    one = "one core, one thread"
    cases = {
        one: (every[:1], 1, ""),
        f"{len(every)} cores, automatic threads": (every, 0, ""),
        "one core, two threads": (every[:1], 2, ""),
        "one core, two threads, spin": (every[:1], 2, "ACTIVE"),
    }
    figures = rounds(
        [(name, lambda case=case: speed(words, *case)) for name, case in cases.items()],
        given.rounds,
    )
    table(f"{given.game}: thousand steps/s", figures, 1)
    table(
        f"relative to {one}, per round",
        {
            name: [a / b for a, b in zip(values, figures[one], strict=True)]
            for name, values in figures.items()
            if name != one
        },
    )


if __name__ == "__main__":
    main()
