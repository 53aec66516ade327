"""Train CartPole-v1 with the same network and settings in pufferenv and in other trainers.

    python bench/peers.py [--rounds 5] [--seconds 2] [--cases ours sb3-envpool ...] [--plot FILE]
    python bench/peers.py --solve [--seeds 1 2 3 4 5] [--cases ...]

All use 64 envs, rollouts of 32 steps, 4 epochs of 4 minibatches, two hidden layers of 64 tanh units
shared by policy and value, Adam and one thread. Each trainer has its own process; all are pinned to
the same core and take turns. Prints agent steps per second, or with --solve the seconds, without
imports, until at least 100 consecutive episodes have a mean return of 475. --plot draws the speeds
as bars. Needs `pip install -e '.[peers]'`; a peer that is not installed is left out.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import statistics
import subprocess
import sys
import time
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from recent import RecentScore
from timing import cores, describe, make_parser, pin, table

if TYPE_CHECKING:
    from peer_loops import Recipe, Report

SOLVED, EPISODES, LIMIT = 475, 100, 60.0  # mean return, over how many episodes, seconds


class Case(NamedTuple):
    """One trainer with one vector env, and the packages that it needs."""

    title: str
    loop: str
    env: str
    needs: tuple[str, ...]


NUMPY = "gymnasium's numpy vector env"
CASES = {
    "ours": Case("pufferenv", "ours", "", ()),
    "cleanrl-envpool": Case("CleanRL-style, envpool", "cleanrl", "envpool", ("envpool",)),
    "cleanrl-gymnasium": Case(f"CleanRL-style, {NUMPY}", "cleanrl", "gymnasium", ()),
    "sb3-envpool": Case("SB3, envpool", "sb3", "envpool", ("stable_baselines3", "envpool")),
    "sb3-gymnasium": Case(f"SB3, {NUMPY}", "sb3", "gymnasium", ("stable_baselines3",)),
    "sb3-dummy": Case("SB3, its DummyVecEnv", "sb3", "dummy", ("stable_baselines3",)),
}


def ours(_: str, recipe: Recipe, seed: int, report: Report) -> None:
    """Train with this project's trainer, through the interface of peer_loops.py."""
    from pufferlib.config.options import PolicyOptions, TrainOptions, VecOptions
    from pufferlib.ppo.trainer import Trainer

    train = TrainOptions(
        device="cpu",
        threads=1,
        seed=seed,
        horizon=recipe.steps,
        update_epochs=recipe.epochs,
        minibatch_size=recipe.batch // recipe.minibatches,
        total_timesteps=recipe.total,
        learning_rate=recipe.learning_rate,
        ent_coef=recipe.ent_coef,
        reward_scale=0.05,
    )
    vec = VecOptions(num_envs=recipe.envs, num_threads=1)
    policy = PolicyOptions(hidden_size=recipe.hidden, num_layers=2, activation="tanh")
    trainer = Trainer("cartpole", {}, vec, train, policy)
    while not trainer.finished:
        metrics = trainer.update()
        ended = []
        if metrics["env/episodes"]:
            ended = [(metrics["env/episodes"], metrics["env/score"])]
        if report(trainer.agent_steps, ended):
            break
    trainer.close()


def child(name: str, core: int | None) -> None:
    """Answer the parent's requests on stdin: several `rate SECONDS`, or one `solve SEED`."""
    warnings.simplefilter("ignore")
    pin(core)
    import peer_loops
    import torch

    torch.set_num_threads(1)
    case = CASES[name]
    if case.loop == "ours":
        import pufferlib.ppo.trainer  # noqa: F401
    for package in case.needs:
        importlib.import_module(package)
    loop = ours if case.loop == "ours" else getattr(peer_loops, case.loop)
    reply("ready")
    word, value = input().split()
    if word == "solve":
        solving = Solving()
        loop(case.env, peer_loops.Recipe(), int(value), solving)
        solving.end()
    else:
        loop(case.env, peer_loops.Recipe(total=10**9), 1, Pacing(float(value)))


def reply(text: str) -> None:
    """Send a line to the parent."""
    print(text, flush=True)


class Pacing:
    """Runs a trainer for `seconds`, replies with its speed, and waits for the next request."""

    def __init__(self, seconds: float) -> None:
        self.seconds, self.warm, self.steps = seconds, False, 0
        self.begin = time.perf_counter()

    def __call__(self, steps: int, ended: list[tuple[float, float]]) -> bool:
        """Count from the first update on; return True when there are no more requests."""
        now = time.perf_counter()
        if self.warm and now - self.begin < self.seconds:
            return False
        if self.warm:
            reply(str((steps - self.steps) / (now - self.begin)))
            try:
                self.seconds = float(input().split()[1])
            except EOFError:
                return True
        self.warm, self.steps, self.begin = True, steps, time.perf_counter()
        return False


class Solving:
    """Ends training when the last EPISODES or slightly more episodes have a mean of SOLVED."""

    def __init__(self) -> None:
        self.begin = time.perf_counter()
        self.recent = RecentScore(EPISODES)
        self.steps, self.replied = 0, False

    def __call__(self, steps: int, ended: list[tuple[float, float]]) -> bool:
        """Reply with seconds and steps, and return True, when the game is solved or time is up."""
        mean = self.recent.add(0, 0.0)
        for count, score in ended:
            mean = self.recent.add(count, score)
        seconds = time.perf_counter() - self.begin
        solved = mean is not None and mean >= SOLVED
        self.steps = steps
        if solved or seconds > LIMIT:
            reply(f"{seconds if solved else float('inf')} {steps}")
            self.replied = True
        return self.replied

    def end(self) -> None:
        """Reply that the game was not solved, if training has ended by itself."""
        if not self.replied:
            reply(f"inf {self.steps}")


class Trainer:
    """The parent's handle to a child process that trains."""

    def __init__(self, name: str, core: int | None) -> None:
        pinned = [] if core is None else ["--core", str(core)]
        command = [sys.executable, __file__, "--child", name, *pinned]
        self.process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )
        self.read("ready")

    def read(self, begin: str = "") -> str:
        """Wait for a line that begins with `begin`; skip the output of libraries."""
        assert self.process.stdout
        for line in self.process.stdout:
            if line.startswith(begin) and (begin or line[0].isdigit() or line[:3] == "inf"):
                return line
        raise SystemExit(f"a trainer ended with status {self.process.wait()}")

    def ask(self, question: str) -> str:
        """Send a request; return the reply."""
        assert self.process.stdin
        self.process.stdin.write(question + "\n")
        self.process.stdin.flush()
        return self.read()

    def rate(self, seconds: float) -> float:
        """Return thousand steps per second."""
        return float(self.ask(f"rate {seconds}")) / 1e3

    def close(self) -> None:
        """End the process."""
        assert self.process.stdin
        self.process.stdin.close()
        self.process.wait()


def speeds(
    names: list[str], core: int | None, rounds: int, seconds: float
) -> dict[str, list[float]]:
    """Measure all trainers in turn; return thousand steps per second of each round."""
    trainers = {name: Trainer(name, core) for name in names}
    figures: dict[str, list[float]] = {CASES[name].title: [] for name in names}
    for _ in range(rounds):
        for name, trainer in trainers.items():
            figures[CASES[name].title].append(trainer.rate(seconds))
    for trainer in trainers.values():
        trainer.close()
    return figures


def solve(names: list[str], core: int | None, seeds: list[int]) -> None:
    """Print how long each trainer takes to solve the game, with a new process for each seed."""
    print(f"\n{'solved, seconds after import':<48} median     min     max  M steps (median)")
    for name in names:
        answers = []
        for seed in seeds:
            trainer = Trainer(name, core)
            answers.append([float(word) for word in trainer.ask(f"solve {seed}").split()])
            trainer.close()
        seconds, steps = zip(*answers, strict=True)
        shown = f"{statistics.median(seconds):7.2f} {min(seconds):7.2f} {max(seconds):7.2f}"
        print(f"{CASES[name].title:<48}{shown} {statistics.median(steps) / 1e6:8.2f}", flush=True)


def plot(figures: dict[str, list[float]], file: Path) -> None:
    """Draw medians as bars, minimum and maximum as whiskers."""
    import matplotlib

    matplotlib.use("svg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(7, 2.6), layout="constrained")
    for title, values in reversed(figures.items()):
        middle = statistics.median(values)
        reach = [[middle - min(values)], [max(values) - middle]]
        axes.barh(title, middle, xerr=reach, color="C0" if title == "pufferenv" else "0.6")
    axes.set(xlabel="thousand agent steps per second", title="Training on CartPole-v1, one core")
    axes.grid(axis="x", alpha=0.3)
    figure.savefig(file, metadata={"Date": None})


def main() -> None:
    """Measure; print tables and ratios."""
    parser = make_parser(__doc__)
    parser.add_argument("--cases", nargs="+", choices=CASES, default=list(CASES), metavar="CASE")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=2.0, help="seconds per measurement")
    parser.add_argument("--solve", action="store_true", help="print seconds until solved instead")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3, 4, 5])
    parser.add_argument("--plot", type=Path, help="draw the speeds into this file")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    parser.add_argument("--core", type=int, help="pin to this logical core; default: the first")
    given = parser.parse_args()
    core = given.core if given.core is not None else next(iter(cores()), None)
    if given.child:
        child(given.child, core)
        return
    describe()
    names = []
    for name in given.cases:
        missing = [p for p in CASES[name].needs if importlib.util.find_spec(p) is None]
        if missing:
            print(f"left out: {CASES[name].title}: {', '.join(missing)} not installed")
        else:
            names.append(name)
    if given.solve:
        solve(names, core, given.seeds)
        return
    figures = speeds(names, core, given.rounds, given.seconds)
    table("thousand agent steps per second", figures, 1)
    if mine := figures.get(CASES["ours"].title):
        ratios = {
            f"pufferenv / {title}": [a / b for a, b in zip(mine, values, strict=True)]
            for title, values in figures.items()
            if values is not mine
        }
        table("ratio of each round", ratios)
    if given.plot:
        plot(figures, given.plot)


if __name__ == "__main__":
    main()
