"""Compare settings by the processor time that training needs to reach a score, over seeds.

    python bench/tune.py cartpole [--seeds 1 2] [--only 0 4] [--write docs/tuning.md]

The settings are in bench/tuning.toml: for each game a score, base options and the options that each
candidate adds. Each run is its own process with one thread for the games and for torch. It ends
when the mean score over the last training episodes (at least `episodes` of them) reaches the score,
at its `total_timesteps`, or at the time limit. Processor time is compared instead of wall time, so
that other programs on the machine matter little. It includes the construction of the trainer, but
not imports. --write puts the table into a document, in place of this game's previous table.
"""

from __future__ import annotations

import argparse
import json
import re
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, NamedTuple

from recent import RecentScore
from timing import make_parser, parse_with_flags

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

PLAN = Path(__file__).with_name("tuning.toml")


class Run(NamedTuple):
    """One candidate with one seed; `seconds` is the processor time until it ended."""

    reached: bool
    seconds: float
    steps: int
    score: float  # mean over the last episodes


def train(
    game: str, flags: list[str], seed: int, target: float, episodes: int, limit: float
) -> Run:
    """Train in this process until `target`, for at most `limit` seconds of processor time."""
    from pufferenv import games
    from pufferlib.cli.configure import split_settings
    from pufferlib.config.resolve import Layer, resolve
    from pufferlib.ppo.trainer import Trainer

    own = ["--train.seed", str(seed), "--train.threads", "1", "--vec.num-threads", "1"]
    settings, unknown = split_settings([*flags, *own, "--train.device", "cpu"])
    if unknown:
        raise SystemExit(
            f"{PLAN.name}: {game}: {unknown[0]} is not an option; see puffer train {game} --help"
        )
    # Over the options' own defaults, so that a table shows all that its settings differ in.
    config = resolve(game, games.load(game), [Layer("--", settings)])
    begin = time.process_time()
    trainer = Trainer(game, config.env, config.vec, config.train, config.policy)
    recent = RecentScore(episodes)
    score, seconds = float("-inf"), 0.0
    while not trainer.finished and seconds < limit:
        metrics = trainer.update()
        seconds = time.process_time() - begin
        mean = recent.add(metrics["env/episodes"], metrics.get("env/score", 0.0))
        score = score if mean is None else mean
        if score >= target:
            return Run(True, seconds, trainer.agent_steps, score)
    return Run(False, seconds, trainer.agent_steps, score)


def train_in_process(game: str, flags: list[str], seed: int, plan: dict[str, Any]) -> Run:
    """Call `train` in a new process."""
    limits = [str(plan[key]) for key in ("score", "episodes", "limit")]
    command = [sys.executable, __file__, game, "--one", str(seed), *limits, "--", *flags]
    return Run(*json.loads(subprocess.check_output(command)))


def row(flags: str, runs: list[Run]) -> str:
    """Return one line of the table: medians over the seeds; runs that did not arrive rank last."""
    seconds = statistics.median(r.seconds if r.reached else float("inf") for r in runs)
    steps = statistics.median(r.steps for r in runs)
    arrived = [r.seconds for r in runs if r.reached]
    spread = f"{min(arrived):.1f} to {max(arrived):.1f}" if arrived else ""
    least = min(r.score for r in runs)
    cells = [
        f"`{flags}`" if flags else "the base",
        f"{len(arrived)} of {len(runs)}",
        f"{seconds:.1f}" if seconds < float("inf") else "-",
        spread,
        f"{steps / 1e6:.2f}",
        f"{least:.4g}",
    ]
    return "| " + " | ".join(cells) + " |"


HEAD = """| candidate | arrived | median s | min to max | M steps | min score at the end |
| --- | --- | --- | --- | --- | --- |"""


def write(file: Path, game: str, text: str) -> None:
    """Put `text` into the document as the section `## game`, replacing the old one."""
    old = file.read_text()
    section = re.compile(rf"## {game}\n.*?(?=^## |\Z)", re.DOTALL | re.MULTILINE)
    text = f"## {game}\n\n{text}\n"
    if section.search(old):
        file.write_text(section.sub(lambda _: text + "\n", old).rstrip("\n") + "\n")
    else:
        file.write_text(f"{old.rstrip()}\n\n{text}")


def main() -> None:
    """Run each candidate with each seed; print the table."""
    parser = make_parser(__doc__)
    plans = tomllib.loads(PLAN.read_text())
    parser.add_argument("game", choices=plans)
    parser.add_argument("--seeds", type=int, nargs="+", help="default: 1 to 3, or to the plan's")
    parser.add_argument("--only", type=int, nargs="+", help="only these candidates, counted from 0")
    parser.add_argument("--write", type=Path, help="put the table into this document")
    parser.add_argument("--one", nargs=4, help=argparse.SUPPRESS)  # seed, score, episodes, limit
    given, options = parse_with_flags(parser)
    if given.one:
        seed, score, episodes, limit = given.one
        run = train(given.game, options, int(seed), float(score), int(episodes), float(limit))
        print(json.dumps(run))
        return
    plan = plans[given.game]
    base, seeds = plan["base"], given.seeds or list(range(1, 1 + plan.get("seeds", 3)))
    lines = [
        f"Score {plan['score']} over {plan['episodes']} episodes, seeds "
        f"{', '.join(map(str, seeds))}, at most {plan['limit']} s; base: `{base}`.",
        "",
        HEAD,
    ]
    print("\n".join(lines), flush=True)
    for index, flags in enumerate(plan["candidates"]):
        if given.only and index not in given.only:
            continue
        words = [*base.split(), *flags.split()]
        runs = [train_in_process(given.game, words, seed, plan) for seed in seeds]
        lines.append(row(flags, runs))
        print(lines[-1], flush=True)
    if note := plan.get("note"):
        lines += ["", note]
    if given.write:
        write(given.write, given.game, "\n".join(lines))


if __name__ == "__main__":
    main()
