"""Where the built modules of this installation are, and which package conflicts with it."""

from __future__ import annotations

import importlib.metadata
import os
from pathlib import Path

__version__ = "0.1.0"


def built_path(package: str) -> list[str]:
    """Return where `package` ("pufferenv.engine") looks for its extension module first.

    PUFFER_BUILD=debug or sanitize selects what `python build.py --debug` or `--sanitize` made.
    """
    kind = os.environ.get("PUFFER_BUILD")
    if not kind:
        return []
    return [str(Path(__file__).resolve().parents[1].joinpath("build", kind, *package.split(".")))]


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
