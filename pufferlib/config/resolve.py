"""What a run is made of: a game, its config and the options, from four layers, each over the last.

    option default  <  the game's toml  <  --config FILE  <  flags

Every layer is `{section: {key: value}}` with the sections `env`, `vec`, `train`, `policy`. Each is
checked against the same table, so that flags, files and `--help` cannot disagree. No torch here.
"""

import json
import math
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pufferlib.config.options import (
    SECTIONS,
    Option,
    PolicyOptions,
    TrainOptions,
    Value,
    VecOptions,
    nearest,
)

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

if TYPE_CHECKING:
    from pufferenv.engine._engine import Game

EXTERNAL = (
    "gym",
    "ale",
    "pettingzoo",
)  # names of external envs begin with one of these and a colon
Tables = dict[str, dict[str, Option]]  # all options by section and key
TRUE, FALSE = ("true", "yes", "on", "1"), ("false", "no", "off", "0")


class ConfigError(ValueError):
    """A setting that is unknown or out of range; the message says which, and what is legal."""


@dataclass(frozen=True)
class Layer:
    """Settings from one place; `source` names it in errors: a file, or `--` for flags."""

    source: str
    values: Mapping[str, Mapping[str, object]]


@dataclass(frozen=True)
class Config:
    """Everything that a run depends on. `game` is a name or the absolute path of a header.

    `env` is the game's config; of an external env (`gym:CartPole-v1`) what it is made with.
    """

    game: str
    env: dict[str, Any]
    vec: VecOptions
    train: TrainOptions
    policy: PolicyOptions

    @property
    def fields(self) -> dict[str, Any]:
        """What the engine is given for the game's header; an external env has none."""
        return {} if is_external(self.game) else self.env

    def asdict(self) -> dict[str, Any]:
        """As a config file holds it."""
        options = {s.section(): s.asdict() for s in (self.vec, self.train, self.policy)}
        return {"game": self.game, "env": dict(self.env), **options}


def is_external(spec: str) -> bool:
    """Whether this names an external env, as `gym:LunarLander-v3`; named.py reads it."""
    kind, colon, name = spec.partition(":")
    return bool(colon and name) and kind in EXTERNAL


def tables(game: "Game | None" = None) -> Tables:
    """Return every option there is: the game's own as `env`, then those of all games."""
    found: Tables = {"env": {}} if game else {}
    for field in game.config_fields if game else ():
        kind: Any = float if field.dtype.kind == "f" else int
        found["env"][field.name] = Option(
            field.name, field.doc, kind, kind(field.default), field.min, field.max, ()
        )
    for section, options in SECTIONS.items():
        found[section] = {option.name: option for option in options.options()}
    return found


def resolve(spec: str, game: "Game", layers: list[Layer]) -> Config:
    """Merge the layers over the defaults. Raise ConfigError for what is unknown or illegal."""
    known = tables(game)
    values = defaults(known, layers)
    return Config(
        spec,
        values["env"],
        VecOptions(**values["vec"]),
        TrainOptions(**values["train"]),
        PolicyOptions(**values["policy"]),
    )


def defaults(known: Tables, layers: list[Layer]) -> dict[str, dict[str, Any]]:
    """Return the value of every known option after these layers, checked."""
    values: dict[str, dict[str, Any]] = {
        section: {key: option.default for key, option in options.items()}
        for section, options in known.items()
    }
    for layer in layers:
        for section, given in layer.values.items():
            if section not in known or not isinstance(given, Mapping):
                raise unknown(layer.source, section, known, is_section=True)
            for key, value in given.items():
                if key not in known[section]:
                    raise unknown(layer.source, f"{section}.{key}", known)
                values[section][key] = _checked(layer.source, section, known[section][key], value)
    return values


def read(path: str | Path) -> dict[str, Any]:
    """Return a config file's content: `game` and the sections. Raise ConfigError for no TOML."""
    try:
        with open(path, "rb") as file:
            content: dict[str, Any] = tomllib.load(file)
            return content
    except OSError as error:
        raise ConfigError(f"config file {path} cannot be read: {error.strerror}") from None
    except ValueError as error:  # bad TOML, or not UTF-8
        raise ConfigError(f"config file {path} is not TOML: {error}") from None


def emit(config: Mapping[str, Any]) -> str:
    """Write a config as TOML: plain values first, then one table per section."""
    lines = [f"{key} = {_toml(v)}" for key, v in config.items() if not isinstance(v, Mapping)]
    for section, values in config.items():
        if isinstance(values, Mapping):
            lines += ["", f"[{section}]", *(f"{key} = {_toml(v)}" for key, v in values.items())]
    return "\n".join(lines) + "\n"


def parse(option: Option, text: str, prefix: str = "") -> Value:
    """Read a flag's text as the option's type, checked. Raise ConfigError for what is illegal."""
    word = text.strip().lower()
    value: Value = text
    try:
        if option.auto and word == "auto":
            value = 0
        elif option.type is bool:
            if word not in TRUE + FALSE:
                raise ValueError
            value = word in TRUE
        elif option.type is int:
            value = _whole(word)
        elif option.type is float:
            value = float(word)
    except (ValueError, OverflowError):
        kind = {bool: "true or false", int: "a whole number", float: "a number"}[option.type]
        what = f"{prefix}{option.name}={text}"
        raise ConfigError(f"{what} is not {kind}: {option.doc}") from None
    try:
        return option.check(value, prefix)
    except ValueError as error:
        raise ConfigError(str(error)) from None


def flag(section: str, key: str) -> str:
    """Spell an option as a flag: `--train.learning-rate`."""
    return f"--{section}.{key}".replace("_", "-")


def legal(option: Option) -> str:
    """Say in a few characters what values an option takes."""
    if option.choices:
        return "|".join(option.choices)
    if option.type is bool:
        return "true|false"
    if option.type is str or (option.min is None and option.max is None):
        return option.type.__name__
    low = "" if option.min is None else f"{short(option.min)} "
    if option.auto:
        low = "auto, 1 "
    high = "" if option.max is None else f" {short(option.max)}"
    return f"{low}..{high}"


def short(value: Value | float) -> str:
    """Write a value as a person would: 1024, 0.5, 2^24."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return value or '""'
    if abs(value) >= 2**16 and value == int(value):
        number = int(value)
        for less in (0, 1):
            power = (number + less).bit_length() - 1
            if number + less == 2**power:
                return f"2^{power}" + ("-1" if less else "")
    return f"{value:,d}".replace(",", "_") if isinstance(value, int) else f"{value:g}"


def unknown(source: str, name: str, known: Tables, is_section: bool = False) -> ConfigError:
    """Make the error for a key or section that does not exist, with the nearest that does."""
    names = [f"{section}.{key}" for section, keys in known.items() for key in keys]
    if is_section:
        names = list(known) + names  # `learning_rate = 1` outside its section
    near = nearest(name, names)
    if source == "--":
        return ConfigError(
            f"--{name.replace('_', '-')}: no such flag; nearest: --{near.replace('_', '-')}"
        )
    what = "no such section or key" if is_section else "no such key"
    return ConfigError(f"{source}: {name}: {what}; nearest: {near}")


def _checked(source: str, section: str, option: Option, value: object) -> Value:
    prefix = f"--{section}." if source == "--" else f"{source}: {section}."
    if source == "--" and isinstance(value, str):
        return parse(option, value, prefix)
    if option.type is int and isinstance(value, float) and value.is_integer():
        value = int(value)  # a file's 1e7
    try:
        return option.check(value, prefix)
    except (TypeError, ValueError) as error:
        raise ConfigError(str(error)) from None


def _whole(text: str) -> int:
    """Read 30000000, 30_000_000 or 3e7."""
    try:
        return int(text)
    except ValueError:
        number = float(text)
        if not number.is_integer():
            raise
        return int(number)


def _toml(value: Value) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)  # inf, -inf, nan: as TOML spells them
    return repr(value)
