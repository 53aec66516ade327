"""Every game and the worker channel in C, under ASan with UBSan and under TSan.

tests/c/fuzz.c plays a game at random in all modes, checks all invariants after each step, and
compares one thread with three. tests/c/worker_channel.c has two threads in place of a process and
its worker. The engine is compiled once for all games, and games are built and played in parallel.
No program here is compiled for more than the baseline of the architecture.
"""

from __future__ import annotations

import functools
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest

from pufferenv import games
from pufferenv.cores import usable_cores
from tests.support.paths import ROOT

TEST_GAMES = ("script", "continuous", "multihead", "masked", "endless", "loaded")
HEADERS = [Path("ocean") / f"{name}.h" for name in games.names()] + [
    Path("tests/game_headers") / f"{name}.h" for name in TEST_GAMES
]
ENGINE = sorted(ROOT.glob("pufferenv/e*/*.c"))  # engine and external: all C but the games
Runs = dict[tuple[str, Path], "Future[subprocess.CompletedProcess[str]]"]


@functools.cache
def compiler_with(kind: str) -> str:
    """Return the C compiler; skip the test if it cannot link programs with this sanitizer."""
    compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    if compiler is None:
        pytest.skip("no C compiler on PATH")
    with tempfile.TemporaryDirectory() as folder:
        source, program = Path(folder, "probe.c"), Path(folder, "probe")
        source.write_text("int main(void) { return 0; }\n")
        command = [compiler, f"-fsanitize={kind}", source, "-o", program]
        if subprocess.run(command, capture_output=True).returncode:
            pytest.skip(f"{compiler} cannot link -fsanitize={kind}: its runtime is not installed")
        if subprocess.run([program], capture_output=True).returncode:
            pytest.skip(f"programs built with -fsanitize={kind} do not start on this machine")
    return compiler


def compile_with(kind: str, folder: Path, *given: str | Path) -> None:
    """Compile `given`, sources and flags, with this sanitizer, in `folder`."""
    command = [compiler_with(kind), "-std=c17", "-O1", "-g", f"-I{ROOT}"]
    command += ["-ffp-contract=off", f"-fsanitize={kind}", "-fno-sanitize-recover=all"]
    subprocess.run([*command, *given], cwd=folder, check=True)


def build_with(kind: str, folder: Path, *given: str | Path) -> str:
    """Build a program from `given`, sources, objects and flags, with this sanitizer -> its path."""
    program = str(folder / "program")
    compile_with(kind, folder, *given, "-o", program, "-lm", "-lpthread")
    return program


def engine(kind: str, folder: Path) -> list[Path]:
    """Compile everything but the game -> the objects."""
    compile_with(kind, folder, "-DPUF_DEBUG", "-c", ROOT / "tests/c/fuzz.c", *ENGINE)
    return sorted(folder.glob("*.o"))


def play(
    kind: str, header: Path, folder: Path, objects: Future[list[Path]]
) -> subprocess.CompletedProcess[str]:
    """Build a game's program and run it."""
    game = f'-DPUF_GAME="{header.as_posix()}"'
    parts = [ROOT / "pufferenv/contract/game.c", *objects.result()]
    program = build_with(kind, folder, "-DPUF_DEBUG", game, *parts)
    # TSan makes a step ten times as slow, and finds nothing in a single thread.
    words = ["50", "3"] if kind == "thread" else ["150"]
    return subprocess.run([program, *words], capture_output=True, text=True, timeout=120)


@pytest.fixture(scope="module")
def runs(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Runs]:
    """The runs of all selected tests, by kind and header; all are started at once."""
    chosen = [item.callspec.params for item in request.session.items if "runs" in item.fixturenames]
    pairs = [(one["kind"], one["header"]) for one in chosen]
    with ThreadPoolExecutor(usable_cores()) as pool:
        # First, because the pool starts jobs in order and the games wait for these.
        engines = {
            kind: pool.submit(engine, kind, tmp_path_factory.mktemp("engine"))
            for kind in dict.fromkeys(kind for kind, _ in pairs)
        }
        yield {
            pair: pool.submit(play, *pair, tmp_path_factory.mktemp("game"), engines[pair[0]])
            for pair in pairs
        }
        pool.shutdown(cancel_futures=True)


both_kinds = pytest.mark.parametrize("kind", ["address,undefined", "thread"])


@both_kinds
@pytest.mark.parametrize("header", HEADERS, ids=lambda path: path.stem)
def test_random_play_is_clean_and_the_same_for_any_number_of_threads(header, kind, runs):
    run = runs[kind, header].result()
    assert run.returncode == 0, run.stdout + run.stderr
    assert len(run.stdout.split()) == 8


@both_kinds
def test_a_worker_channel_carries_every_command_once_and_in_order(kind, tmp_path):
    sources = (ROOT / "tests/c/worker_channel.c", ROOT / "pufferenv/external/worker_channel.c")
    program = build_with(kind, tmp_path, *sources)
    run = subprocess.run([program], capture_output=True, text=True, timeout=120)
    assert run.returncode == 0, run.stdout + run.stderr
    assert run.stdout.split() == [str(sum(range(1, 3001)) + 2 * 3000)] * 2
