"""Every game through the whole engine in C, under ASan + UBSan and under TSan.

tests/c/fuzz.c plays at random in all modes, with all invariants looked at after each step, and
itself compares one thread with three.
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
# The engine and env.c; outside*.c carry other people's envs, which no game needs.
SOURCES = [
    str(path.relative_to(ROOT))
    for path in sorted((ROOT / "pufferenv").glob("*.c"))
    if not path.stem.startswith("outside")
]


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


@pytest.mark.parametrize("kind", ["address,undefined", "thread"])
@pytest.mark.parametrize("header", HEADERS, ids=lambda path: path.stem)
def test_random_play_is_clean_and_the_same_for_any_number_of_threads(header, kind, tmp_path):
    compiler = compiler_with(kind, tmp_path)
    program = str(tmp_path / "fuzz")
    build = [compiler, "-std=c17", "-O1", "-g", "-DPUF_DEBUG", "-ffp-contract=off", "-I."]
    build += [f"-fsanitize={kind}", "-fno-sanitize-recover=all"]
    build += [f'-DPUF_GAME="{header.as_posix()}"']
    build += ["tests/c/fuzz.c", *SOURCES, "-o", program, "-lm", "-lpthread"]
    subprocess.run(build, cwd=ROOT, check=True)
    run = subprocess.run([program, "150"], capture_output=True, text=True, timeout=120)
    assert run.returncode == 0, run.stdout + run.stderr
    assert len(run.stdout.split()) == 8
