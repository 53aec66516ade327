"""Vectorized environments whose games are C headers: `pufferenv.make("breakout", num_envs=4096)`.

Names are imported when they are first used, because the build imports this package before the
engine exists, and so that `import pufferenv` is quick.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from pufferenv._installation import __version__, conflict
from pufferenv.adapters import gymnasium_registry

if TYPE_CHECKING:
    from pufferenv import games
    from pufferenv.adapters.gymnasium import PufferEnv, make_vec
    from pufferenv.engine._engine import Game
    from pufferenv.external.wrap import wrap
    from pufferenv.row_env import RowEnv
    from pufferenv.toolchain.incremental import BuildError
    from pufferenv.vector_env import PufferVectorEnv, make

__all__ = [
    "BuildError",
    "Game",
    "PufferEnv",
    "PufferVectorEnv",
    "RowEnv",
    "__version__",
    "conflict",
    "games",
    "make",
    "make_vec",
    "wrap",
]

_HOME = {
    "BuildError": "toolchain.incremental",
    "Game": "engine._engine",
    "PufferEnv": "adapters.gymnasium",
    "PufferVectorEnv": "vector_env",
    "RowEnv": "row_env",
    "make": "vector_env",
    "make_vec": "adapters.gymnasium",
    "wrap": "external.wrap",
}


def __getattr__(name: str) -> Any:
    if name != "games" and name not in _HOME:
        raise AttributeError(f"module 'pufferenv' has no attribute {name!r}")
    module = importlib.import_module(f"pufferenv.{_HOME.get(name, name)}")
    return module if name == "games" else getattr(module, name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


gymnasium_registry.install()
