"""Scores of `puffer train` with its defaults, and the time to a published score: docs/learning.md.

    python bench/learning.py [TASK ...] [--quick] [--parts defaults kinds peers settings]
                             [--seeds 1 2 ...] [--jobs 2] [--runs FOLDER] [--render]
                             [--write docs/learning.md docs/collapse.md]

The tasks are in bench/learning.toml. Each run is the command `puffer train` in its own process on
one core, followed by two evaluations of 20 or 100 episodes: as in training, and greedy. The parts:

    defaults  all tasks as a newcomer types them
    peers     other trainers on some tasks (bench/learning_peers.py), until they reach the bar
    kinds     the repository's games without their own files of defaults (--no-game-defaults)
    settings  some tasks with one setting changed, one seed: docs/collapse.md

A task whose first run takes less than 60 s has five seeds, one that takes less than 300 s has
three, any other has one, unless bench/learning.toml fixes more. All first seeds come first.

Each run that ends is a line in FOLDER/records.jsonl and is not repeated, unless it has failed or
the task's command has changed; so the measurement can be interrupted and continued. --jobs runs so
many at the same time on as many cores. --write puts the tables into documents after each run.
--render makes no run. --quick makes one seed of the short tasks: about five minutes on two cores.
Needs `pip install -e '.[box2d,mujoco,minigrid,sb3]'`.
"""

from __future__ import annotations

import fcntl
import signal
from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from pathlib import Path

from learning_runs import (
    PARTS,
    Commands,
    Record,
    Records,
    Run,
    Task,
    execute,
    planned,
    read_tasks,
)
from learning_table import in_seconds, in_steps, number, write
from timing import cores, describe, make_parser, pin


def describe_run(run: Run, record: Record, records: Records) -> str:
    """Return one line for a run that has ended."""
    line = f"{run.name:<28}"
    if record["status"] == "failed":
        return f"{line} failed: {record['error']}"
    line += f" {in_seconds(record['seconds']):>7} s"
    if run.by_puffer:
        sampled, greedy = (number(record[key]["mean"]) for key in ("sampled", "greedy"))
        line += f"  score {sampled:>7}, greedy {greedy:>7}"
    found = records.reached(record, run.task)
    if found is None:
        return f"{line}  {number(run.task.bar)} not reached"
    steps, seconds = in_steps(found.steps), in_seconds(found.seconds)
    return f"{line}  {number(run.task.bar)} after {steps} steps, {seconds} s"


def measure(
    tasks: list[Task],
    parts: list[str],
    seeds: list[int] | None,
    records: Records,
    jobs: int,
    done: Callable[[Run, Record], None],
) -> None:
    """Execute all planned runs that are not recorded; call `done` after each.

    Raise KeyboardInterrupt, once all commands have ended, on Ctrl-C or SIGTERM.
    """
    commands = Commands()
    free = iter(cores()[:jobs] or [None] * jobs)
    started: set[str] = set()
    futures: dict[Future[Record], Run] = {}
    with ThreadPoolExecutor(jobs, initializer=lambda: pin(next(free))) as pool:
        try:
            while True:
                for run in planned(tasks, parts, records, seeds):
                    if run.name not in started and not records.done(run):
                        started.add(run.name)
                        futures[pool.submit(execute, run, records.root, commands, jobs)] = run
                if not futures:
                    break
                for future in wait(futures, return_when=FIRST_COMPLETED).done:
                    run, record = futures.pop(future), future.result()
                    records.add(record)
                    done(run, record)
        except BaseException:
            commands.stop()
            pool.shutdown(cancel_futures=True)
            raise


def main() -> None:
    """Make the runs; print a line for each, and write the document."""
    tasks = read_tasks()
    parser = make_parser(__doc__)
    parser.add_argument("tasks", nargs="*", metavar="TASK", help=", ".join(tasks))
    parser.add_argument("--quick", action="store_true", help="one seed of the short tasks")
    parser.add_argument(
        "--parts", nargs="+", choices=PARTS, metavar="...", help=f"default: {' '.join(PARTS)}"
    )
    parser.add_argument("--seeds", type=int, nargs="+", help="these, instead of as many as fit")
    parser.add_argument("--jobs", type=int, default=1, help="runs at the same time (default: 1)")
    parser.add_argument(
        "--runs", type=Path, default=Path("runs/learning"), help="folder (default: runs/learning)"
    )
    parser.add_argument("--write", type=Path, nargs="+", help="put the tables into these documents")
    parser.add_argument("--render", action="store_true", help="make no run, only --write")
    given = parser.parse_args()
    if unknown := [name for name in given.tasks if name not in tasks]:
        parser.error(f"unknown task {unknown[0]}: choose from {', '.join(tasks)}")
    most = len(cores())
    if given.jobs < 1 or (most and given.jobs > most):
        parser.error(f"--jobs {given.jobs}: from 1 to {most}, the cores that may be used")
    if given.render and not given.write:
        parser.error("--render makes no run: add --write FILE")
    chosen = [tasks[name] for name in given.tasks or tasks]
    parts, seeds = given.parts or list(PARTS), given.seeds
    if given.quick:
        chosen = [task for task in chosen if given.tasks or task.quick]
        parts, seeds = given.parts or ["defaults", "peers"], seeds or [1]
    given.runs.mkdir(parents=True, exist_ok=True)
    records = Records(given.runs)
    if given.write:
        write(given.write, tasks, records)  # now, so that a wrong document costs no run
    if given.render:
        return
    describe()

    def done(run: Run, record: Record) -> None:
        print(describe_run(run, record, records), flush=True)
        if given.write:
            write(given.write, tasks, records)

    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with (given.runs / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise SystemExit(
                f"{given.runs} is in use by another measurement: wait for it, or give --runs FOLDER"
            ) from None
        try:
            measure(chosen, parts, seeds, records, given.jobs, done)
        except KeyboardInterrupt:
            raise SystemExit("interrupted; the same command continues") from None


if __name__ == "__main__":
    main()
