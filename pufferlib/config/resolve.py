"""The config of a run, resolved from five layers, each of which overrides the one before it.

    the options' defaults < the kind's of the task < the game's TOML file < --config FILE < flags

run/defaults.py chooses the second. Every layer is `{section: {key: value}}` with the sections
`env`, `vec`, `train` and `policy`. All are checked against the same tables, so flags, files and
`--help` cannot disagree. This file imports no torch.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from pufferlib.config.flags import flag_name, parse
from pufferlib.config.options import SECTIONS, PolicyOptions, TrainOptions, VecOptions
from pufferlib.config.section import ConfigError, Option, Value, nearest

if TYPE_CHECKING:
    from pufferenv.engine._engine import Game

EXTERNAL = ("gym", "ale", "pettingzoo")  # an external env's name is one of these, a colon, an id
FLAGS = "--"  # the source of the layer that holds the command line's flags
Tables = dict[str, dict[str, Option]]  # all options by section and key


@dataclass(frozen=True)
class Layer:
    """Settings from one source, a file's name or FLAGS, which errors name."""

    source: str
    values: Mapping[str, Mapping[str, object]]


@dataclass(frozen=True)
class Config:
    """Everything that a run depends on.

    `game` is a name, the absolute path of a header, or an external env such as `gym:CartPole-v1`.
    `env` is the game's config, or the arguments for creating an external env. `sources` names the
    layers whose settings it has, the lowest first; it is not part of a config file.
    """

    game: str
    env: dict[str, Any]
    vec: VecOptions
    train: TrainOptions
    policy: PolicyOptions
    sources: tuple[str, ...] = field(default=(), compare=False)

    @property
    def fields(self) -> dict[str, Any]:
        """Return the config fields of the game's header, {} for an external env."""
        return {} if is_external(self.game) else self.env

    def asdict(self) -> dict[str, Any]:
        """Return the content of a config file."""
        options = {s.section(): s.asdict() for s in (self.vec, self.train, self.policy)}
        return {"game": self.game, "env": dict(self.env), **options}


def is_external(name: str) -> bool:
    """Return whether this names an external env, such as `gym:LunarLander-v3`."""
    kind, colon, env_id = name.partition(":")
    return bool(colon and env_id) and kind in EXTERNAL


def option_tables(game: "Game | None" = None) -> Tables:
    """Return all options: first the game's own as `env`, then those of every game.

    A game that draws also has the options of its pixels (pufferenv/pixels.py) in `env`.
    """
    tables: Tables = {"env": {}} if game else {}
    if game:
        from pufferenv import pixels

        for field in (*game.config_fields, *pixels.fields(game)):
            kind: Any = float if field.dtype.kind == "f" else int
            tables["env"][field.name] = Option(
                field.name, field.doc, kind, kind(field.default), field.min, field.max, ()
            )
    for section, options in SECTIONS.items():
        tables[section] = {option.name: option for option in options.options()}
    return tables


def resolve(name: str, game: "Game", layers: list[Layer]) -> Config:
    """Merge the layers over the defaults. Raise ConfigError for an unknown or illegal setting.

    The config of a game that draws has its pixels only if they are on. Raise NotDrawn for pixels of
    a game that does not draw.
    """
    tables = option_tables(game)
    for layer in layers:
        _require_drawing(game, tables["env"], layer)
    values = merge(tables, layers)
    return Config(
        name,
        _without_pixels_that_are_off(game, values["env"], layers),
        VecOptions(**values["vec"]),
        TrainOptions(**values["train"]),
        PolicyOptions(**values["policy"]),
    )


def _require_drawing(game: "Game", options: Mapping[str, Option], layer: Layer) -> None:
    """Raise the error of pufferenv/pixels.py for pixels of a game that cannot have them."""
    from pufferenv import pixels

    given = layer.values.get("env")
    if isinstance(given, Mapping):
        names = [name for name in pixels.NAMES if name in given and name not in options]
        pixels.select(game, {name: given[name] for name in names})


def _without_pixels_that_are_off(
    game: "Game", env: dict[str, Any], layers: list[Layer]
) -> dict[str, Any]:
    """Return the game's config without the fields of its pixels, unless these are on.

    A layer that sets `pixels` to 0 turns off what the layers before it set. Raise ConfigError for
    another field of the pixels in that layer or in a later one, and for an illegal value.
    """
    from pufferenv import pixels

    names = [field.name for field in pixels.fields(game)]
    if not names:
        return env
    if env[pixels.PIXELS]:
        if env["pixel_channels"] == 2:
            raise ConfigError(
                f"{flag_name('env', 'pixel_channels')} 2 must be 1 for grey or 3 for RGB"
            )
        return env
    given: list[str] = []
    for layer in layers:
        of_layer = layer.values.get("env", {})
        given = [] if pixels.PIXELS in of_layer else given
        given += [name for name in names if name in of_layer and name != pixels.PIXELS]
    if given:
        raise ConfigError(
            f"{flag_name('env', given[0])} is for pixels, which are off: give "
            f"{flag_name('env', pixels.PIXELS)} 84 as well, the side of the observed picture"
        )
    return {name: value for name, value in env.items() if name not in names}


def merge(tables: Tables, layers: list[Layer]) -> dict[str, dict[str, Any]]:
    """Return the checked value of every option in `tables`, by section and key."""
    values: dict[str, dict[str, Any]] = {
        section: {key: option.default for key, option in options.items()}
        for section, options in tables.items()
    }
    for layer in layers:
        for section, given in layer.values.items():
            if section not in tables or not isinstance(given, Mapping):
                raise _unknown_section(layer.source, section, given, tables)
            for key, value in given.items():
                if key not in tables[section]:
                    raise _unknown_key(layer.source, f"{section}.{key}", _all_keys(tables))
                option = tables[section][key]
                values[section][key] = _checked(layer.source, section, option, value)
    return values


def _checked(source: str, section: str, option: Option, value: object) -> Value:
    prefix = f"--{section}." if source == FLAGS else f"{source}: {section}."
    if source == FLAGS and isinstance(value, str):
        return parse(option, value, prefix)
    if option.type is int and isinstance(value, float) and value.is_integer():
        value = int(value)  # a file may contain 1e7
    try:
        return option.check(value, prefix)
    except (TypeError, ValueError) as error:
        raise ConfigError(str(error)) from None


def _unknown_key(source: str, name: str, known: list[str]) -> ConfigError:
    near = nearest(name, known)
    if source == FLAGS:
        flag, near = name.replace("_", "-"), near.replace("_", "-")
        return ConfigError(f"--{flag}: no such flag; did you mean --{near}?")
    return ConfigError(f"{source}: {name}: no such key; did you mean {near}?")


def _unknown_section(source: str, name: str, given: object, tables: Tables) -> ConfigError:
    if source == FLAGS and isinstance(given, Mapping):
        return _unknown_key(source, f"{name}.{next(iter(given))}", _all_keys(tables))
    if name in tables:
        return ConfigError(f"{source}: {name}={given!r} must be a table of options: [{name}]")
    # The name may also be a key outside its section, such as `learning_rate = 1`.
    near = nearest(name, [*tables, *_all_keys(tables)])
    return ConfigError(f"{source}: {name}: no such section or key; did you mean {near}?")


def _all_keys(tables: Tables) -> list[str]:
    return [f"{section}.{key}" for section, keys in tables.items() for key in keys]
