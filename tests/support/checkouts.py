"""Checkouts and headers that a test builds: Python run in a checkout, a changed `squared`."""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from pufferenv.toolchain import targets

SQUARED = targets.OCEAN / "squared.h"


def run(tree: Path, *args: str, **env: str) -> subprocess.CompletedProcess[str]:
    """Run Python in `tree`, with that tree's pufferenv."""
    full = {**os.environ, "PUFFER_CACHE": str(tree / "cache"), "PYTHONPATH": str(tree), **env}
    command = [sys.executable, *args]
    return subprocess.run(command, cwd=tree, env=full, capture_output=True, text=True, check=False)


def my_game(folder: Path, *changes: tuple[str, str], name: str = "my_game") -> Path:
    """A header outside the ocean package: squared, changed."""
    text = SQUARED.read_text().replace('PUF_NAME "squared"', f'PUF_NAME "{name}"')
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    folder.mkdir(parents=True, exist_ok=True)
    header = folder / f"{name}.h"
    header.write_text(text)
    return header


def exports_spec(path: Path) -> bool:
    """Return whether a shared object is a game."""
    return hasattr(ctypes.CDLL(str(path)), "puf_spec")


class _SpecStart(ctypes.Structure):
    """The first members of PufSpec (contract/spec.h)."""

    _fields_ = (
        ("sizes", ctypes.c_uint32 * 4),
        ("name", ctypes.c_char_p),
        ("doc", ctypes.c_char_p),
        ("source", ctypes.c_char_p),
    )


def source_of(path: Path) -> str:
    """Return the hash of its source that a game's object holds."""
    with tempfile.TemporaryDirectory() as folder:  # a loaded path is not loaded a second time
        copy = shutil.copy(path, Path(folder, "copy.so"))
        source: bytes = _SpecStart.in_dll(ctypes.CDLL(copy), "puf_spec").source
    return source.decode()
