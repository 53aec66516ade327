"""Paths of the repository, and of the files that tests use."""

from pathlib import Path

ROOT = Path(__file__).parents[2]
GAME_HEADERS = ROOT / "tests" / "game_headers"
KNOWN_POLICY = ROOT / "tests" / "support" / "known_policy.py"
