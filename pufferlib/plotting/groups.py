"""Runs in groups: one group for each game and config, whose members differ by their seed."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from pufferlib.config.flags import format_value
from pufferlib.plotting.run_log import RunLog

# How a run is computed. The program measures some of these at the start of each run, so they may
# differ between the seeds of one experiment; a note says so.
COMPUTING = ("train.device", "train.precision", "train.threads", "vec.num_threads")
# What else does not make another experiment of a run: its seed, and how often it is saved,
# evaluated or checked.
IGNORED = {
    *COMPUTING,
    "train.seed",
    "train.checkpoint_interval",
    "train.eval_interval",
    "train.eval_episodes",
    "train.video_interval",
    "vec.timeout",
    "vec.debug",
}
MAX_KEYS = 3  # keys in a label; groups that differ in more are labelled by their runs' names
UNSET = "unset"


class Group(NamedTuple):
    """Runs of one game and one config."""

    label: str  # what distinguishes the group from the others of its game
    runs: list[RunLog]

    @property
    def title(self) -> str:
        """Return the game's name."""
        return self.runs[0].title

    @property
    def seeds(self) -> int:
        """Return the number of different seeds."""
        return len({run.config.get("train.seed") for run in self.runs})

    @property
    def size(self) -> str:
        """Describe how many runs there are: `1 seed`, `5 seeds`, `4 runs of 2 seeds`."""
        seeds = f"{self.seeds} seed{'s' * (self.seeds != 1)}"
        return seeds if self.seeds == len(self.runs) else f"{len(self.runs)} runs of {seeds}"

    @property
    def legend(self) -> str:
        """Return the label and the number of runs."""
        return f"{self.label} ({self.size})" if self.label else self.size

    def having(self, metric: str) -> "Group":
        """Return the group of those runs that have logged the metric; it may be empty."""
        return Group(self.label, [run for run in self.runs if metric in run.metrics])


def group(logs: Sequence[RunLog], split_by: Sequence[str] = ()) -> dict[str, list[Group]]:
    """Return the groups of each game, in the order in which the runs are given.

    Keys in `split_by`, such as `train.threads`, make groups of their own although they are in
    IGNORED.
    """
    ignored = IGNORED - {*split_by}
    games: dict[str, dict[Any, list[RunLog]]] = {}
    for log in logs:
        key = tuple(sorted((k, repr(v)) for k, v in log.config.items() if k not in ignored))
        games.setdefault(log.game, {}).setdefault(key, []).append(log)
    groups = {}
    for game, by_config in games.items():
        members = list(by_config.values())
        groups[game] = list(map(Group, _labels(members, ignored), members))
    return groups


def mixed(group: Group) -> str:
    """Describe how the runs of a group were computed differently; empty if they were not."""
    differ = {}
    for key in COMPUTING:
        values = sorted({format_value(run.config[key]) for run in group.runs})
        if len(values) > 1:
            differ[key] = " and ".join(values)
    if not differ:
        return ""
    what = ", ".join(f"{key} ({values})" for key, values in differ.items())
    return (
        f"the runs of {group.legend} differ in {what}; to draw them apart: "
        f"--split-by {next(iter(differ))}"
    )


def _labels(groups: list[list[RunLog]], ignored: set[str]) -> list[str]:
    """Return a label for each group: the keys that differ, or the runs' names."""
    if len(groups) == 1:
        return [groups[0][0].path.name if len(groups[0]) == 1 else ""]
    configs = [{k: v for k, v in runs[0].config.items() if k not in ignored} for runs in groups]
    keys = {key: None for config in configs for key in config}
    differ = [key for key in keys if len({repr(c.get(key)) for c in configs}) > 1]
    if len(differ) > MAX_KEYS:
        return [_names(runs) for runs in groups]
    names = [key.partition(".")[2] for key in keys]
    return [", ".join(_setting(key, config, names) for key in differ) for config in configs]


def _setting(key: str, config: dict[str, Any], names: list[str]) -> str:
    """Return `learning-rate 0.003`, with the section where the key alone would not be clear."""
    name = key.partition(".")[2]
    shown = key if names.count(name) > 1 or name in ("name", "path") else name
    value = format_value(config[key]) if key in config else UNSET
    return f"{shown.replace('_', '-')} {value}"


def _names(runs: list[RunLog]) -> str:
    more = f" and {len(runs) - 1} more" if len(runs) > 1 else ""
    return f"{runs[0].path.name}{more}"
