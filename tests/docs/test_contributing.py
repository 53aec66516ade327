"""Apply the worked examples of CONTRIBUTING.md to a copy of the checkout, then run them.

A code block below a line that names a file, such as "`ocean/corridor.h`:", is the content of that
file or, if it is a diff, a change to it. Blocks of sh and of Python without a file are run in the
copy. Built files are copied too, so that only files that an example changes are compiled.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.support.paths import ROOT

DOCUMENT = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
BLOCK = re.compile(r"(?:^`([\w./]+)`:\n\n)?^```(\w+)\n(.*?)^```", re.MULTILINE | re.DOTALL)
MOST_FILES = {"game": 2, "kernel": 3, "policy": 2, "logger": 1}
LEFT_OUT = (".git", ".*_cache", ".hypothesis", "__pycache__", "test-cache", "runs", "*.egg-info")


class Block(NamedTuple):
    """One fenced block: the file that it is or changes, or "", its language and its text."""

    file: str
    language: str
    text: str


def example(name: str) -> list[Block]:
    """Return the blocks of the section "Add a NAME"."""
    section = re.search(rf"^## Add a {name}\n(.*?)^## ", DOCUMENT, re.MULTILINE | re.DOTALL)
    assert section, f"CONTRIBUTING.md has no section 'Add a {name}'"
    return [Block(*found) for found in BLOCK.findall(section[1])]


def apply(block: Block, checkout: Path) -> None:
    """Write a new file, or make the changes that a diff shows; `@@` separates them."""
    file = checkout / block.file
    if block.language != "diff":
        assert not file.exists(), f"{block.file} exists already"
        file.write_text(block.text, encoding="utf-8")
        return
    text = file.read_text(encoding="utf-8")
    for hunk in re.split(r"^@@\n", block.text, flags=re.MULTILINE):
        lines = hunk.splitlines(keepends=True)
        assert all(line[0] in " +-" for line in lines), hunk
        old = "".join(line[1:] for line in lines if line[0] != "+")
        new = "".join(line[1:] for line in lines if line[0] != "-")
        assert text.count(old) == 1, f"{block.file} has {text.count(old)} times:\n{old}"
        text = text.replace(old, new)
    file.write_text(text, encoding="utf-8")


def run(checkout: Path, *command: str) -> None:
    """Run a command as a contributor would, with the Python of the tests."""
    environment = os.environ | {"PYTHONPATH": str(checkout), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        command, cwd=checkout, env=environment, capture_output=True, text=True, timeout=240
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Copy the checkout and its built files, and apply all examples."""
    copy = tmp_path_factory.mktemp("contributing") / "checkout"
    shutil.copytree(ROOT, copy, ignore=shutil.ignore_patterns(*LEFT_OUT))
    for stamp in (copy / "build" / "stamps").glob("*.json"):
        stamp.write_text(stamp.read_text().replace(str(ROOT), str(copy)))
    for name in MOST_FILES:
        for block in example(name):
            if block.file:
                apply(block, copy)
    return copy


@pytest.mark.parametrize("name", MOST_FILES)
def test_an_example_touches_no_more_files_than_promised(name: str) -> None:
    files = {block.file for block in example(name) if block.file}
    assert 0 < len(files) <= MOST_FILES[name]


@pytest.mark.parametrize("name", MOST_FILES)
def test_an_example_is_built_and_runs_as_written(name: str, checkout: Path) -> None:
    programs = {"python": [sys.executable], "puffer": [sys.executable, "-m", "pufferlib"]}
    for block in example(name):
        if block.language == "sh":
            for line in block.text.splitlines():
                program, *words = shlex.split(line)
                run(checkout, *programs[program], *words)
        elif block.language == "python" and not block.file:
            run(checkout, sys.executable, "-c", block.text)


def test_the_policy_of_the_example_trains_two_updates(checkout: Path) -> None:
    lines = (checkout / "runs" / "squared" / "residual" / "metrics.jsonl").read_text().splitlines()
    assert json.loads(lines[-1])["updates"] == 2
