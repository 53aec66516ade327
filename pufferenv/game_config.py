"""Checks of a caller's arguments: the game, its config, counts, seeds.

A config is checked against the table in the game's header. Every message names the game or the
argument, the given value, the legal values and their meaning.
"""

from __future__ import annotations

import difflib
import math
import numbers
import operator
from collections.abc import Mapping, Sequence
from os import PathLike
from typing import Any

import numpy as np
import numpy.typing as npt

from pufferenv import games, pixels
from pufferenv.engine._engine import Field, Game, mix_seed

MOST = 2**31 - 1  # envs, agents, rows, slots of a row: all are int32 in the engine


def loaded(game: str | PathLike[str] | Game, debug: bool = False) -> Game:
    """Return a loaded game for a name, a header's path, a wrapped env or a loaded game.

    debug: load the debug object. Raise ValueError if `game` is a loaded release object.
    """
    played: Any = getattr(game, "game", None)
    if isinstance(played, Game) and not played.config_fields:
        game = played  # a vector env, whose game has no config fields
    if not isinstance(game, Game):
        return games.load(game, debug=debug)
    if debug and not game.debug:
        raise ValueError(f"debug=True, but {game.path} is not a debug object: give the game's name")
    return game


def merged(config: Mapping[str, Any] | None, fields: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the fields of the mapping and those given as arguments as one mapping.

    Raises TypeError for a config that is not a mapping, ValueError for a field given in both.
    """
    if config is None:
        return fields
    if not isinstance(config, Mapping):
        raise TypeError(
            f"config={config!r} is {_article(config)}; it must be a mapping of the game's fields "
            f"to numbers. A field named config is given as config={{'config': ...}}"
        )
    for key in config:
        if key in fields:
            raise ValueError(f"{key} is given both in config and as an argument: give it once")
    return {**config, **fields}


def resolve(game: Game, given: Mapping[str, Any]) -> dict[str, int | float]:
    """Return the complete config: `given`, checked and typed, and the header's other defaults.

    Numpy scalars count as numbers and whole floats (`11.0`) as integers; bools do not. Raises
    TypeError for a value that is not a number, and ValueError for an unknown key, a fraction if
    an integer is needed, NaN, or a value outside the field's range.
    """
    fields = {field.name: field for field in game.config_fields}
    for key in given:
        if key not in fields:
            known = [*fields, *(field.name for field in pixels.fields(game))]
            raise ValueError(_unknown(game.name, str(key), known))
    return {
        name: _checked(game.name, field, given[name]) if name in given else field.default
        for name, field in fields.items()
    }


def _unknown(game: str, key: str, names: list[str]) -> str:
    near = difflib.get_close_matches(key, names, n=1, cutoff=0.5)
    hint = f"did you mean {near[0]!r}?" if near else "no known key is like it."
    known = f"Keys: {', '.join(names)}" if names else "The game has no config"
    return f"{game} has no config key {key!r}; {hint} {known}"


def _checked(game: str, field: Field, given: Any) -> int | float:
    whole = field.dtype.kind in "iu"
    kind = "an integer" if whole else "a number"
    legal = f"{kind} in [{_plain(field.min)}, {_plain(field.max)}]: {field.doc}"
    prefix = f"{game}: {field.name}={_plain(given)}"
    if isinstance(given, (bool, np.bool_)) or not isinstance(given, numbers.Real):
        raise TypeError(f"{prefix} is {_article(given)}; it must be {legal}")
    # The float32 0.1 is read as 0.1, so that a saved config shows 0.1.
    value: Any = float(str(given)) if isinstance(given, np.floating) else given
    if math.isnan(value):
        raise ValueError(f"{prefix} is not a number; it must be {legal}")
    if not field.min <= value <= field.max:
        raise ValueError(
            f"{prefix} is outside [{_plain(field.min)}, {_plain(field.max)}]: {field.doc}"
        )
    if whole and value != int(value):
        raise ValueError(f"{prefix} has a fraction; it must be {legal}")
    return int(value) if whole else float(value)


def _plain(value: Any) -> str:
    """Return a number in its usual form: 64 and 0.5, not 64.0 and np.float32(0.5)."""
    if isinstance(value, (float, np.floating)):
        return format(value, "g") if float(format(value, "g")) == value else str(value)
    return str(value) if isinstance(value, np.generic) else repr(value)


def _article(value: Any) -> str:
    name = type(value).__name__
    return f"{'an' if name[0] in 'aeiou' else 'a'} {name}"


def count(name: str, given: Any, what: str) -> int:
    """Return `given` as an int in [1, 2**31); errors contain the argument's `name` and `what`."""
    value = _integer(given, f"{name}={given!r} must be an integer in [1, {MOST}]: {what}")
    if not 1 <= value <= MOST:
        raise ValueError(f"{name}={value} is outside [1, {MOST}]: {what}")
    return value


def _integer(given: Any, message: str) -> int:
    """Return `given` as an int; raise TypeError with `message` for a bool or no integer."""
    try:
        if isinstance(given, (bool, np.bool_)):
            raise TypeError
        return operator.index(given)
    except TypeError:
        raise TypeError(message) from None


def env_seeds(seed: int | Sequence[int], num_envs: int) -> npt.NDArray[np.uint64]:
    """Return one seed per env, (num_envs,), mixed from one int or from one int per env.

    With a single int, env i has the same seed for every num_envs. Seeds are in [0, 2**64).
    """
    if isinstance(seed, (Sequence, np.ndarray)) and not isinstance(seed, (str, bytes)):
        if len(seed) != num_envs:
            raise ValueError(f"seed has {len(seed)} entries; it must have one per env: {num_envs}")
        mixed = [mix_seed(_seed(f"seed[{i}]", one), 1) for i, one in enumerate(seed)]
        return np.concatenate(mixed)
    return mix_seed(_seed("seed", seed), num_envs)


def _seed(name: str, given: Any) -> int:
    value = _integer(given, f"{name}={given!r} must be an integer in [0, 2**64)")
    if not 0 <= value < 2**64:
        raise ValueError(f"{name}={value} is outside [0, 2**64)")
    return value
