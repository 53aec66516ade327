"""`puffer plot` from its words to a picture and a table; notes go to stderr."""

import sys
from collections.abc import Sequence
from pathlib import Path

from pufferlib.config.section import nearest
from pufferlib.plotting import figure, selection, table
from pufferlib.plotting.figure import AXES, Panels, PlotError
from pufferlib.plotting.groups import Group, group, mixed
from pufferlib.plotting.run_log import RunLog


def plot(
    targets: Sequence[str],
    *,
    run_dir: str,
    every: bool,
    metrics: Sequence[str],
    x: str,
    points: int,
    each: bool,
    split_by: Sequence[str],
    output: Path | None,
    as_table: bool,
) -> None:
    """Write the curves of these runs to `output`, and print a table if asked.

    Raise RunError, ConfigError, PlotError or SaveError before anything is written.
    """
    if output:
        figure.check_output(output)
    logs, notes = selection.read_all(selection.find(targets, run_dir, every))
    for metric in metrics:
        selection.check_metric(metric, logs)
    _check_keys(split_by, logs)
    rows: list[Panels] = []
    for groups in group(logs, split_by).values():
        notes += filter(None, map(mixed, groups))
        rows += _panels(groups, metrics, notes)
    if not rows:
        raise PlotError(
            "no episode has ended in these runs, so their games have logged nothing; to plot "
            "something else: --metric loss/loss"
        )
    if output:
        for row in rows:
            notes += figure.notes(row, AXES[x])
        existed = output.exists()
        figure.write(output, rows, x, points, each)
        runs = len({run.path for row in rows for g in row.groups for run in g.runs})
        done = "replaced" if existed else "wrote"
        text = f"{done} {output}: {runs} run{'s' * (runs != 1)}"
        print(text, file=sys.stderr if as_table else sys.stdout)
    if as_table:
        found = [table.row(group, row.metric, points) for row in rows for group in row.groups]
        print(table.to_markdown(found))
    for note in notes:
        print(f"puffer: note: {note}", file=sys.stderr)


def _panels(groups: list[Group], metrics: Sequence[str], notes: list[str]) -> list[Panels]:
    """Return the panels of one game; add a note for each run that has not logged a metric."""
    runs = [run for group in groups for run in group.runs]
    main = next((run.main_metric for run in runs if run.main_metric), None)
    panels = []
    for metric in metrics or ([main] if main else []):
        notes += [
            f"{run.path} has not logged {metric}" for run in runs if metric not in run.metrics
        ]
        having = [found for group in groups if (found := group.having(metric)).runs]
        if having:
            panels.append(Panels(groups[0].title, metric, having))
    if not metrics and not main:
        notes.append(f"{groups[0].title} has logged nothing yet: no episode has ended")
    return panels


def _check_keys(keys: Sequence[str], logs: Sequence[RunLog]) -> None:
    known = sorted({key for log in logs for key in log.config})
    for key in keys:
        if key not in known:
            raise PlotError(
                f"--split-by {key}: no such option; did you mean {nearest(key, known)}?"
            )
