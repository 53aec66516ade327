"""docs/contact_sheet.py: the picture of all games is made by one command."""

from __future__ import annotations

import subprocess
import sys

import pytest

from pufferenv import games
from tests.support.paths import ROOT

SHEET = ROOT / "docs" / "contact_sheet.png"


def test_the_sheet_is_made_by_one_command_and_is_small(tmp_path):
    image = pytest.importorskip("PIL.Image", reason="needs pip install 'pufferenv[render]'")
    made = tmp_path / "sheet.png"
    command = [sys.executable, SHEET.with_suffix(".py"), "--output", made]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    with image.open(made) as new, image.open(SHEET) as kept:
        assert new.size == kept.size
        assert f"{new.width} x {new.height}" in done.stdout
        assert len(new.convert("RGB").getcolors(1 << 24)) > 50
    assert max(made.stat().st_size, SHEET.stat().st_size) <= 300_000


def test_the_sheet_has_a_scene_for_every_game():
    text = SHEET.with_suffix(".py").read_text()
    assert all(f'    "{name}": Scene(' in text for name in games.names())
