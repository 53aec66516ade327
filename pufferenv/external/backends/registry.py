"""The backends by name. A new one is a module that implements `base.Backend` and a line here."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pufferenv.external.backends.base import Backend

# A backend is imported when it is used, so that listing the names costs nothing.
BACKENDS = {
    "serial": "pufferenv.external.backends.serial:Serial",
    "threads": "pufferenv.external.backends.threads:Threads",
    "processes": "pufferenv.external.backends.processes:Processes",
}


def backend_class(name: str) -> type[Backend]:
    """Return the class of a backend. Raise ValueError for an unknown name."""
    if name not in BACKENDS:
        raise ValueError(f"backend={name!r}; it must be one of {', '.join(map(repr, BACKENDS))}")
    module, _, attribute = BACKENDS[name].partition(":")
    found: type[Backend] = getattr(importlib.import_module(module), attribute)
    return found
