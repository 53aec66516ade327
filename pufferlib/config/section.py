"""Declaration and checking of options: an Option, and a Section, which is a table of them.

The tables themselves are in options.py. This file imports neither torch nor the engine.
"""

import dataclasses
import difflib
import math
from collections.abc import Mapping
from typing import Any, NamedTuple, TypeVar, cast

Value = bool | int | float | str
T = TypeVar("T", bound="Section")


class ConfigError(ValueError):
    """A setting is unknown or out of range; the message names the setting and the legal values."""


class Option(NamedTuple):
    """One option as its table declares it."""

    name: str
    doc: str
    type: type[bool] | type[int] | type[float] | type[str]
    default: Value
    min: float | None  # inclusive; None: no bound
    max: float | None  # inclusive; None: no bound
    choices: tuple[str, ...]  # empty: any value
    auto: bool = False  # whether `auto` is accepted for 0, for which the program chooses a value

    def check(self, value: object, prefix: str = "") -> Value:
        """Return `value` as the option's type. Raise TypeError or ValueError if it is illegal."""
        given = f"{prefix}{self.name}={value!r}"
        if self.auto and value == "auto":
            return 0
        if self.type is float and isinstance(value, int) and not isinstance(value, bool):
            value = float(value)
        if type(value) is not self.type:
            kind = type(value).__name__
            raise TypeError(f"{given} is {kind}, not {self.type.__name__}: {self.doc}")
        if self.choices and value not in self.choices:
            raise ValueError(f"{given} is none of {', '.join(self.choices)}: {self.doc}")
        if self.type in (int, float):
            number = cast(float, value)
            low = -math.inf if self.min is None else self.min
            high = math.inf if self.max is None else self.max
            if not low <= number <= high or math.isinf(number):
                bounds = f"[{low:g}, {high:g}" + ("]" if math.isfinite(high) else ")")
                raise ValueError(f"{given} is outside {bounds}: {self.doc}")
        return value


def option(
    default: Value,
    doc: str,
    *,
    min: float | None = None,
    max: float | None = None,
    choices: tuple[str, ...] = (),
    auto: bool = False,
) -> Any:
    """Declare one option as a field of a Section."""
    metadata = {"doc": doc, "min": min, "max": max, "choices": choices, "auto": auto}
    return dataclasses.field(default=default, metadata=metadata)


@dataclasses.dataclass(frozen=True)
class Section:
    """A table of options. Constructing one checks every value against its declaration."""

    def __post_init__(self) -> None:
        for item in self.options():
            value = item.check(getattr(self, item.name), f"{self.section()}.")
            object.__setattr__(self, item.name, value)

    @classmethod
    def section(cls) -> str:
        """Return the section's name in config files and flags: `train` for TrainOptions."""
        return cls.__name__.removesuffix("Options").lower()

    @classmethod
    def options(cls) -> tuple[Option, ...]:
        """Return all options in the order of their declaration."""
        return tuple(
            Option(f.name, type=cast(Any, f.type), default=cast(Any, f.default), **f.metadata)
            for f in dataclasses.fields(cls)
        )

    @classmethod
    def make(cls: type[T], values: Mapping[str, object]) -> T:
        """Return a section with `values` in place of the defaults.

        Raise ValueError for an unknown key, with the nearest known one.
        """
        known = [item.name for item in cls.options()]
        for key in values:
            if key not in known:
                near = nearest(key, known)
                raise ValueError(f"{cls.section()}.{key}: no such option; did you mean {near}?")
        return cls(**cast(Any, values))

    def asdict(self) -> dict[str, Value]:
        """Return all options by name, ready for JSON or TOML."""
        return dataclasses.asdict(self)


def nearest(name: str, names: list[str]) -> str:
    """Return the most similar of `names`; similarity after the dot weighs more.

    Initials count as a name: the nearest to `lr` is `learning_rate`, not `lr_final`.
    """
    last = name.rpartition(".")[2].lstrip("_")  # a flag without a section starts with hyphens

    def similarity(candidate: str) -> float:
        key = candidate.rpartition(".")[2]
        initials = "".join(word[:1] for word in key.split("_"))
        of_names = difflib.SequenceMatcher(None, name, candidate).ratio()
        of_keys = 1.0 if initials == last else difflib.SequenceMatcher(None, last, key).ratio()
        return of_names + of_keys

    return max(names, key=similarity)
