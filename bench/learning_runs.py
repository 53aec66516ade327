"""The tasks and runs of bench/learning.py: their commands, their execution and their records.

A run is one task with one seed in one part of the measurement. Its record is one line of JSON in
FOLDER/records.jsonl; what it trained is in FOLDER/runs, and what it printed in FOLDER/output.
"""

from __future__ import annotations

import datetime
import importlib.metadata
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

from recent import Reached, first_reached
from timing import processor

from pufferlib.run.directory import folder_name

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

HERE = Path(__file__).parent
PLAN = HERE / "learning.toml"
TRAINERS = {"sb3": "stable-baselines3", "cleanrl": "CleanRL-style loop"}
OURS = {"defaults": (), "kinds": ("--no-game-defaults",)}  # part: further flags of puffer train
PARTS = (*OURS, "peers", "settings")
# One core each, envs in the process that trains, and no pauses for evaluation.
FLAGS = (
    *("--vec.backend", "serial", "--vec.num-threads", "1"),
    *("--train.threads", "1", "--train.eval-interval", "0"),
)
PACKAGES = ("pufferenv", "torch", "numpy", "gymnasium", "mujoco", "minigrid", "stable-baselines3")
TAIL = 15  # lines of a failed command that are recorded
Record = dict[str, Any]


class Task(NamedTuple):
    """One task, as bench/learning.toml describes it."""

    name: str
    game: str
    steps: int
    kind: str
    ours: bool
    published: float
    source: str
    bar: float
    bar_source: str = ""
    flags: str = ""
    window: int = 100
    episodes: int = 100
    seeds: int = 1
    peers: dict[str, int] = {}  # noqa: RUF012 - never changed
    like: str = ""
    quick: bool = False
    settings: dict[str, str] = {}  # noqa: RUF012 - never changed

    @property
    def title(self) -> str:
        """Return what is typed after `puffer train`, without the number of steps."""
        return f"{self.game} {self.flags}".strip()


def read_tasks(file: Path = PLAN) -> dict[str, Task]:
    """Return the tasks of a plan by name. Raise SystemExit if an entry is wrong."""
    try:
        return {
            name: Task(name, **{"bar": entry.get("published"), **entry})
            for name, entry in tomllib.loads(file.read_text()).items()
        }
    except TypeError as error:
        raise SystemExit(f"{file}: {error}") from None


def seeds_after(seconds: float, least: int) -> list[int]:
    """Return the seeds of a task whose first run took this long: 5, 3 or 1, or more if fixed."""
    return list(range(1, 1 + max(least, 5 if seconds < 60 else 3 if seconds < 300 else 1)))


class Run(NamedTuple):
    """One task with one seed, by `puffer train` or by another trainer."""

    task: Task
    part: str  # of OURS, of TRAINERS, or a name in the task's settings
    seed: int

    @property
    def name(self) -> str:
        """Return a name that no other run has."""
        return f"{self.task.name}-{self.part}-{self.seed}"

    def folder(self, root: Path) -> Path:
        """Return the folder of what is trained."""
        game = folder_name(self.task.game) if self.by_puffer else self.part
        return root / "runs" / game / self.name

    @property
    def by_puffer(self) -> bool:
        """Return whether it is a run of `puffer train`."""
        return self.part not in TRAINERS

    @property
    def words(self) -> list[str]:
        """Return the command that trains, as a user types it, without the folder of the run."""
        task = self.task
        if self.by_puffer:
            more = OURS.get(self.part) or task.settings.get(self.part, "").split()
            return [
                *("puffer", "train", task.game, "--train.seed", str(self.seed)),
                *("--train.total-timesteps", str(task.steps), *task.flags.split(), *more),
                *FLAGS,
            ]
        return [
            *("python", "bench/learning_peers.py", self.part, task.game.removeprefix("gym:")),
            *("--seed", str(self.seed), "--bar", f"{task.bar:g}", "--window", str(task.window)),
        ]

    def command(self, root: Path) -> list[str]:
        """Return the whole command."""
        if self.by_puffer:
            return [*self.words, "--run-dir", str(root / "runs"), "--name", self.name]
        return [*self.words, "--run", str(self.folder(root))]


def executable(command: list[str]) -> list[str]:
    """Return the command with this interpreter in front."""
    if command[0] == "puffer":
        return [sys.executable, "-m", "pufferlib", *command[1:]]
    return [sys.executable, str(HERE.parent / command[1]), *command[2:]]


class Failed(Exception):
    """A command ended with an error; holds its last lines."""


class Stopped(Exception):
    """The measurement was interrupted while a command ran."""


class Commands:
    """Runs commands one per calling thread, until they are all stopped."""

    def __init__(self) -> None:
        self.stopped = False
        self._running: set[subprocess.Popen[bytes]] = set()
        self._lock = threading.Lock()
        path = os.pathsep.join([str(HERE), *filter(None, [os.environ.get("PYTHONPATH")])])
        self._environment = {**os.environ, "PYTHONPATH": path}

    def run(self, command: list[str], output: Path) -> tuple[str, float]:
        """Run a command; return its stdout and the seconds of processor time that it used.

        What it prints is appended to the file `output`. The process inherits the core to which the
        calling thread is pinned. Raise Failed if its exit status is not 0, Stopped if `stop` was
        called.
        """
        with tempfile.TemporaryFile("w+") as answer, tempfile.TemporaryFile("w+") as errors:
            with self._lock:
                if self.stopped:
                    raise Stopped
                process = subprocess.Popen(
                    executable(command),
                    env=self._environment,
                    stdin=subprocess.DEVNULL,
                    stdout=answer,
                    stderr=errors,
                    start_new_session=True,  # Ctrl-C reaches the measurement, which stops them
                )
                self._running.add(process)
            _, status, usage = os.wait4(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(status)
            with self._lock:
                self._running.discard(process)
            printed = []
            for file in (answer, errors):
                file.seek(0)
                printed.append(file.read())
        with output.open("a") as log:
            log.write(f"$ {' '.join(command)}\n{''.join(printed)}")
        if self.stopped:
            raise Stopped
        if process.returncode:
            lines = "".join(printed).splitlines()[-TAIL:]
            raise Failed("\n".join([*lines, f"exit status {process.returncode}"]))
        return printed[0], usage.ru_utime + usage.ru_stime

    def stop(self) -> None:
        """Terminate all commands, and start no others."""
        with self._lock:
            self.stopped = True
            for process in self._running:
                process.terminate()


def read_metrics(run: Path) -> list[dict[str, Any]]:
    """Return the lines of a run's metrics; none if it has not written any."""
    file = run / "metrics.jsonl"
    return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []


def execute(run: Run, root: Path, commands: Commands, jobs: int) -> Record:
    """Train and evaluate; return the record, also if a command fails.

    `jobs` is how many runs are executed beside each other; it is recorded.
    """
    folder, output = run.folder(root), root / "output" / f"{run.name}.txt"
    shutil.rmtree(folder, ignore_errors=True)  # what an interrupted run has left
    output.parent.mkdir(parents=True, exist_ok=True)
    output.unlink(missing_ok=True)
    record: Record = {
        "task": run.task.name,
        "part": run.part,
        "seed": run.seed,
        "command": run.words,
        "run": str(folder.relative_to(root)),
        "date": datetime.datetime.now().isoformat(timespec="seconds"),
        "jobs": jobs,
        **machine(),
    }
    begin, clock = time.time(), time.perf_counter()
    try:
        _, record["processor_seconds"] = commands.run(run.command(root), output)
        record["seconds"] = time.perf_counter() - clock
        lines = read_metrics(folder)
        if not lines:
            raise Failed(f"{folder} has no metrics.jsonl")
        # The last line is written when its uptime is taken, so that its clock began then.
        written = (folder / "metrics.jsonl").stat().st_mtime
        record["start"] = max(0.0, written - begin - lines[-1]["uptime"])
        record["steps"] = lines[-1]["agent_steps"]
        if run.by_puffer:
            for key, flags in (("sampled", []), ("greedy", ["--greedy"])):
                record[key] = evaluate(run, folder, flags, output, commands)
    except Failed as error:
        return {**record, "status": "failed", "error": str(error)}
    return {**record, "status": "done"}


def evaluate(
    run: Run, folder: Path, flags: list[str], output: Path, commands: Commands
) -> dict[str, float]:
    """Return mean, std, min and max of the last policy's score, and the number of episodes."""
    words = ["--policy", "last", "--episodes", str(run.task.episodes), "--json", *flags]
    answer = json.loads(commands.run(["puffer", "eval", str(folder), *words], output)[0])
    if not answer["episodes"]:
        raise Failed(f"no episode of puffer eval {folder} has ended")
    ended = {key: answer[key] for key in ("episodes", "unfinished")}
    return {**ended, **answer["fields"]["score"]}


def machine() -> dict[str, Any]:
    """Return the processor, the number of its cores, the versions and the commit of the code."""
    versions = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    asked = subprocess.run(
        ["git", "describe", "--always", "--dirty"], cwd=HERE, capture_output=True, text=True
    )
    commit = asked.stdout.strip()
    return {"cpu": processor(), "cores": os.cpu_count(), "versions": versions, "commit": commit}


class Records:
    """The records of a folder, of which the last one of each run counts."""

    def __init__(self, root: Path) -> None:
        self.root, self.file = root, root / "records.jsonl"
        self._lock = threading.Lock()
        text = self.file.read_text() if self.file.exists() else ""
        # A line that was cut off is ended before the next record.
        self._begin = "\n" if text and not text.endswith("\n") else ""
        self._all: list[Record] = [record for line in text.splitlines() if (record := parse(line))]

    def add(self, record: Record) -> None:
        """Append a record to the file."""
        with self._lock:
            self._all.append(record)
            with self.file.open("a") as file:
                file.write(f"{self._begin}{json.dumps(record)}\n")
            self._begin = ""

    def find(self, run: Run) -> Record | None:
        """Return the newest record of a run with its present command, or None.

        A record counts only with the metrics of its run, unless it has failed.
        """
        for record in reversed(self._all):
            if record["command"] == run.words:
                kept = (self.root / record["run"] / "metrics.jsonl").exists()
                return record if kept or record["status"] == "failed" else None
        return None

    def done(self, run: Run) -> bool:
        """Return whether the run is recorded and has not failed."""
        record = self.find(run)
        return record is not None and record["status"] == "done"

    def of(self, task: Task, part: str) -> list[Record]:
        """Return the newest record of each seed of a task in a part, in the order of seeds."""
        seeds = sorted(
            {r["seed"] for r in self._all if (r["task"], r["part"]) == (task.name, part)}
        )
        found = [self.find(Run(task, part, seed)) for seed in seeds]
        return [record for record in found if record]

    def reached(self, record: Record, task: Task) -> Reached | None:
        """Return steps, and seconds since the process started, until the bar was first reached."""
        found = first_reached(read_metrics(self.root / record["run"]), task.bar, task.window)
        return found and Reached(found.steps, found.seconds + record["start"])


def parse(line: str) -> Record | None:
    """Return the record of a line; None if the line was cut off when the machine stopped."""
    try:
        return dict(json.loads(line))
    except ValueError:
        return None


def planned(
    tasks: Iterable[Task], parts: Iterable[str], records: Records, seeds: list[int] | None
) -> list[Run]:
    """Return the runs that are known to be needed, whether or not they are done.

    The first seed of a task and part decides how many there are, so the others are only returned
    when its record is there. Parts follow one another, and tasks in their order.
    """
    tasks, runs = list(tasks), []
    for part in parts:
        for task in tasks:
            if part == "peers":
                for peer, count in task.peers.items():
                    wanted = seeds[:count] if seeds else range(1, 1 + count)
                    runs += [Run(task, peer, seed) for seed in wanted]
            elif part == "settings":
                runs += [Run(task, name, seed) for name in task.settings for seed in seeds or [1]]
            elif part == "defaults" or task.ours:
                first = records.find(Run(task, part, 1))
                known = (
                    seeds_after(first["seconds"], task.seeds)
                    if first and "seconds" in first
                    else [1]
                )
                runs += [Run(task, part, seed) for seed in seeds or known]
    return runs
