"""Vectorized environments whose games are C headers: `pufferenv.make("breakout", num_envs=4096)`.

Names load when they are used: building imports this package before there is an engine, and
`import pufferenv` costs next to nothing.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pufferenv import registration

if TYPE_CHECKING:
    from pufferenv import games
    from pufferenv._engine import Game
    from pufferenv.gym import PufferEnv, make_vec
    from pufferenv.rows import RowEnv
    from pufferenv.steps import BuildError
    from pufferenv.vector import PufferVectorEnv, make
    from pufferenv.wrapping import wrap

__version__ = "0.1.0"
__all__ = [
    "BuildError",
    "Game",
    "PufferEnv",
    "PufferVectorEnv",
    "RowEnv",
    "conflict",
    "games",
    "make",
    "make_vec",
    "wrap",
]

_HOME = {
    "BuildError": "steps",
    "Game": "_engine",
    "PufferEnv": "gym",
    "PufferVectorEnv": "vector",
    "RowEnv": "rows",
    "make": "vector",
    "make_vec": "gym",
    "wrap": "wrapping",
}


def built_path(package: str) -> list[str]:
    """Where a package looks for its extension module first.

    PUFFER_BUILD=debug or sanitize takes what `python build.py --debug` or `--sanitize` made.
    """
    kind = os.environ.get("PUFFER_BUILD")
    return [str(Path(__file__).resolve().parents[1] / "build" / kind / package)] if kind else []


__path__[:0] = built_path("pufferenv")


def __getattr__(name: str) -> Any:
    if name != "games" and name not in _HOME:
        raise AttributeError(f"module 'pufferenv' has no attribute {name!r}")
    try:
        module = importlib.import_module(f"pufferenv.{_HOME.get(name, name)}")
    except ModuleNotFoundError as error:
        if error.name != "pufferenv._engine":
            raise
        raise ImportError(
            "pufferenv's engine is not built for this Python: run `python build.py` in the "
            "folder of the checkout, or `pip install -e .`"
        ) from None
    return module if name == "games" else getattr(module, name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


def conflict() -> str | None:
    """Say what to do if PyPI's `pufferlib` is installed beside this; None if it is not."""
    try:
        other = importlib.metadata.version("pufferlib")
    except importlib.metadata.PackageNotFoundError:
        return None
    return (
        f"pufferlib {other} is installed beside pufferenv {__version__}. Both bring a package "
        "`pufferlib` and a command `puffer`, and whichever was installed last has replaced files "
        "of the other: run `pip uninstall pufferlib pufferenv`, then install pufferenv again"
    )


registration.install()
