"""Score that `puffer train GAME` reaches with its defaults: several seeds, trained and evaluated.

    python bench/learn.py breakout [--seeds 1 2 3] [--episodes 100] [--log score]
                          [--plot docs/breakout.svg] [-- --train.total-timesteps 1000000 ...]

Runs the two commands as a user would, one seed after the other: `puffer train` with that seed, then
`puffer eval` of the best policy with seeds that are not used in training. Prints the wall time of
training, the peak memory of its process, and the evaluation. --plot draws the training curves
(needs matplotlib: `pip install -e '.[bench]'`). Arguments after `--` go to `puffer train`.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from timing import cores, describe, make_parser, parse_with_flags

PUFFER = [sys.executable, "-m", "pufferlib"]


def train(game: str, seed: int, folder: Path, flags: list[str]) -> tuple[float, float]:
    """Train one seed; return the seconds of the command and the peak memory of its process, MB."""
    run = ["--run-dir", str(folder), "--name", f"seed-{seed}", "--train.seed", str(seed)]
    begin = time.perf_counter()
    process = subprocess.Popen([*PUFFER, "train", game, *run, *flags], stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"puffer train {game} with seed {seed} ended with status {status}")
    scale = 1 if sys.platform == "darwin" else 1024  # ru_maxrss is in bytes on macOS, else in KiB
    return time.perf_counter() - begin, usage.ru_maxrss * scale / 1e6


def evaluate(run: Path, episodes: int) -> dict[str, Any]:
    """Run `puffer eval` on the run's best policy; return its JSON output."""
    command = [*PUFFER, "eval", str(run), "--episodes", str(episodes), "--json"]
    answer: dict[str, Any] = json.loads(subprocess.check_output(command))
    return answer


def curve(run: Path, log: str) -> list[tuple[float, float]]:
    """Return (minutes of training, mean of the log field) of each line of the run's metrics."""
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    key = f"env/{log}"
    return [(line["uptime"] / 60, line[key]) for line in lines if key in line]


def plot(curves: dict[int, list[tuple[float, float]]], game: str, log: str, file: Path) -> None:
    """Draw one line per seed."""
    import matplotlib

    matplotlib.use("svg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(7, 3.2), layout="constrained")
    for seed, points in curves.items():
        axes.plot(*zip(*points, strict=True), label=f"seed {seed}", linewidth=1.2)
    axes.set(xlabel="minutes of training", ylabel=log, title=f"puffer train {game}")
    axes.grid(alpha=0.3)
    axes.legend()
    figure.savefig(file, metadata={"Date": None})


def main() -> None:
    """Train and evaluate each seed; print one line each."""
    parser = make_parser(__doc__)
    parser.add_argument("game")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--episodes", type=int, default=100)
    parser.add_argument("--log", default="score", help="the field of the game's log to report")
    parser.add_argument("--plot", type=Path, help="draw the curves into this file")
    parser.add_argument("--runs", type=Path, help="keep the runs in this folder")
    given, flags = parse_with_flags(parser)
    folder = given.runs or Path(tempfile.mkdtemp())
    describe()
    print(f"usable cores: {len(cores())}\n")
    print(
        f"seed  train s  peak MB  {given.log} over {given.episodes} episodes: mean, std, min, max"
    )
    curves = {}
    for seed in given.seeds:
        seconds, memory = train(given.game, seed, folder, flags)
        run = folder / Path(given.game).stem / f"seed-{seed}"
        field = evaluate(run, given.episodes)["fields"][given.log]
        shown = " ".join(f"{field[name]:9.3f}" for name in ("mean", "std", "min", "max"))
        print(f"{seed:4}  {seconds:7.0f}  {memory:7.0f}  {shown}", flush=True)
        curves[seed] = curve(run, given.log)
    if given.plot:
        plot(curves, given.game, given.log, given.plot)


if __name__ == "__main__":
    main()
