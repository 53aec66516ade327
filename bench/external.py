"""Scores on Gymnasium's own envs with the default options: five tasks, several seeds, curves.

    python bench/external.py [TASK ...] [--seeds 1 2 3 4 5] [--runs FOLDER]
                             [--plot docs/external.svg]

For each task and seed, runs `puffer train` with the task's number of steps, then `puffer eval` of
the last policy over 100 episodes, once sampling as in training and once greedily. A seed whose run
in FOLDER is complete is not trained again, so the benchmark can be interrupted. --plot draws the
scores of the episodes that ended during training (needs matplotlib: `pip install -e '.[bench]'`).
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, NamedTuple

from timing import cores, describe, make_parser, parse_with_flags

from pufferlib.run.directory import folder_name

PUFFER = [sys.executable, "-m", "pufferlib"]
HERE = Path(__file__).parent


class Task(NamedTuple):
    """An env, the steps to train for and the score to reach."""

    game: str
    steps: int
    target: float  # mean score
    flags: tuple[str, ...] = ()


TASKS = {
    "cartpole": Task("gym:CartPole-v1", 100_000, 500),
    "memory": Task(
        "gym:no_velocity:CartPoleNoVelocity-v1", 300_000, 500, ("--policy.name", "mingru")
    ),
    "acrobot": Task("gym:Acrobot-v1", 500_000, -86),
    "doorkey": Task("gym:MiniGrid-DoorKey-5x5-v0", 300_000, 0.95),
    "lander": Task("gym:LunarLander-v3", 1_000_000, 200),
}
TITLES = {
    "cartpole": "CartPole-v1",
    "memory": "CartPole-v1 without velocities, minGRU",
    "acrobot": "Acrobot-v1",
    "doorkey": "MiniGrid-DoorKey-5x5-v0",
    "lander": "LunarLander-v3",
}


def puffer(*words: str) -> bytes:
    """Run a command as a user would, with this folder on PYTHONPATH."""
    path = os.pathsep.join([str(HERE), *filter(None, [os.environ.get("PYTHONPATH")])])
    return subprocess.check_output([*PUFFER, *words], env={**os.environ, "PYTHONPATH": path})


def train(task: Task, seed: int, root: Path, flags: list[str]) -> Path:
    """Train one seed unless its run is complete; return the run's folder."""
    run = root / folder_name(task.game) / f"seed-{seed}"
    if (run / "seconds.txt").exists():
        return run
    begin = time.perf_counter()
    words = ["--run-dir", str(root), "--name", run.name, "--train.seed", str(seed)]
    steps = ["--train.total-timesteps", str(task.steps)]
    puffer("train", task.game, *words, *steps, *task.flags, *flags)
    (run / "seconds.txt").write_text(f"{time.perf_counter() - begin:.1f}\n")
    return run


def score(run: Path, *flags: str) -> float:
    """Return the mean score of the last policy over 100 episodes."""
    answer: dict[str, Any] = json.loads(
        puffer("eval", str(run), "--policy", "last", "--episodes", "100", "--json", *flags)
    )
    return float(answer["fields"]["score"]["mean"])


def curve(run: Path) -> list[tuple[float, float]]:
    """Return (thousand steps, mean score of the episodes since the last line) of each line."""
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    points = [(line["agent_steps"] / 1e3, line.get("env/score")) for line in lines]
    return [(steps, value) for steps, value in points if value is not None]


def plot(curves: dict[str, list[list[tuple[float, float]]]], file: Path) -> None:
    """Draw one panel per task with one line per seed and the target."""
    import matplotlib

    matplotlib.use("svg")
    from matplotlib import pyplot

    figure, fields = pyplot.subplots(
        1, len(curves), figsize=(3.1 * len(curves), 2.8), layout="constrained", squeeze=False
    )
    for axes, (name, lines) in zip(fields[0], curves.items(), strict=True):
        for line in lines:
            axes.plot(*zip(*line, strict=True), linewidth=1)
        axes.axhline(TASKS[name].target, color="black", linewidth=0.8, linestyle=":")
        axes.set_title(TITLES[name], fontsize=9)
        axes.set_xlabel("thousand steps")
        axes.grid(alpha=0.3)
    fields[0][0].set_ylabel("score")
    figure.savefig(file, metadata={"Date": None})


def main() -> None:
    """Train and evaluate; print one line per run."""
    parser = make_parser(__doc__)
    parser.add_argument("tasks", nargs="*", metavar="TASK", help=", ".join(TASKS))
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3, 4, 5])
    parser.add_argument("--runs", type=Path, help="folder of the runs; default: a new one")
    parser.add_argument("--plot", type=Path, help="draw the curves into this file")
    given, flags = parse_with_flags(parser)
    if unknown := [name for name in given.tasks if name not in TASKS]:
        parser.error(f"unknown task {unknown[0]}: choose from {', '.join(TASKS)}")
    root = given.runs or Path(tempfile.mkdtemp())
    describe()
    print(f"usable cores: {len(cores())}\n")
    print("task      seed    steps  train s  score, sampled  greedy   target")
    curves: dict[str, list[list[tuple[float, float]]]] = {}
    for name in given.tasks or TASKS:
        task = TASKS[name]
        for seed in given.seeds:
            run = train(task, seed, root, flags)
            curves.setdefault(name, []).append(curve(run))
            seconds = float((run / "seconds.txt").read_text())
            print(
                f"{name:9} {seed:4} {task.steps:8,} {seconds:8.0f} {score(run):15.2f} "
                f"{score(run, '--greedy'):7.2f} {task.target:8g}",
                flush=True,
            )
    if given.plot:
        plot(curves, given.plot)


if __name__ == "__main__":
    main()
