"""Compare the weights that two checkouts of this repository train, bit by bit.

    python tests/compare_checkouts.py BEFORE [AFTER] [--only NAME ...]

Run it before and after a change that must not alter results: a move, a renaming, a division of
files. BEFORE is typically a worktree (`git worktree add ../before HEAD~20`); AFTER is this
checkout unless another is given. Both are built in place, then each trains the tasks below on one
thread in float32, which makes a run repeatable to the bit on one machine. The tasks cover what
differs in the code: a feed-forward network, agents that die, two recurrent networks, continuous
actions, an environment written in Python, observations normalized and not.

Exits with 1 if any tensor differs in name, shape, dtype or bits, or if a training fails.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file

ROOT = Path(__file__).resolve().parents[1]
FIXED = ("--train.threads", "1", "--vec.num-threads", "1", "--train.precision", "float32")
CONTINUOUS = str(ROOT / "tests" / "game_headers" / "continuous.h")  # has no toml: defaults
TASKS = {
    "breakout": ("breakout", 600_000),
    "cartpole": ("cartpole", 100_000),
    "royale": ("royale", 400_000),
    "memory": ("memory", 150_000),
    "memory mingru": ("memory", 150_000, "--policy.name", "mingru"),
    "snake": ("snake", 200_000),
    "continuous": (CONTINUOUS, 100_000, "--train.norm-obs", "true", "--vec.num-envs", "64"),
    "gym:CartPole-v1": ("gym:CartPole-v1", 40_000),
}
Weights = dict[str, np.ndarray]


def train(checkout: Path, task: str) -> Weights:
    """Train one task with the code of `checkout`; return the last policy's tensors by name.

    Raises RuntimeError with the end of the program's error output if the training fails.
    """
    game, steps, *flags = TASKS[task]
    words = ["train", game, "--train.total-timesteps", str(steps), *FIXED, *map(str, flags)]
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run(
            [sys.executable, "-m", "pufferlib", *words],
            cwd=folder,  # runs/ is written here, and no checkout is on the path by accident
            env={**os.environ, "PYTHONPATH": str(checkout), "PUFFER_CACHE": f"{folder}/cache"},
            capture_output=True,
            text=True,
        )
        if done.returncode:
            raise RuntimeError(f"{task} failed in {checkout}:\n{done.stderr[-2000:]}")
        (file,) = Path(folder).glob("runs/*/*/policy.safetensors")
        return load_file(file)


def difference(before: Weights, after: Weights) -> str:
    """Name the first tensor that differs and how; an empty string if none does."""
    if before.keys() != after.keys():
        return f"names differ: {sorted(before.keys() ^ after.keys())}"
    for name, old in before.items():
        new = after[name]
        if (old.shape, old.dtype) != (new.shape, new.dtype):
            return f"{name}: {old.dtype}{old.shape} became {new.dtype}{new.shape}"
        if old.tobytes() != new.tobytes():
            worst = np.max(np.abs(old.astype(np.float64) - new.astype(np.float64)))
            return f"{name}: differs by up to {worst:.3g}"
    return ""


def main() -> int:
    """Run the command line; return 0 if all weights are equal, else 1."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("before", type=Path, help="a checkout of the state before the change")
    parser.add_argument("after", type=Path, nargs="?", default=ROOT, help="default: this one")
    parser.add_argument("--only", nargs="+", choices=TASKS, default=list(TASKS), metavar="NAME")
    words = parser.parse_args()
    checkouts = [words.before.resolve(), words.after.resolve()]
    for checkout in checkouts:
        subprocess.run([sys.executable, "build.py"], cwd=checkout, check=True, capture_output=True)
    failed = False
    for task in words.only:
        try:
            before, after = (train(checkout, task) for checkout in checkouts)
            found = difference(before, after)
        except RuntimeError as error:
            found = str(error)
        count = "" if found else f"{sum(w.size for w in after.values()):,} numbers, the same bits"
        print(f"{task:<16} {found or count}", flush=True)
        failed |= bool(found)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
