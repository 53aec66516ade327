"""Cost of a step, and memory per agent, as the number of envs grows.

    python bench/sizes.py [--games breakout squared] [--sizes 1024 4096 16384 65536] [--rounds 5]
                          [--only loop | train] [--horizon 16] [--epochs 1]
                          [--policy auto | lstm | mingru]

All figures are processor time of one thread on one core. Each comes from its own process; the sizes
take turns. `loop` is VectorEnv.step with copy=False and random actions drawn beforehand. `train` is
Trainer.update with the game's defaults, but one row of `horizon` steps per agent, minibatches of
8,192 steps and one epoch, so that learning hides as little as possible. Timing starts with the
third update; by then every row that is ever used has been used.

Memory is the peak resident memory of the training process minus that of processes with 1,024 envs,
per additional agent. The program also prints its parts, computed from its own arrays: the rows that
were ever used (if no agent dies, two per agent of the three that the pool has room for), the games'
envs, recurrent states (one per agent and one per used row), and the rest.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from step import stepper
from timing import cores, describe, make_parser, pin, rounds, table

import pufferenv
from pufferenv import games

if TYPE_CHECKING:
    from pufferlib.ppo.trainer import Trainer

MINIBATCH = 8192  # steps
STEPS = 1 << 18  # agent steps between two readings of the clock
FEWEST = 1024  # envs of the runs that the others are compared with
WARM = 2  # updates before timing starts
Figures = dict[str, float]


def loop(args: argparse.Namespace) -> Figures:
    """Step a vector env; return ns per agent step."""
    env = pufferenv.make(args.game, args.envs, seed=0)
    step = stepper(env, np.int32)
    calls = max(1, STEPS // env.num_envs)
    for _ in range(calls):
        step()
    spent, steps = 0.0, 0
    while spent < args.seconds:
        begin = time.process_time()
        for _ in range(calls):
            step()
        spent += time.process_time() - begin
        steps += calls * env.num_envs
    return {"ns": 1e9 * spent / steps}


def train(args: argparse.Namespace) -> Figures:
    """Train; return ns per agent step, and the bytes of the process and of its parts."""
    trainer = trainer_of(args)
    updates, rows, spent = 0, 0, 0.0
    while updates <= WARM or spent < args.seconds:
        begin = time.process_time()
        trainer.update()
        spent += time.process_time() - begin if updates >= WARM else 0.0
        updates += 1
        rows = max(rows, int(trainer.env.arrays["slot"].max()) // args.horizon + 1)
    steps = (updates - WARM) * trainer.sizes.batch_size
    return {"ns": 1e9 * spent / steps, "all": peak(), **memory(trainer, rows)}


def trainer_of(args: argparse.Namespace) -> Trainer:
    """Make a trainer with the game's defaults and the sizes of this benchmark."""
    from pufferlib.config.resolve import Layer
    from pufferlib.ppo.trainer import Trainer
    from pufferlib.run import defaults

    own = {
        "vec": {"num_envs": args.envs, "num_threads": 1},
        "train": {
            "device": "cpu",
            "threads": 1,
            "horizon": args.horizon,
            "minibatch_size": MINIBATCH,
            "update_epochs": args.epochs,
        },
        "policy": {"name": args.policy},
    }
    game = games.load(args.game)
    own_layers, given = defaults.own_layers(args.game, game), Layer("bench/sizes.py", own)
    options = defaults.configure(args.game, game, own_layers, [given])
    return Trainer(args.game, options.env, options.vec, options.train, options.policy)


def peak() -> int:
    """Return the peak resident memory of this process, in bytes."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(1024 * int(line.split()[1]) for line in lines if line.startswith("VmHWM"))


def memory(trainer: Trainer, rows: int) -> Figures:
    """Return the number of agents and the bytes of used rows, all rows, envs and states."""
    env, states = trainer.env, trainer.states
    pool = (env.num_rows, env.horizon)
    in_row = sum(array[0].nbytes for array in env.arrays.values() if array.shape[:2] == pool)
    state = 0 if states is None else states.state[0].nbytes
    return {
        "agents": env.num_agents,
        "rows": rows * in_row,
        "pool": env.num_rows * in_row,
        "envs": env.num_envs * env.engine.env_bytes,
        "recurrent": (env.num_agents + rows) * state,
    }


def measure_in_process(what: str, args: argparse.Namespace, game: str, envs: int) -> Figures:
    """Measure in a new process."""
    words = ["--child", what, "--game", game, "--envs", str(envs), "--seconds", str(args.seconds)]
    for name in ("horizon", "epochs", "policy"):
        words += [f"--{name}", str(getattr(args, name))]
    answer = subprocess.check_output([sys.executable, __file__, *words])
    return dict(json.loads(answer))


def compare(what: str, args: argparse.Namespace, game: str) -> None:
    """Measure all sizes in turn; print ns per agent step, ratios to the best size, and memory."""
    found: dict[int, list[Figures]] = {envs: [] for envs in args.sizes}

    def measure(envs: int) -> float:
        found[envs].append(measure_in_process(what, args, game, envs))
        return found[envs][-1]["ns"]

    cases = [(f"{envs:,} envs", partial(measure, envs)) for envs in args.sizes]
    figures = rounds(cases, args.rounds)
    table(f"{game}, {what}: ns per agent step", figures, 1)
    best = min(statistics.median(values) for values in figures.values())
    ratios = {name: [value / best for value in values] for name, values in figures.items()}
    table("relative to the best size's median", ratios)
    if what == "train":
        if FEWEST not in found:
            found[FEWEST] = [
                measure_in_process(what, args, game, FEWEST) for _ in range(args.rounds)
            ]
        print_memory(found)


def print_memory(found: dict[int, list[Figures]]) -> None:
    """Print the bytes per additional agent, their parts, and the limit."""
    parts = ("rows", "envs", "recurrent")
    names = ("all", *parts, "rest", "pool + envs + recurrent + 200")
    print("\nbytes per agent" + "".join(f"  {name:>9}" for name in names))
    medians = {
        envs: {name: statistics.median(one[name] for one in each) for name in each[0]}
        for envs, each in found.items()
    }
    fewest = medians.pop(FEWEST)
    for envs, figures in medians.items():
        more = {name: value - fewest[name] for name, value in figures.items()}
        one = {name: value / more["agents"] for name, value in more.items()}
        rest = one["all"] - sum(one[name] for name in parts)
        allowed = one["pool"] + one["envs"] + one["recurrent"] + 200
        shown = [one["all"], *(one[name] for name in parts), rest, allowed]
        print(f"{envs:>10,} envs" + "".join(f"  {value:>9,.0f}" for value in shown))


def main() -> None:
    parser = make_parser(__doc__)
    parser.add_argument("--games", nargs="+", default=["breakout", "squared"])
    parser.add_argument("--sizes", nargs="+", type=int, default=[1024, 4096, 16384, 65536])
    parser.add_argument("--rounds", type=int, default=5, help="interleaved rounds (default 5)")
    parser.add_argument(
        "--seconds", type=float, default=1.0, help="seconds per figure; at least one update"
    )
    parser.add_argument("--horizon", type=int, default=16, help="slots per row (default 16)")
    parser.add_argument("--epochs", type=int, default=1, help="epochs per update (default 1)")
    parser.add_argument("--policy", default="auto", help="policy.name (default auto)")
    parser.add_argument("--only", choices=("loop", "train"))
    for hidden, kind in (("--child", str), ("--game", str), ("--envs", int)):
        parser.add_argument(hidden, type=kind, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.child:
        print(json.dumps({"loop": loop, "train": train}[args.child](args)))
        return
    describe()
    allowed = cores()
    pin(allowed[0] if allowed else None)  # children inherit it
    for game in args.games:
        for what in (args.only,) if args.only else ("loop", "train"):
            compare(what, args, game)


if __name__ == "__main__":
    main()
