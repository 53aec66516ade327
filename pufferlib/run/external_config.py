"""The config of a run with an external env, and the arguments that its envs are made with.

This file imports no torch.
"""

import dataclasses
import difflib
from collections.abc import Iterable
from typing import Any

from pufferenv import pixels
from pufferenv.cores import usable_cores
from pufferenv.external.game import ExternalGame
from pufferlib.config.flags import FALSE, TRUE, flag_name
from pufferlib.config.resolve import FLAGS, Config, Layer
from pufferlib.config.section import ConfigError
from pufferlib.run import defaults
from pufferlib.run.external_envs import load, parameters


def configure(
    name: str, layers: list[Layer], *, of_run: bool = False
) -> tuple[Config, ExternalGame]:
    """Merge the layers over the env's defaults; return the config and the env's game.

    `of_run` is that of `defaults.configure`.

    Raise ConfigError for an unknown or illegal setting, TypeError for a space that is not
    supported.
    """
    kwargs = read_kwargs(name, layers)
    game = load(name, kwargs)
    others = [
        Layer(layer.source, {k: v for k, v in layer.values.items() if k != "env"})
        for layer in layers
    ]
    config = defaults.configure(name, game, [], others, of_run=of_run)
    config = dataclasses.replace(config, env=kwargs)
    if config.vec.debug:
        raise ConfigError("vec.debug is for games written in C; a Python env raises its own errors")
    backend = config.vec.backend
    if backend == "auto":
        backend = "processes" if usable_cores() > 1 else "serial"
        config = dataclasses.replace(config, vec=dataclasses.replace(config.vec, backend=backend))
    if backend != "serial":
        vec = config.vec
        game = load(name, kwargs, backend, vec.num_threads or None, vec.timeout or None)
    return config, game


def read_kwargs(name: str, layers: list[Layer]) -> dict[str, Any]:
    """Merge the `env` sections of the layers into the arguments for creating the env.

    Raise ConfigError for an unknown argument or one of the wrong type.
    """
    known, accepts_others = parameters(name)
    kwargs: dict[str, Any] = {}
    for layer in layers:
        is_flag = layer.source == FLAGS
        for key, value in layer.values.get("env", {}).items():
            shown = flag_name("env", key) if is_flag else f"{layer.source}: env.{key}"
            if key in pixels.NAMES and key not in known and not accepts_others:
                raise ConfigError(f"{shown}: {pixels.not_of_python(name)}")
            if key not in known and not accepts_others:
                raise ConfigError(
                    f"{shown}: {name} has no such argument{_hint(key, known, is_flag)}"
                )
            value = _literal(value) if is_flag and isinstance(value, str) else value
            default = known.get(key)
            if default is not None and not _is_like(value, default):
                raise ConfigError(f"{shown}={value!r} must be {type(default).__name__}: {name}")
            kwargs[key] = value
    return kwargs


def _hint(key: str, known: Iterable[str], is_flag: bool) -> str:
    """Return the end of a message that suggests the known argument most like `key`."""
    near = difflib.get_close_matches(key, list(known), 1, 0.0)
    if not near:
        return ""
    return f"; did you mean {flag_name('env', near[0]) if is_flag else near[0]}?"


def _is_like(value: object, default: object) -> bool:
    """Return whether both are bools, numbers or text; any other default accepts every value."""
    for kind in (bool, (int, float), str):
        if isinstance(default, kind):
            return isinstance(value, kind) and (kind is bool or not isinstance(value, bool))
    return True


def _literal(text: str) -> Any:
    """Parse the text of a flag as a bool, a number, or text."""
    word = text.strip().lower()
    if word in TRUE[:3] + FALSE[:3]:  # 1 and 0 are numbers here
        return word in TRUE
    for kind in (int, float):
        try:
            return kind(word)
        except ValueError:
            pass
    return text
