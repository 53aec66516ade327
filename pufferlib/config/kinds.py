"""Kinds of task, and the settings that each trains with by default: the tables of kinds.toml.

A Task holds the facts that a kind is chosen by. A value in a table may name a rule of RULES, for a
setting that depends on the task. This file imports no torch.
"""

import functools
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from pufferlib.config import toml_file

FILE = "pufferlib/config/kinds.toml"
IMAGES = ("map", "screen", "pixels")  # observations whose kind is the same for every action
UNKNOWN_EPISODE = 50  # assumed steps of an episode if the env states no limit
# Why a task is of each kind, as the second line of a run says.
REASONS = {
    "numbers": "it observes numbers or choices and its actions are discrete",
    "grid": "it observes bytes",
    "continuous": "an action is continuous",
    "recurrent": "the network is recurrent",
    "map": "it observes a small image",
    "screen": "it observes an image",
    "pixels": "it is observed as pixels",
}


class Task(NamedTuple):
    """The facts about a task that its defaults depend on."""

    family: str  # "python" or "c", the language of the env
    observed: str  # "numbers", "map" or "screen"; in C "numbers", "grid" or "pixels"
    continuous: bool  # whether an action has an axis
    recurrent: bool  # whether the network is recurrent
    normalized: bool  # whether train.norm_obs would normalize a part of the observation
    limit: int | None  # steps after which an episode is truncated; None: unknown
    agents: int = 1  # agents of one env


class Kind(NamedTuple):
    """A kind of task."""

    name: str  # of its table in kinds.toml, such as `python.numbers`
    why: str  # why a task is of this kind: half a sentence
    settings: dict[str, dict[str, Any]]  # by section and key

    @property
    def source(self) -> str:
        """The name of its layer in errors."""
        return f"{FILE}: {self.name}"


def far_discount(task: Task) -> float:
    """Return a discount whose horizon is twice as long as an episode, between 0.95 and 0.999."""
    steps = min(max(task.limit or UNKNOWN_EPISODE, 10), 500)
    return round(1 - 0.5 / steps, 4)


def near_discount(task: Task) -> float:
    """Return a discount whose horizon is a tenth of an episode, between 0.9 and 0.99."""
    steps = min(max(task.limit or 1000, 100), 1000)
    return round(1 - 10 / steps, 4)


RULES: dict[str, Callable[[Task], Any]] = {
    "twice-the-limit": far_discount,
    "tenth-of-limit": near_discount,
    "by-observation": lambda task: task.normalized,
    "for-256-agents": lambda task: max(1, 256 // task.agents),
}


def choose(task: Task) -> Kind:
    """Return the kind of a task, with its rules applied.

    An image decides alone; of the others a recurrent network comes first, then a continuous action.
    """
    if task.observed in IMAGES:
        key = task.observed
    elif task.recurrent:
        key = "recurrent"
    else:
        key = "continuous" if task.continuous else task.observed
    settings: dict[str, dict[str, Any]] = {}
    for table in (tables()[task.family]["all"], tables()[task.family][key]):
        for section, values in table.items():
            applied = {name: _applied(value, task) for name, value in values.items()}
            settings.setdefault(section, {}).update(applied)
    return Kind(f"{task.family}.{key}", REASONS[key], settings)


@functools.cache
def tables() -> Mapping[str, Mapping[str, Mapping[str, Mapping[str, Any]]]]:
    """Return the content of kinds.toml: settings by family, kind, section and key."""
    return toml_file.read(Path(__file__).with_name("kinds.toml"))


def _applied(value: Any, task: Task) -> Any:
    rule = RULES.get(value) if isinstance(value, str) else None
    return rule(task) if rule else value
