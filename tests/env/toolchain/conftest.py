"""Fixtures of the tests of the build: an empty cache, and a checkout with one game."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from pufferenv.toolchain import targets


@pytest.fixture(autouse=True)
def native_build(monkeypatch: pytest.MonkeyPatch) -> None:
    """Test the default build, even if the whole suite runs with PUFFER_ISA or PUFFER_BUILD set."""
    monkeypatch.delenv("PUFFER_ISA", raising=False)
    monkeypatch.delenv("PUFFER_BUILD", raising=False)


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache for games from outside."""
    folder = tmp_path / "cache"
    monkeypatch.setenv("PUFFER_CACHE", str(folder))
    return folder


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A checkout with the game `squared` alone, in which nothing is built."""
    tree = tmp_path / "a checkout"
    kept = shutil.ignore_patterns("*.so", "__pycache__")
    shutil.copytree(targets.ROOT / "pufferenv", tree / "pufferenv", ignore=kept)
    (tree / "ocean").mkdir()
    for name in ("build.py", "ocean/__init__.py", "ocean/squared.h"):
        shutil.copy(targets.ROOT / name, tree / name)
    return tree
