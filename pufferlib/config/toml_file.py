"""Config files: TOML with plain values first, then one table per section."""

import json
import math
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pufferlib.config.section import ConfigError, Value

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib


def read(path: str | Path) -> dict[str, Any]:
    """Return the content of a config file: `game` and the sections.

    Raise ConfigError for a file that is missing, unreadable or not TOML.
    """
    try:
        with open(path, "rb") as file:
            content: dict[str, Any] = tomllib.load(file)
            return content
    except OSError as error:
        raise ConfigError(f"config file {path} cannot be read: {error.strerror}") from None
    except ValueError as error:  # invalid TOML or not UTF-8
        raise ConfigError(f"config file {path} is not TOML: {error}") from None


def to_text(config: Mapping[str, Any]) -> str:
    """Return a config as the text of a config file."""
    lines = [f"{key} = {_toml(v)}" for key, v in config.items() if not isinstance(v, Mapping)]
    for section, values in config.items():
        if isinstance(values, Mapping):
            lines += ["", f"[{section}]", *(f"{key} = {_toml(v)}" for key, v in values.items())]
    return "\n".join(lines) + "\n"


def _toml(value: Value) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)  # inf, -inf and nan, as TOML spells them
    return repr(value)
