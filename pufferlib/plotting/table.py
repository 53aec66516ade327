"""A Markdown table of groups of runs: final and highest values, steps, time and speed."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np

from pufferlib.plotting.groups import Group
from pufferlib.plotting.statistics import bootstrap, smooth
from pufferlib.run.formatting import clock, count, number

HEADINGS = ("game", "runs", "seeds", "metric", "final mean [95 %]", "highest", "steps", "time")
RIGHT_FROM = 4  # the first column that is aligned to the right


class Row(NamedTuple):
    """One group and one metric. Means are over the runs."""

    game: str
    label: str
    size: str  # number of runs and seeds
    metric: str
    final: float  # mean of the last values
    low: float  # bounds of the confidence interval of `final`
    high: float
    highest: float  # of any run
    steps: float  # mean agent steps
    seconds: float  # mean seconds of training
    speed: float  # agent steps per second: all steps divided by all seconds


def row(group: Group, metric: str, points: int = 1) -> Row:
    """Return the row of a group; each of its runs has logged the metric."""
    values = [smooth(run.curve(metric).values, points) for run in group.runs]
    band = bootstrap(np.array([[v[-1]] for v in values]))
    steps = [run.agent_steps for run in group.runs]
    seconds = [run.seconds for run in group.runs]
    return Row(
        game=group.title,
        label=group.label,
        size=group.size,
        metric=metric,
        final=float(band.mean[0]),
        low=float(band.low[0]),
        high=float(band.high[0]),
        highest=float(max(v.max() for v in values)),
        steps=float(np.mean(steps)),
        seconds=float(np.mean(seconds)),
        speed=sum(steps) / sum(seconds),
    )


def to_markdown(rows: Iterable[Row]) -> str:
    """Return the rows as a Markdown table."""
    body = [_cells(row) for row in rows]
    head = (*HEADINGS, "steps/s")
    marks = ["---"] * RIGHT_FROM + ["---:"] * (len(head) - RIGHT_FROM)
    return "\n".join(_line(cells) for cells in (head, marks, *body))


def _cells(row: Row) -> Sequence[str]:
    interval = "" if row.size == "1 seed" else f" [{number(row.low)}, {number(row.high)}]"
    return (
        row.game,
        row.label or "all",
        row.size.removesuffix(" seeds").removesuffix(" seed"),
        row.metric,
        number(row.final) + interval,
        number(row.highest),
        count(row.steps),
        clock(row.seconds),
        count(row.speed),
    )


def _line(cells: Iterable[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"
