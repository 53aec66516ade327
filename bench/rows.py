"""Cost of rows in the training loop, with agents that die and respawn and with a fixed population.

    python bench/rows.py [--rounds 5] [--updates 2] [--only churn | fixed]

Churn: 64 envs of 64 agents (bench/churn.h), of which 5 % die in each step and either respawn in the
next step, into the row that was abandoned first, or respawn in the same step and keep their row.
The same game without deaths is the baseline. The differences per trained transition are printed as
a share of the loop with deaths. `engine` is the difference of the time in the engine's step
(events, rows). `engine and copies` adds the rest of the bookkeeping (gathering live agents, taking
and releasing batches). `whole loop` is the difference in total time. With deaths, rows fill at
different times, so some steps are carried over to a later update and evaluated again, and acting
reads a copy of the observations instead of a view.

Fixed: breakout, 4,096 envs. Prints trained steps per second with rows, and with a plain
[rows, horizon] buffer into which observations are copied (padded.py describes it).

Both use the default network on one pinned core. A learning rate of 0 keeps the weights the same.
"""

from __future__ import annotations

import argparse
import time
from functools import partial
from pathlib import Path
from typing import Any

from padded import PlainTrainer
from timing import cores, describe, make_parser, pin, rounds, table

from pufferenv import games
from pufferlib.config.resolve import Layer
from pufferlib.ppo.trainer import Trainer
from pufferlib.run import defaults

CHURN = str(Path(__file__).with_name("churn.h"))
BOOKKEEPING = ("env", "copy", "other")  # sections of the trainer's timer
Parts = dict[str, float]  # ns per trained transition


def make_trainer(kind: type[Trainer], game: str, envs: int, **env: float) -> Trainer:
    """Make a trainer of this kind with this config of the game and otherwise default options."""
    loaded = games.load(game)
    train = {"learning_rate": 0.0, "threads": 1, "device": "cpu"}
    own = {"env": env, "vec": {"num_envs": envs, "num_threads": 1}, "train": train}
    given = [Layer("bench/rows.py", own)]
    options = defaults.configure(game, loaded, defaults.own_layers(game, loaded), given)
    trainer = kind(loaded, options.env, options.vec, options.train, options.policy)
    for _ in range(3):  # after these updates rows fill at different times
        trainer.update()
    return trainer


def parts(trainer: Trainer, updates: int) -> Parts:
    """Run some updates; return ns per trained transition: engine, with copies, in total."""
    spent, steps, begin = dict.fromkeys(BOOKKEEPING, 0.0), 0, time.perf_counter()
    for _ in range(updates):
        metrics = trainer.update()
        steps += trainer.sizes.batch_size
        for name in spent:
            spent[name] += metrics[f"time/{name}"]
    loop = time.perf_counter() - begin
    engine, copies = spent["env"], sum(spent.values())
    seconds = {"engine": engine, "engine and copies": copies, "whole loop": loop}
    return {name: 1e9 * value / steps for name, value in seconds.items()}


def churn(args: argparse.Namespace) -> None:
    """Print the cost of deaths as a share of the loop in which they happen."""
    deaths = {"no deaths": {}, "next step": {"die": args.die}}
    deaths["same step"] = {"die": args.die, "same_step": 1}
    trainers = {
        name: make_trainer(Trainer, CHURN, args.envs, **config) for name, config in deaths.items()
    }
    found: dict[str, list[Parts]] = {name: [] for name in trainers}

    def measure(name: str) -> float:
        found[name].append(parts(trainers[name], args.updates))
        return found[name][-1]["whole loop"]

    agents = trainers["no deaths"].env.num_agents
    print(f"\nchurn: {agents:,} agents, {100 * args.die:g} % die in each step")
    figures = rounds([(name, partial(measure, name)) for name in trainers], args.rounds)
    table("loop, ns per transition", figures, 0)
    baseline = found.pop("no deaths")
    for name, each in found.items():
        pairs = list(zip(each, baseline, strict=True))
        shares = {part: [share(one, other, part) for one, other in pairs] for part in baseline[0]}
        table(f"respawn in the {name}, added % of the loop", shares, 1)
    for trainer in trainers.values():
        trainer.close()


def share(one: Parts, baseline: Parts, part: str) -> float:
    """Return the cost of deaths in this part, in percent of the whole loop with deaths."""
    return 100 * (one[part] - baseline[part]) / one["whole loop"]


def fixed(args: argparse.Namespace) -> None:
    """Print the loop's speed with rows and with a plain buffer, and the ratio."""
    kinds: dict[str, type[Trainer]] = {"rows": Trainer, "plain buffer": PlainTrainer}
    trainers = {name: make_trainer(kind, "breakout", args.agents) for name, kind in kinds.items()}

    def speed(trainer: Trainer) -> float:
        return 1e6 / parts(trainer, args.updates)["whole loop"]

    print(f"\nfixed population: breakout, {args.agents:,} envs")
    cases: list[tuple[str, Any]] = [(n, partial(speed, t)) for n, t in trainers.items()]
    figures = rounds(cases, args.rounds)
    table("trained steps, thousand/s", figures, 1)
    pairs = zip(figures["rows"], figures["plain buffer"], strict=True)
    table("ratio of each round", {"rows / plain": [one / other for one, other in pairs]}, 3)
    for trainer in trainers.values():
        trainer.close()


def main() -> None:
    parser = make_parser(__doc__)
    parser.add_argument("--rounds", type=int, default=5, help="interleaved rounds (default 5)")
    parser.add_argument("--updates", type=int, default=2, help="updates per trainer and round")
    parser.add_argument("--envs", type=int, default=64, help="envs of 64 agents each, for churn")
    parser.add_argument("--agents", type=int, default=4096, help="one-agent envs, for fixed")
    parser.add_argument(
        "--die", type=float, default=0.05, help="share of agents that die in each step"
    )
    parser.add_argument("--only", choices=("churn", "fixed"))
    args = parser.parse_args()
    describe()
    allowed = cores()
    pin(allowed[0] if allowed else None)
    if args.only != "fixed":
        churn(args)
    if args.only != "churn":
        fixed(args)


if __name__ == "__main__":
    main()
