"""The output of a run: a live dashboard on a terminal, plain lines in a pipe or a file.

Both receive the same flat metrics (`agent_steps`, `sps`, `env/...`, `loss/...`, `time/...`, ...).
The dashboard shows every metric of the groups in LEFT and RIGHT, so a new one needs no line here.
"""

import textwrap
from collections.abc import Mapping, Sequence
from typing import Protocol

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from pufferlib.run.formatting import Metrics, clock, count, number, percent, time_left

TWO_COLUMNS = 66  # minimum width, in characters, for two columns of tables
BAR = "█"
# Group of metrics -> its heading, in the order of the columns.
LEFT = {"time": "Where the time goes", "rows": "Rows"}
RIGHT = {"env": "Game", "eval": "Evaluation", "loss": "Losses"}
PERCENT = ("rows/density", "rows/carried")


class Display(Protocol):
    """Shows the progress of one run."""

    def update(self, metrics: Metrics) -> None:
        """Show these metrics."""

    def message(self, text: str) -> None:
        """Show a message."""

    def close(self) -> None:
        """Restore the terminal. May be called twice."""


def make(
    title: str, setup: str, chosen: Sequence[str], total_steps: int, score: str | None
) -> Display:
    """Return a live dashboard on a terminal, plain lines elsewhere; both write to stdout.

    `title` is the run's folder, `setup` one line about device, threads and sizes, `chosen` lines
    about the task and its settings, which are shown first, `score` the metric that policies are
    ranked by, such as `env/score`.
    """
    console = Console(highlight=False)
    display: Display
    if console.is_terminal and not console.is_dumb_terminal:
        display = LiveDisplay(console, title, setup, total_steps)
        first = chosen
    else:
        display = PlainDisplay(total_steps, score)
        first = [*chosen, f"{title}  {setup}"]
    for line in first:
        display.message(line)
    return display


class PlainDisplay:
    """Prints one line per log, without colours or control characters."""

    def __init__(self, total_steps: int, score: str | None) -> None:
        self._total = total_steps
        self._score = score

    def update(self, metrics: Metrics) -> None:
        """Print steps, speed, score and loss."""
        parts = [f"steps {count(metrics['agent_steps'])}/{count(self._total)}"]
        parts.append(f"sps {count(metrics.get('sps', 0))}")
        for name in (self._score, "eval/score" if self._score == "env/score" else None):
            if name and metrics.get(name) is not None:
                parts.append(f"{name} {number(metrics[name])}")
        loss = metrics.get("loss/total", metrics.get("loss/loss"))
        if loss is not None:
            parts.append(f"loss {number(loss)}")
        parts.append(f"left {clock(time_left(metrics, self._total))}")
        self.message("  ".join(parts))

    def message(self, text: str) -> None:
        """Print a line and flush it."""
        print(text, flush=True)

    def close(self) -> None:
        """Do nothing: plain output does not change the terminal."""


class LiveDisplay:
    """A full-screen dashboard, redrawn at the terminal's current size with every update."""

    def __init__(self, console: Console, title: str, setup: str, total_steps: int) -> None:
        self.console = console
        self._title, self._setup, self._total = title, setup, total_steps
        self._metrics: Metrics = {"agent_steps": 0}
        self._messages: list[str] = []
        self._live: Live | None = Live(
            console=console, screen=True, auto_refresh=False, get_renderable=self.render
        )
        self._live.start()

    def update(self, metrics: Metrics) -> None:
        """Show these metrics."""
        self._metrics = metrics
        if self._live:
            self._live.refresh()

    def message(self, text: str) -> None:
        """Show a line at the bottom and print it again at `close`. After `close`, only print it."""
        if not self._live:
            self.console.print(text, markup=False)
            return
        self._messages.append(text)
        self._live.refresh()

    def close(self) -> None:
        """Leave the full screen, then print the last dashboard and all messages."""
        if not self._live:
            return
        self._live.stop()
        self._live = None
        messages, self._messages = self._messages, []
        if len(self._metrics) > 1:
            self.console.print(self.render())
        for text in messages:
            self.console.print(text, markup=False)

    def render(self) -> RenderableType:
        """Return the dashboard for the console's current size; it is never larger."""
        width, height = self.console.size
        inner = max(20, width - 4)
        lines = height - 2  # without the frame
        head: list[RenderableType] = [
            self._progress(inner),
            *(Text(line, "dim") for line in textwrap.wrap(self._setup, inner)),
        ]
        foot = [
            Text(text, "yellow", no_wrap=True, overflow="ellipsis") for text in self._messages[-2:]
        ]
        room = max(0, lines - len(head) - len(foot))
        body = self._body(inner, room)
        shown: list[RenderableType] = [*head, body, *foot][: max(1, lines)]
        return Panel(Group(*shown), title=Text(self._title, "bold cyan"), border_style="cyan")

    def _progress(self, width: int) -> Text:
        steps = self._metrics["agent_steps"]
        share = min(1.0, steps / self._total)
        left = clock(time_left(self._metrics, self._total))
        words = (
            f" {share:4.0%}  {count(steps)} of {count(self._total)} steps"
            f"  {count(self._metrics.get('sps', 0))}/s  {left} left"
        )
        return Text.assemble(_bar(share, max(4, width - len(words))), words, no_wrap=True)

    def _body(self, width: int, height: int) -> Table:
        """Arrange the groups of metrics in one or two columns of at most `height` lines."""
        wide = width >= TWO_COLUMNS
        column = (width - 3) // 2 if wide else width
        left = self._groups(LEFT, column)
        right = self._groups(RIGHT, column)
        table = Table.grid(padding=(0, 3, 0, 0), expand=False)
        if not wide:
            for line in _cropped(right + left, height):
                table.add_row(line)
            return table
        left, right = _cropped(left, height), _cropped(right, height)
        blank = Text(" " * column)
        for i in range(max(len(left), len(right))):
            table.add_row(*(c[i] if i < len(c) else blank for c in (left, right)))
        return table

    def _groups(self, headings: Mapping[str, str], width: int) -> list[Text]:
        lines: list[Text] = []
        for group, heading in headings.items():
            values = {
                key.partition("/")[2]: value
                for key, value in self._metrics.items()
                if key.startswith(f"{group}/") and isinstance(value, (int, float))
            }
            if not values:
                continue
            lines.append(Text(heading.ljust(width), "bold"))
            if group == "time":
                lines += _shares(values, width)
            else:
                for name, value in values.items():
                    write = percent if f"{group}/{name}" in PERCENT else number
                    lines.append(_pair(name, write(value), width))
        return lines


def _shares(seconds: Mapping[str, float], width: int) -> list[Text]:
    whole = sum(seconds.values()) or 1.0
    name_width = max(map(len, seconds))
    room = max(1, width - name_width - 6)
    return [
        Text.assemble(
            f"{name:<{name_width}} ", _bar(part / whole, room), f"{part / whole:5.0%}", no_wrap=True
        )
        for name, part in seconds.items()
    ]


def _bar(share: float, width: int) -> Text:
    full = min(width, max(0, round(share * width)))
    return Text.assemble((BAR * full, "cyan"), ("─" * (width - full), "dim"))


def _pair(name: str, value: str, width: int) -> Text:
    room = max(1, width - len(value) - 1)
    return Text(f"{name[:room]:<{room}} {value}", no_wrap=True)


def _cropped(lines: list[Text], height: int) -> list[Text]:
    if len(lines) <= height:
        return lines
    return [*lines[: max(0, height - 1)], Text("…")][:height]
