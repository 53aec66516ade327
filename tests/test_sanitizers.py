"""Every game through the whole engine in C, and a worker's line, under ASan + UBSan and under TSan.

tests/c/fuzz.c plays at random in all modes, with all invariants looked at after each step, and
itself compares one thread with three; tests/c/line.c is a process and its worker as two threads.
"""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from pufferenv import games

ROOT = Path(__file__).parent.parent
TEST_GAMES = ("script", "continuous", "multihead", "masked", "endless", "loaded")
HEADERS = [Path("ocean") / f"{name}.h" for name in games.names()] + [
    Path("tests/games") / f"{name}.h" for name in TEST_GAMES
]
SOURCES = [str(path.relative_to(ROOT)) for path in sorted((ROOT / "pufferenv").glob("*.c"))]


def compiler_with(kind: str, folder: Path) -> str:
    """The C compiler, if it can link programs with this sanitizer."""
    compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    if compiler is None:
        pytest.skip("no C compiler on PATH")
    program = folder / "probe.c"
    program.write_text("int main(void) { return 0; }\n")
    command = [compiler, f"-fsanitize={kind}", str(program), "-o", str(folder / "probe")]
    if subprocess.run(command, capture_output=True).returncode:
        pytest.skip(f"{compiler} cannot link -fsanitize={kind}: its runtime is not installed")
    if subprocess.run([str(folder / "probe")], capture_output=True).returncode:
        pytest.skip(f"programs built with -fsanitize={kind} do not start on this machine")
    return compiler


def build_with(kind: str, folder: Path, *given: str) -> str:
    """Build a program of `given`, sources and flags, with this sanitizer -> its path."""
    program = str(folder / "program")
    command = [compiler_with(kind, folder), "-std=c17", "-O1", "-g", "-I.", "-ffp-contract=off"]
    command += [f"-fsanitize={kind}", "-fno-sanitize-recover=all", *given]
    subprocess.run([*command, "-o", program, "-lm", "-lpthread"], cwd=ROOT, check=True)
    return program


both_kinds = pytest.mark.parametrize("kind", ["address,undefined", "thread"])


@both_kinds
@pytest.mark.parametrize("header", HEADERS, ids=lambda path: path.stem)
def test_random_play_is_clean_and_the_same_for_any_number_of_threads(header, kind, tmp_path):
    game = f'-DPUF_GAME="{header.as_posix()}"'
    program = build_with(kind, tmp_path, "-DPUF_DEBUG", game, "tests/c/fuzz.c", *SOURCES)
    steps = "50" if kind == "thread" else "150"  # TSan takes ten times as long for each
    run = subprocess.run([program, steps], capture_output=True, text=True, timeout=120)
    assert run.returncode == 0, run.stdout + run.stderr
    assert len(run.stdout.split()) == 8


@both_kinds
def test_a_line_tells_every_command_once_and_in_order(kind, tmp_path):
    program = build_with(kind, tmp_path, "tests/c/line.c", "pufferenv/outside_line.c")
    run = subprocess.run([program], capture_output=True, text=True, timeout=120)
    assert run.returncode == 0, run.stdout + run.stderr
    assert run.stdout.split() == [str(sum(range(1, 3001)) + 2 * 3000)] * 2
