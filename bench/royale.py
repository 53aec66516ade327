"""Cost of dead agents: royale trained with rows, and with a baseline that pads and masks them.

    python bench/royale.py [--policy runs/royale/RUN/best.safetensors] [--rounds 5] [--threads 1]
    python bench/royale.py --curves [--seconds 90] [--seeds 1 2 3] [--plot docs/royale.svg]

The first command prints how many transitions of live agents each trainer trains on per second. Both
use the same policy (the file's, or one trained here for --train-seconds), and a learning rate of 0
keeps it constant, so that both see the same share of live agents. A round is --steps steps of every
env, more than an episode; the trainers take turns. The ratio is at most 1 / live share.

The second command trains both from scratch, seed by seed, with royale's defaults and a constant
learning rate. They take turns in slices of training time. After each slice both are evaluated on
the same seeds; that time does not count. --plot draws the curves (needs matplotlib:
`pip install -e '.[bench]'`).

padded.py describes the padded trainer.
"""

from __future__ import annotations

import argparse
import statistics
import time
from functools import partial
from pathlib import Path
from typing import Any

from padded import PaddedTrainer
from timing import cores, describe, make_parser, pin, rounds, table

from pufferenv import games
from pufferenv.game_spec import GameSpec
from pufferlib.config.resolve import Config, Layer
from pufferlib.ppo.trainer import Trainer
from pufferlib.run import defaults
from pufferlib.run.evaluate import evaluate, load_policy_for

GAME = games.load("royale")
EVAL_SEED = 1_000_003  # seeds episodes that training does not use
TRAINERS: dict[str, type[Trainer]] = {"ours": Trainer, "padded": PaddedTrainer}
Curve = list[tuple[float, float]]  # (seconds of training, mean score)


def config(seed: int, args: argparse.Namespace, **train: Any) -> Config:
    """Return royale's own defaults with these options on top."""
    train = {"seed": seed, "device": "cpu", "threads": args.threads, **train}
    vec = {"num_threads": args.threads, "num_envs": args.envs}
    own = Layer("bench/royale.py", {"env": {"agents": args.agents}, "vec": vec, "train": train})
    return defaults.configure("royale", GAME, defaults.own_layers("royale", GAME), [own])


def make_trainer(kind: type[Trainer], given: Config) -> Trainer:
    """Make a trainer of this kind."""
    return kind(GAME, given.env, given.vec, given.train, given.policy)


def advance(trainer: Trainer, seconds: float) -> float:
    """Call `update` at least once and for at least `seconds`; return the seconds that passed."""
    begin = time.perf_counter()
    while True:
        trainer.update()
        if (passed := time.perf_counter() - begin) >= seconds:
            return passed


def snapshot(args: argparse.Namespace) -> dict[str, Any]:
    """Return the weights of --policy, or of a policy trained here for --train-seconds."""
    given = config(1, args, lr_schedule="constant")
    if args.policy:
        return load_policy_for(args.policy, GameSpec(GAME, given.env), given).state_dict()
    trainer = make_trainer(Trainer, given)
    passed = advance(trainer, args.train_seconds)
    trainer.close()
    print(f"policy: trained here, {passed:.0f} s, {trainer.agent_steps:,} transitions")
    return trainer.policy.state_dict()


class Case:
    """One trainer with the snapshot's weights, which stay constant."""

    def __init__(self, kind: type[Trainer], args: argparse.Namespace, weights: Any) -> None:
        self.trainer = make_trainer(kind, config(2, args, learning_rate=0.0))
        self.trainer.policy.load_state_dict(weights)
        self.live: list[float] = []  # live share of each round

    def rate(self, steps: int) -> float:
        """Train on about `steps` steps of every env; return thousand transitions per second."""
        trainer, trained = self.trainer, 0
        collector, padded = trainer.collector, isinstance(trainer, PaddedTrainer)
        first, lived, begin = collector.steps, collector.agent_steps, time.perf_counter()
        while collector.steps < first + steps:
            before = collector.agent_steps
            trainer.update()
            trained += collector.agent_steps - before if padded else trainer.sizes.batch_size
        passed = time.perf_counter() - begin
        places = (collector.steps - first) * trainer.batch.rows.size  # one row per agent
        self.live.append((collector.agent_steps - lived) / places)
        return trained / passed / 1e3


def throughput(args: argparse.Namespace) -> None:
    """Print both rates, their ratio, and the ratio as a share of its bound."""
    weights = snapshot(args)
    cases = {name: Case(kind, args, weights) for name, kind in TRAINERS.items()}
    for case in cases.values():
        case.rate(args.warmup)  # puts the envs at different steps of their episodes
        case.live.clear()
    measures = [(name, partial(case.rate, args.steps)) for name, case in cases.items()]
    figures = rounds(measures, args.rounds)
    pairs = list(zip(figures["ours"], figures["padded"], strict=True))
    table("trained transitions, thousand/s", figures, 1)
    table("ratio of each round", {"ours / padded": [ours / other for ours, other in pairs]})
    live = statistics.mean(share for case in cases.values() for share in case.live)
    for name, case in cases.items():
        print(f"live share, {name}: {statistics.mean(case.live):.4f}")
        case.trainer.close()
    ratio = statistics.median(figures["ours"]) / statistics.median(figures["padded"])
    print(f"mean live share {live:.4f}, bound 1 / live share {1 / live:.2f}")
    print(f"ratio of medians {ratio:.2f}, {100 * ratio * live:.0f} % of the bound")


def score(trainer: Trainer, given: Config, args: argparse.Namespace) -> float:
    """Return the mean score of the policy over the fixed episodes."""
    found = evaluate(
        trainer.policy,
        GameSpec(GAME, given.env),
        episodes=args.episodes,
        num_threads=args.threads,
        seed=EVAL_SEED,
    )
    return found.fields["score"].mean


def learn(seed: int, args: argparse.Namespace) -> dict[str, Curve]:
    """Train both kinds with this seed; return their curves, which begin at the same policy."""
    given = config(seed, args, lr_schedule="constant")
    trainers = {name: make_trainer(kind, given) for name, kind in TRAINERS.items()}
    curves: dict[str, Curve] = {
        name: [(0.0, score(trainer, given, args))] for name, trainer in trainers.items()
    }
    for point in range(1, args.points + 1):
        for name, trainer in trainers.items():
            spent = curves[name][-1][0]
            spent += advance(trainer, args.seconds * point / args.points - spent)
            curves[name].append((spent, score(trainer, given, args)))
            at = f"{seed:4} {name:>7} {spent:8.1f} {trainer.agent_steps / 1e6:8.2f}"
            print(f"{at} {curves[name][-1][1]:7.3f}", flush=True)
    for trainer in trainers.values():
        trainer.close()
    return curves


def curves(args: argparse.Namespace) -> None:
    """Print the mean score after each slice of training time; draw it if --plot is given."""
    print("score: frequency with which an agent outlives a scripted bot")
    print("seed trainer  seconds  M trans.   score")
    found = [learn(seed, args) for seed in args.seeds]
    print("\nmean over seeds\n seconds " + " ".join(f"{name:>8}" for name in TRAINERS))
    for point in range(args.points + 1):
        means = [statistics.mean(each[name][point][1] for each in found) for name in TRAINERS]
        print(f"{args.seconds * point / args.points:8.0f} " + " ".join(f"{m:8.3f}" for m in means))
    if args.plot:
        plot(found, args.plot)


def plot(found: list[dict[str, Curve]], file: Path) -> None:
    """Draw one line per trainer and seed."""
    import matplotlib

    matplotlib.use("svg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(7, 3.2), layout="constrained")
    for place, name in enumerate(TRAINERS):
        for each in found:
            label = name if each is found[0] else None
            axes.plot(*zip(*each[name], strict=True), label=label, color=f"C{place}", linewidth=1.2)
    axes.set(xlabel="seconds of training", ylabel="score", title="royale")
    axes.grid(alpha=0.3)
    axes.legend()
    figure.savefig(file, metadata={"Date": None})


def main() -> None:
    parser = make_parser(__doc__)
    parser.add_argument("--threads", type=int, default=1, help="threads of torch and of the envs")
    parser.add_argument("--envs", type=int, default=32, help="default 32, as in royale.toml")
    parser.add_argument("--agents", type=int, default=64, help="agents per env (default 64)")
    parser.add_argument("--policy", type=Path, help="use a run's policy instead of training one")
    parser.add_argument(
        "--train-seconds", type=float, default=60, help="training time without --policy"
    )
    parser.add_argument("--rounds", type=int, default=5, help="interleaved rounds (default 5)")
    parser.add_argument("--steps", type=int, default=1600, help="steps of every env in a round")
    parser.add_argument("--warmup", type=int, default=3200, help="steps before the first round")
    parser.add_argument(
        "--curves", action="store_true", help="print score by training time instead"
    )
    parser.add_argument("--seconds", type=float, default=90, help="training time of each curve")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--points", type=int, default=6, help="evaluations per curve")
    parser.add_argument("--episodes", type=int, default=64, help="episodes per evaluation")
    parser.add_argument("--plot", type=Path, help="draw the curves into this file")
    args = parser.parse_args()
    describe()
    allowed = cores()
    if args.threads == 1 and allowed:
        pin(allowed[0])
    print(f"royale, {args.envs} envs of {args.agents} agents, threads: {args.threads}")
    if args.curves:
        curves(args)
    else:
        throughput(args)


if __name__ == "__main__":
    main()
