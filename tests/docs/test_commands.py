"""The commands of README's "See it" and of docs/drawing.md run as they are written.

They run in a folder with short runs, without a display; they play four episodes if they do not say
how many, and train for a moment. Commands that need a person or a terminal are left out;
tests/lib/cli has those.
"""

from __future__ import annotations

import re
import shlex
import shutil
from pathlib import Path

import pytest

from pufferlib.cli.main import main
from tests.docs.test_readme import README, blocks
from tests.support.command import TINY
from tests.support.paths import ROOT

DRAWING = (ROOT / "docs" / "drawing.md").read_text(encoding="utf-8")
SEE_IT = re.search(r"^## See it\n(.*?)^## ", README, re.M | re.S)
PICTURE = ROOT / "docs" / "breakout.gif"  # README's
INTERACTIVE = ("--render human", "--render terminal", "puffer play")
NEEDS = {"av": "render", "PIL": "render", "matplotlib": "plot"}
SUFFIXES = (".gif", ".mp4", ".webp", ".png", ".svg", ".replay")
BRIEF = [
    "--vec.num-envs=16",
    "--train.total-timesteps=2048",
    "--train.eval-episodes=4",
    "--train.precision=float32",
]
SHORT = [*TINY, "--train.total-timesteps", "8000"]  # episodes end, so that there are scores


def commands() -> list[str]:
    assert SEE_IT
    texts = blocks("sh", SEE_IT[1]) + blocks("sh", DRAWING)
    lines = [line.partition("  #")[0].strip() for text in texts for line in text.splitlines()]
    found = dict.fromkeys(line for line in lines if line.startswith("puffer "))
    return [line for line in found if not any(word in line for word in INTERACTIVE)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make a folder with two runs of breakout, RUN being the newest, and one of squared."""
    for module, extra in NEEDS.items():
        pytest.importorskip(module, reason=f"pip install 'pufferenv[{extra}]'")
    path = tmp_path_factory.mktemp("see it")
    (path / "docs").mkdir()
    shutil.copy(PICTURE.with_suffix(".replay"), path / "docs")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(path)
        for game, name in (("breakout", "first"), ("breakout", "RUN"), ("squared", "other")):
            seed = str(len(name))
            assert main(["train", game, "--name", name, "--train.seed", seed, *SHORT]) == 0
    return path


def test_there_are_commands_of_every_kind() -> None:
    assert {line.split()[1] for line in commands()} >= {"eval", "plot", "replay", "train"}


@pytest.mark.parametrize("line", commands())
def test_a_command_runs_as_written_and_writes_what_it_says(
    line: str, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(folder)
    for name in ("DISPLAY", "WAYLAND_DISPLAY", "SDL_VIDEODRIVER"):
        monkeypatch.delenv(name, raising=False)
    program, command, *words = shlex.split(line)
    assert program == "puffer"
    expanded = [
        str(path.relative_to(folder)) if "*" in word else word
        for word in words
        for path in (sorted(folder.glob(word)) if "*" in word else [folder])
    ]
    if command == "eval" and "--episodes" not in words:
        expanded += ["--episodes", "4"]
    if command == "train":
        expanded += BRIEF
    if command == "replay":
        expanded += ["--any-version"]  # a new drawing, too, is a new version of the game
    written = [word for word in words if word.endswith(SUFFIXES) and "/" not in word]
    if written and ("--output" in words or "--record" in words):
        (folder / written[-1]).unlink(missing_ok=True)
    assert main([command, *expanded]) == 0, capsys.readouterr().err
    for name in written:
        assert (folder / name).stat().st_size > 100
    assert not list(folder.glob(".*"))


def test_the_picture_of_readme_is_the_one_that_its_command_makes(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from PIL import Image

    (line,) = (line for line in commands() if "docs/breakout.replay" in line)
    assert README.index(PICTURE.name) < README.index("## ")
    monkeypatch.chdir(folder)
    assert main([*shlex.split(line)[1:], "--any-version"]) == 0
    assert "score        864" in capsys.readouterr().out  # of 864: the rules are as they were
    with Image.open(folder / "docs" / PICTURE.name) as made, Image.open(PICTURE) as kept:
        assert made.size == kept.size
        assert made.n_frames == kept.n_frames > 100
    assert PICTURE.stat().st_size <= 300_000
