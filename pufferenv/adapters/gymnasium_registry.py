"""Registers the games in Gymnasium's registry, as `puffer/breakout-v0` and so on.

Gymnasium has no plugins since 1.0, so an id exists only after its package has been imported; the id
itself can ask for that import (`pufferenv:puffer/breakout-v0`). `import pufferenv` does not import
Gymnasium; the ids are registered as soon as both are imported, in either order. Registering imports
neither games nor numpy.
"""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Sequence
from importlib.machinery import ModuleSpec
from types import ModuleType

REGISTRY = "gymnasium.envs.registration"


def register() -> None:
    """Register every game of the ocean package, for `make` and `make_vec`."""
    from gymnasium.envs.registration import register, registry

    from pufferenv import games

    for name in games.names():
        if f"puffer/{name}-v0" not in registry:
            register(
                f"puffer/{name}-v0",
                entry_point="pufferenv:PufferEnv",
                vector_entry_point="pufferenv:make_vec",
                kwargs={"game": name},
            )


class _GymnasiumImportHook:
    """An import finder that calls `register` after Gymnasium's registry has been imported."""

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if name != REGISTRY:
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(name)
        if spec is not None and spec.loader is not None:
            load = spec.loader.exec_module

            def exec_module(module: ModuleType) -> None:
                load(module)
                register()

            spec.loader.exec_module = exec_module  # type: ignore[method-assign]
        return spec


def install() -> None:
    """Register the games now if Gymnasium is imported, else as soon as it is."""
    if REGISTRY in sys.modules:
        register()
    else:
        sys.meta_path.insert(0, _GymnasiumImportHook())
