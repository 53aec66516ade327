"""What one run has logged: its config and the lines of its metrics.jsonl.

Lines that are damaged are left out and counted. A run that is still training can be read.
Letters: P points of a curve.
"""

import dataclasses
import functools
import json
import sys
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from pufferlib.config.options import SECTIONS
from pufferlib.config.resolve import is_external
from pufferlib.run.directory import RunDirectory

Floats = npt.NDArray[np.float64]


class Curve(NamedTuple):
    """One metric of one run, in the order of its steps."""

    steps: Floats  # (P,) agent steps
    seconds: Floats  # (P,) of training, without those between interruption and resuming
    values: Floats  # (P,)


@dataclasses.dataclass(frozen=True)
class RunLog:
    """The config and the metrics of one run."""

    path: Path
    game: str  # as in config.toml: a name, the path of a header, or such as gym:CartPole-v1
    config: dict[str, Any]  # "train.seed" -> 1; options that the file lacks have their defaults
    lines: list[dict[str, Any]]  # each has agent_steps and uptime
    damaged: int  # lines of metrics.jsonl that were left out

    @property
    def title(self) -> str:
        """Return the game's name."""
        return self.game if is_external(self.game) else Path(self.game).stem

    @functools.cached_property
    def metrics(self) -> list[str]:
        """Return the names of all numbers that were logged, in the order of their appearance."""
        found = {k: None for line in self.lines for k, value in line.items() if _is_number(value)}
        return list(found)

    @property
    def main_metric(self) -> str | None:
        """Return `env/score`, else the first field of the game's log, else None."""
        fields = [name for name in self.metrics if name.startswith("env/")]
        fields = [name for name in fields if name != "env/episodes"]
        return "env/score" if "env/score" in fields else next(iter(fields), None)

    @property
    def agent_steps(self) -> float:
        """Return the agent steps of the last line."""
        return float(max(line["agent_steps"] for line in self.lines))

    @property
    def seconds(self) -> float:
        """Return the seconds of training up to the last line."""
        return float(max(line["uptime"] for line in self.lines))

    def curve(self, metric: str) -> Curve:
        """Return the points of a metric; P is 0 if the run has not logged it."""
        points = [
            (line["agent_steps"], line["uptime"], line[metric])
            for line in self.lines
            if _is_number(line.get(metric))  # NaN and infinity were logged as null
        ]
        table = np.array(points, np.float64).reshape(-1, 3)
        table = table[np.argsort(table[:, 0], kind="stable")]
        return Curve(table[:, 0], table[:, 1], table[:, 2])


def read(path: Path) -> RunLog:
    """Read a run's folder. Raise ConfigError if its config.toml is damaged."""
    content = RunDirectory(path).read_config()
    config = {
        f"{name}.{item.name}": item.default
        for name, section in SECTIONS.items()
        for item in section.options()
    }
    for name, values in content.items():
        if isinstance(values, dict):
            config |= {f"{name}.{key}": value for key, value in values.items()}
    lines, damaged = _read_lines(path / "metrics.jsonl")
    game = str(content.get("game", path.parent.name))
    return RunLog(path, game, config, lines, damaged)


def _read_lines(file: Path) -> tuple[list[dict[str, Any]], int]:
    try:
        texts = file.read_bytes().splitlines()
    except FileNotFoundError:
        return [], 0
    lines, damaged = [], 0
    for text in texts:
        try:
            line = json.loads(text)
            valid = _is_number(line["agent_steps"]) and _is_number(line["uptime"])
        except (ValueError, KeyError, TypeError, RecursionError):
            valid = False
        if valid:
            lines.append(line)
        else:
            damaged += 1
    return lines, damaged


def _is_number(value: object) -> bool:
    if not isinstance(value, (int, float)) or isinstance(value, bool):
        return False
    return abs(value) <= sys.float_info.max  # False for NaN, and for integers that no float holds
