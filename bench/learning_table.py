"""The tables that bench/learning.py makes of its records, and their places in a document."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from learning_runs import TRAINERS, Record, Records, Task, read_metrics

from pufferlib.plotting.statistics import bootstrap

NONE = "-"
TARGETS = {
    True: 0.1,
    False: 1 / 3,
}  # seconds of ours as a share of another trainer's; own env or not


class Result(NamedTuple):
    """What the records of one task in one part say."""

    done: list[Record]
    failed: int
    steps: float  # median until the bar; infinite if most seeds did not reach it
    seconds: float  # median until the bar, from the start of the process
    trained: float  # the same from the end of the start-up
    reached: int  # seeds that reached the bar

    @property
    def scores(self) -> list[float]:
        """Return the mean score of each seed, sampled as in training."""
        return [record["sampled"]["mean"] for record in self.done]

    @property
    def load(self) -> str:
        """Return the median share of its core that the command had, in percent."""
        share = statistics.median(r["processor_seconds"] / r["seconds"] for r in self.done)
        return f"{100 * share:.0f} %"

    @property
    def spent(self) -> float:
        """Return the median seconds of the whole command that trains."""
        return statistics.median(record["seconds"] for record in self.done)


def result(task: Task, part: str, records: Records) -> Result | None:
    """Return the result of a task in a part; None if no run has ended."""
    found = records.of(task, part)
    done = [record for record in found if record["status"] == "done"]
    if not found:
        return None
    arrived = [records.reached(record, task) for record in done]
    return Result(
        done,
        len(found) - len(done),
        median(a.steps if a else math.inf for a in arrived),
        median(a.seconds if a else math.inf for a in arrived),
        median(
            a.seconds - record["start"] if a else math.inf
            for a, record in zip(arrived, done, strict=True)
        ),
        sum(a is not None for a in arrived),
    )


def median(values: Iterable[float]) -> float:
    """Return the median; infinity if there are no values."""
    return statistics.median([*values] or [math.inf])


def number(value: float) -> str:
    """Return a score with as many digits as its size needs."""
    size = abs(value)
    digits = 0 if size >= 100 else 1 if size >= 10 else 2 if size >= 1 else 3
    shown = f"{value:,.{digits}f}"
    return shown.rstrip("0").rstrip(".") if digits else shown


def in_steps(value: float) -> str:
    """Return a number of steps in thousands or millions."""
    if value == math.inf:
        return NONE
    scale, unit = (1e6, " M") if value >= 1e6 else (1e3, " k") if value >= 1e3 else (1, "")
    return f"{value / scale:.3g}{unit}"


def in_seconds(value: float) -> str:
    """Return seconds with one decimal below 10."""
    return NONE if value == math.inf else f"{value:,.{1 if value < 10 else 0}f}"


def table(titles: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a Markdown table."""
    lines = [titles, ["---"] * len(titles), *rows]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines)


def with_interval(scores: list[float]) -> str:
    """Return the mean over seeds, with its 95 % interval if there are several."""
    if len(scores) < 2:
        return "".join(map(number, scores)) or NONE
    band = bootstrap(np.array(scores)[:, None])
    mean, low, high = (number(float(values[0])) for values in band)
    return f"{mean} ({low} to {high})"


def with_range(scores: list[float]) -> str:
    """Return the mean over seeds, with the least and the most if there are several."""
    if len(scores) < 2:
        return "".join(map(number, scores)) or NONE
    mean, least, most = (number(f(scores)) for f in (statistics.mean, min, max))
    return f"{mean} ({least} to {most})"


def seeds(found: Result) -> str:
    """Return the number of seeds, and how many runs failed."""
    return f"{len(found.done)}" + (f", {found.failed} failed" if found.failed else "")


def to_the_bar(found: Result) -> list[str]:
    """Return how many seeds reached the bar, and the medians of steps and seconds."""
    reached = f"{found.reached} of {len(found.done)}"
    return [reached, in_steps(found.steps), in_seconds(found.seconds)]


def scores(tasks: dict[str, Task], records: Records) -> str:
    """Return the table of all tasks, with the rows of other trainers below theirs."""
    titles = (
        *(
            "task",
            "kind",
            "steps",
            "seeds",
            "score (95 %)",
            "least, most",
            "greedy (range)",
            "published",
        ),
        *(
            "bar",
            "seeds that reached it",
            "steps to it",
            "seconds to it",
            "seconds in all",
            "of its core",
        ),
    )
    rows = []
    for task in tasks.values():
        if found := result(task, "defaults", records):
            greedy = [record["greedy"]["mean"] for record in found.done]
            rows.append(
                [
                    *(f"`{task.title}`", task.kind, in_steps(task.steps), seeds(found)),
                    with_interval(found.scores),
                    ", ".join(number(f(found.scores)) for f in (min, max)) if found.done else NONE,
                    with_range(greedy),
                    *(number(task.published), number(task.bar), *to_the_bar(found)),
                    *([in_seconds(found.spent), found.load] if found.done else [NONE, NONE]),
                ]
            )
        for peer, title in TRAINERS.items():
            if found := result(task, peer, records):
                most = in_steps(max((record["steps"] for record in found.done), default=math.inf))
                rows.append(
                    [
                        *(f"`{task.title}`, {title}", task.kind, f"at most {most}", seeds(found)),
                        *(NONE, NONE, NONE, number(task.published), number(task.bar)),
                        *to_the_bar(found),
                        *([in_seconds(found.spent), found.load] if found.done else [NONE, NONE]),
                    ]
                )
    return table(titles, rows)


def sources(tasks: dict[str, Task]) -> str:
    """Return where the published figures and the bars come from."""
    rows = [
        [
            f"`{task.title}`",
            f"{number(task.published)}: {task.source}",
            f"{number(task.bar)}: {task.bar_source or 'the published score'}",
            str(task.window),
            str(task.episodes),
        ]
        for task in tasks.values()
    ]
    return table(("task", "published score", "bar", "episodes for the bar", "evaluated"), rows)


def peers(tasks: dict[str, Task], records: Records) -> str:
    """Return the table of seconds to the bar beside those of other trainers."""
    titles = ["task", "seconds to the bar", "target"]
    for title in TRAINERS.values():
        titles += [title, "share of it", "without start-up"]
    rows = []
    for task in tasks.values():
        rival = tasks[task.like] if task.like else task
        mine = result(task, "defaults", records)
        if not rival.peers or not mine:
            continue
        row = [f"`{task.title}`", in_seconds(mine.seconds), f"{TARGETS[task.ours]:.2f}"]
        for peer in TRAINERS:
            row += share(mine, result(rival, peer, records))
        rows.append(row)
    return table(titles, rows)


def share(mine: Result, theirs: Result | None) -> list[str]:
    """Return the other trainer's seconds to the bar, and ours as shares of them.

    The second share is of the seconds without start-up. If the other trainer did not reach the bar,
    its time is more than the run took.
    """
    if theirs is None or not theirs.done:
        return [NONE, NONE, NONE]
    more, less = ("", "") if theirs.seconds < math.inf else ("more than ", "less than ")
    total, trained = theirs.seconds, theirs.trained
    if more:
        total = theirs.spent
        trained = median(record["seconds"] - record["start"] for record in theirs.done)
    row = [f"{more}{in_seconds(total)}"]
    for ours, other in ((mine.seconds, total), (mine.trained, trained)):
        row.append(NONE if ours == math.inf else f"{less}{ours / other:.2g}")
    return row


def kinds(tasks: dict[str, Task], records: Records) -> str:
    """Return the table of the games' own files beside the defaults of their kind alone."""
    titles = (
        *("game", "kind", "score, its own file", "score, the kind's defaults"),
        *("seeds that reach the bar", "steps to the bar", "seconds to the bar"),
    )
    rows = []
    for task in sorted(tasks.values(), key=lambda task: task.kind):
        own, plain = (result(task, part, records) for part in ("defaults", "kinds"))
        if not own or not plain:
            continue
        row = [f"`{task.title}`", task.kind]
        row += [with_interval(found.scores) for found in (own, plain)]
        pairs = zip(to_the_bar(own), to_the_bar(plain), strict=True)
        rows.append([*row, *(f"{a}; {b}" for a, b in pairs)])
    return table(titles, rows)


# Columns of the table of settings: title, metric, digits.
DIAGNOSES = (
    ("KL", "loss/approx_kl", 4),
    ("entropy", "loss/entropy", 2),
    ("explained variance", "loss/explained_variance", 2),
    ("gradient's norm", "loss/grad_norm", 2),
    ("out of bounds", "policy/out_of_bounds", 3),
)


def settings(tasks: dict[str, Task], records: Records) -> str:
    """Return the table of tasks with one setting changed, of the first seed of each.

    Beside the score of the evaluation it has the mean training score of each tenth of the run, and
    metrics of the middle of the run: from 40 to 60 % of its steps.
    """
    titles = ("task", "setting", "score", "training's score, by tenths of the run")
    rows = []
    for task in tasks.values():
        for name in ("defaults", *task.settings) if task.settings else ():
            found = [r for r in records.of(task, name) if r["status"] == "done"]
            if not found:
                continue
            metrics = read_metrics(records.root / found[0]["run"])
            middle = [m for m in metrics if 0.4 <= m["agent_steps"] / task.steps <= 0.6]
            changed = f"`{task.settings[name]}`" if name != "defaults" else "the defaults"
            row = [f"`{task.title}`", changed, number(found[0]["sampled"]["mean"])]
            row.append(" ".join(tenths(metrics, task.steps)))
            for _, metric, digits in DIAGNOSES:
                values = [line[metric] for line in middle if metric in line]
                row.append(f"{statistics.mean(values):.{digits}f}" if values else NONE)
            rows.append(row)
    return table((*titles, *(title for title, _, _ in DIAGNOSES)), rows)


def tenths(metrics: list[dict[str, Any]], steps: int) -> list[str]:
    """Return the mean score of the episodes that ended in each tenth of `steps` steps."""
    shown = []
    for tenth in range(10):
        low, high = tenth * steps / 10, (tenth + 1) * steps / 10
        ended = [
            (line["env/episodes"], line["env/score"])
            for line in metrics
            if low < line["agent_steps"] <= high and line.get("env/episodes")
        ]
        count = sum(episodes for episodes, _ in ended)
        shown.append(number(sum(n * score for n, score in ended) / count) if count else NONE)
    return shown


def setup(tasks: dict[str, Task], records: Records) -> str:
    """Return what the runs were made with and when."""
    found = [
        record
        for task in tasks.values()
        for part in ("defaults", "kinds", *TRAINERS, *task.settings)
        for record in records.of(task, part)
    ]
    if not found:
        return "No run has been made."

    def all_of(key: Callable[[Record], Any]) -> str:
        return " and ".join(sorted({str(key(record)) for record in found}))

    names = sorted({name for record in found for name in record["versions"]})
    versions = [
        f"{name} {all_of(lambda r, name=name: r['versions'].get(name, 'none'))}" for name in names
    ]
    days = sorted(record["date"][:10] for record in found)
    when = days[0] if days[0] == days[-1] else f"{days[0]} to {days[-1]}"
    return (
        f"{len(found)} runs, {when}, {all_of(lambda r: r['cpu'])}, "
        f"{all_of(lambda r: r['cores'])} logical cores, each run on one of them; runs at the same "
        f"time: {all_of(lambda r: r['jobs'])}. Versions: {', '.join(versions)}."
    )


def write(files: Iterable[Path], tasks: dict[str, Task], records: Records) -> None:
    """Put the tables into documents, between `<!-- NAME -->` and `<!-- end of NAME -->`.

    Each document gets the tables for which it has a place. Raise SystemExit if one has none.
    """
    tables = {
        "setup": setup(tasks, records),
        "scores": scores(tasks, records),
        "sources": sources(tasks),
        "peers": peers(tasks, records),
        "kinds": kinds(tasks, records),
        "settings": settings(tasks, records),
    }
    for file in files:
        old = file.read_text()
        places = [name for name in tables if f"<!-- {name} -->" in old]
        if not places:
            names = ", ".join(f"<!-- {name} -->" for name in tables)
            raise SystemExit(f"{file} has no place for a table: write one of {names} into it")
        text = old
        for name in places:
            try:
                text = replace(text, name, tables[name])
            except ValueError as error:
                raise SystemExit(f"{file} {error}") from None
        file.write_text(text)


def replace(text: str, name: str, new: str) -> str:
    """Return the document with `new` in the place of this name. Raise ValueError without an end."""
    begin, end = f"<!-- {name} -->\n", f"<!-- end of {name} -->"
    before, _, rest = text.partition(begin)
    _, closed, after = rest.partition(end)
    if not closed:
        raise ValueError(f"has no {end} after {begin.strip()}")
    return f"{before}{begin}{new}\n{end}{after}"
