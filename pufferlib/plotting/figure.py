"""Curves of runs as a PNG or an SVG: one row of panels per game and metric.

The panels of a row show the same curves over agent steps and over the seconds of training. A group
with several seeds is drawn as its mean in a band, the bootstrap confidence interval. Importing this
file needs no matplotlib; drawing does (extra `plot`).
"""

import io
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from pufferlib.plotting.groups import Group
from pufferlib.plotting.run_log import Curve, Floats
from pufferlib.plotting.statistics import Band, bootstrap, common_grid, interpolate, smooth
from pufferlib.run.checkpoint import write_bytes

SUFFIXES = (".png", ".svg")
AXES = {"steps": ("steps",), "time": ("time",), "both": ("steps", "time")}
# Seven colours that colour-blind people can tell apart: those of Okabe and Ito 2008, *Color
# universal design*, without the yellow, which is hard to see on white.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
STYLES = ("-", "--", "-.", ":")  # the next style when the colours are used up
PANEL = (5.2, 3.4)  # inches
LEGEND = 2.4  # inches beside the panels
DOTS_PER_INCH = 150
FEW = 3  # curves with fewer points are drawn with markers
MOST_INSIDE = 6  # groups in a legend within its panel; a longer one stands beside the panels
BAND_NOTE = "line: mean of the seeds; band: its 95 % bootstrap confidence interval"
SETTINGS = {
    "font.family": "sans-serif",
    "font.size": 10,
    "axes.titlesize": 11,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.alpha": 0.25,
    "text.parse_math": False,  # a $ in a run's name is a $
    "svg.fonttype": "none",  # text stays text
    "svg.hashsalt": "puffer plot",  # the same file each time
}


class PlotError(ValueError):
    """A plot cannot be drawn or written; the message says what to do."""


class Panels(NamedTuple):
    """One row of panels."""

    title: str  # name of the game
    metric: str
    groups: list[Group]


class Drawn(NamedTuple):
    """One group on one axis: where its mean and band are."""

    x: Floats  # (G,)
    band: Band
    runs: list[tuple[Floats, Floats]]  # the points of each run


def check_output(file: Path) -> None:
    """Raise PlotError unless a plot can be written: suffix, folder, matplotlib."""
    if file.suffix not in SUFFIXES:
        raise PlotError(f"--output {file}: the name must end in {' or '.join(SUFFIXES)}")
    if not file.parent.is_dir():
        raise PlotError(f"--output {file}: there is no folder {file.parent}")
    try:
        import matplotlib  # noqa: F401
    except ImportError as error:
        raise PlotError(
            f"plots need matplotlib ({error}); run `pip install 'pufferenv[plot]'`, or print a "
            "table with --table"
        ) from None


def write(file: Path, rows: Sequence[Panels], x: str, points: int = 1, each: bool = False) -> None:
    """Draw rows of panels and write the file atomically.

    `x` is a key of AXES, `points` the width of the moving mean; `each` draws the runs of a group as
    thin lines, too. Raise SaveError if the disk fails.
    """
    import matplotlib

    with matplotlib.rc_context({**matplotlib.rcParamsDefault, **SETTINGS}):
        content = _draw(rows, AXES[x], points, each, file.suffix.removeprefix("."))
    write_bytes(file, content)


def drawn(group: Group, metric: str, axis: str, points: int = 1) -> Drawn:
    """Return the mean and the band of a group over `axis`, `steps` or `time`.

    One run keeps its own points. Several are interpolated on their common range; if they have none,
    the mean has no points.
    """
    curves = [run.curve(metric) for run in group.runs]
    positions = [_position(curve, axis) for curve in curves]
    values = [smooth(curve.values, points) for curve in curves]
    runs = list(zip(positions, values, strict=True))
    if len(runs) == 1:
        x, y = runs[0]
        return Drawn(x, Band(y, y, y), runs)
    grid = common_grid(positions)
    if not len(grid):
        return Drawn(grid, Band(grid, grid, grid), runs)
    return Drawn(grid, bootstrap(interpolate(grid, positions, values)), runs)


def notes(row: Panels, axes: Sequence[str]) -> Iterator[str]:
    """Yield what a reader of the curves should know: means that end early, runs left alone."""
    for group in row.groups:
        ends = {run.path: float(run.curve(row.metric).steps[-1]) for run in group.runs}
        short = min(ends, key=lambda path: ends[path])
        if ends[short] < 0.9 * max(ends.values()):
            yield (
                f"the mean of {group.legend} ends at {ends[short]:,.0f} steps, because {short} "
                f"ends there; the longest run has {max(ends.values()):,.0f}"
            )
        for axis in axes:
            if not len(drawn(group, row.metric, axis).x):
                yield (
                    f"{group.legend} has no mean over {axis}: its runs have no range of "
                    f"{row.metric} in common, so each is drawn alone"
                )


def _draw(
    rows: Sequence[Panels], axes: Sequence[str], points: int, each: bool, format: str
) -> bytes:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    beside = any(len(row.groups) > MOST_INSIDE for row in rows)
    size = (PANEL[0] * len(axes) + beside * LEGEND, PANEL[1] * len(rows))
    figure = Figure(figsize=size, layout="constrained")
    FigureCanvasAgg(figure)  # no window and no global state
    panels = figure.subplots(len(rows), len(axes), squeeze=False, sharey="row")
    for row, line in zip(rows, panels, strict=True):
        for axis, panel in zip(axes, line, strict=True):
            _draw_panel(panel, row, axis, points, each)
        line[0].set_ylabel(describe(row.metric) + (f"\n(mean of {points} points)" * (points > 1)))
        for panel in line[1:]:
            panel.tick_params(labelleft=True)
        line[0].set_title(row.title, loc="left", fontweight="bold")
        if len(row.groups) > MOST_INSIDE:
            line[-1].legend(frameon=False, fontsize=9, loc="upper left", bbox_to_anchor=(1.02, 1))
        else:
            line[0].legend(frameon=False, fontsize=9)
    if any(len(group.runs) > 1 for row in rows for group in row.groups):
        figure.supxlabel(BAND_NOTE, fontsize=8, color="#555555")
    buffer = io.BytesIO()
    date = {"Date": None} if format == "svg" else None
    figure.savefig(buffer, format=format, dpi=DOTS_PER_INCH, metadata=date)
    return buffer.getvalue()


def _draw_panel(panel: Any, row: Panels, axis: str, points: int, each: bool) -> None:
    shown = [drawn(group, row.metric, axis, points) for group in row.groups]
    longest = max(x[-1] for item in shown for x, _ in item.runs)
    unit, name = _unit(axis, longest)
    for i, (group, item) in enumerate(zip(row.groups, shown, strict=True)):
        colour = COLOURS[i % len(COLOURS)]
        style = STYLES[i // len(COLOURS) % len(STYLES)]
        marker = "o" if len(item.x) < FEW else None
        panel.plot(
            item.x / unit,
            item.band.mean,
            style,
            color=colour,
            linewidth=1.8,
            marker=marker,
            markersize=4,
            label=f" {group.legend}",  # matplotlib leaves out labels that begin with _
        )
        if len(item.runs) > 1 and len(item.x):
            panel.fill_between(
                item.x / unit,
                item.band.low,
                item.band.high,
                color=colour,
                alpha=0.2,
                linewidth=0,
            )
        if (each and len(item.runs) > 1) or not len(item.x):
            for x, y in item.runs:
                dot = "o" if len(x) < FEW else None
                panel.plot(x / unit, y, style, color=colour, linewidth=0.7, alpha=0.6, marker=dot)
    panel.set_xlabel(name)
    panel.margins(x=0.01)


def describe(metric: str) -> str:
    """Return the name of a metric for an axis: `score in training`, `score in evaluations`."""
    group, _, field = metric.partition("/")
    where = {"env": "in training", "eval": "in evaluations"}.get(group)
    return f"{field} {where}" if where and field else metric.replace("/", ": ")


def _position(curve: Curve, axis: str) -> Floats:
    return curve.steps if axis == "steps" else curve.seconds


def _unit(axis: str, longest: float) -> tuple[float, str]:
    """Return the unit of an axis, in steps or seconds, and the axis' label."""
    if axis == "steps":
        units = [(1e9, "billions"), (1e6, "millions"), (1e3, "thousands")]
        for unit, name in units:
            if longest >= unit:
                return unit, f"agent steps ({name})"
        return 1.0, "agent steps"
    for unit, name in ((3600.0, "hours"), (60.0, "minutes")):
        if longest >= 2 * unit:
            return unit, f"wall time ({name})"
    return 1.0, "wall time (seconds)"
