"""Games, their drawings, the rasterizer and the worker channel under ASan with UBSan, and TSan.

tests/c/fuzz.c plays a game at random in all modes, checks all invariants after each step, and
compares one thread with three. tests/c/draw.c draws it at the ends of its config, and observes
pictures of it in two threads. tests/c/raster.c draws hostile lists. tests/c/worker_channel.c has
two threads in place of a process and its worker. The engine is compiled once for all games, and
games are built and played in parallel.
No program here is compiled for more than the baseline of the architecture.
"""

from __future__ import annotations

import functools
import shutil
import subprocess
import tempfile
import zlib
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
DRAWN = [Path("ocean") / f"{name}.h" for name in games.names() if games.load(name).draws]
FOLDERS = ("engine", "external", "drawing")  # all C but the games
ENGINE = [file for folder in FOLDERS for file in sorted(ROOT.glob(f"pufferenv/{folder}/*.c"))]
PROGRAMS = ("fuzz", "draw")  # of tests/c
Runs = dict[tuple[str, str, Path], "Future[subprocess.CompletedProcess[str]]"]


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
    programs = [ROOT / f"tests/c/{name}.c" for name in PROGRAMS]
    compile_with(kind, folder, "-DPUF_DEBUG", "-c", *programs, *ENGINE)
    return sorted(folder.glob("*.o"))


def play(
    name: str, kind: str, header: Path, folder: Path, objects: Future[list[Path]]
) -> subprocess.CompletedProcess[str]:
    """Build one of PROGRAMS with a game, and run it."""
    game = f'-DPUF_GAME="{header.as_posix()}"'
    parts = [file for file in objects.result() if file.stem == name or file.stem not in PROGRAMS]
    parts += [ROOT / "pufferenv/contract/game.c"]
    parts += [ROOT / "tests/c/drawing_object.c"] if name == "draw" else []
    program = build_with(kind, folder, "-DPUF_DEBUG", game, *parts)
    # TSan makes a step ten times as slow, and finds nothing in a single thread.
    words = {
        ("fuzz", "thread"): ["50", "3"],
        ("draw", "thread"): ["0", "15"],
        ("fuzz", "address,undefined"): ["150"],
        ("draw", "address,undefined"): ["10", "10"],
    }[name, kind]
    return subprocess.run([program, *words], capture_output=True, text=True, timeout=120)


@pytest.fixture(scope="module")
def runs(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Runs]:
    """The runs of all selected tests, by program, kind and header; all are started at once."""
    here = [item for item in request.session.items if item.path == request.path]
    items = [item for item in here if "runs" in item.fixturenames]
    keys = [tuple(item.callspec.params[k] for k in ("name", "kind", "header")) for item in items]
    with ThreadPoolExecutor(usable_cores()) as pool:
        # First, because the pool starts jobs in order and the games wait for these.
        engines = {
            kind: pool.submit(engine, kind, tmp_path_factory.mktemp("engine"))
            for kind in dict.fromkeys(kind for _, kind, _ in keys)
        }
        yield {
            key: pool.submit(play, *key, tmp_path_factory.mktemp("game"), engines[key[1]])
            for key in keys
        }
        pool.shutdown(cancel_futures=True)


both_kinds = pytest.mark.parametrize("kind", ["address,undefined", "thread"])


@both_kinds
@pytest.mark.parametrize("name", ["fuzz"])
@pytest.mark.parametrize("header", HEADERS, ids=lambda path: path.stem)
def test_random_play_is_clean_and_the_same_for_any_number_of_threads(name, header, kind, runs):
    run = runs[name, kind, header].result()
    assert run.returncode == 0, run.stdout + run.stderr
    assert len(run.stdout.split()) == 8


# All games share the threads of the engine and the rasterizer, so one of them is enough for TSan.
DRAWINGS = [*((header, "address,undefined") for header in DRAWN), (Path("ocean/snake.h"), "thread")]


@pytest.mark.parametrize("name", ["draw"])
@pytest.mark.parametrize(("header", "kind"), DRAWINGS, ids=lambda part: Path(part).stem)
def test_drawing_is_clean_at_the_ends_of_every_config(name, header, kind, runs):
    run = runs[name, kind, header].result()
    assert run.returncode == 0, run.stdout + run.stderr
    configs, lists, shapes, longest, _ = run.stdout.split()
    assert int(configs) >= 2
    states = 1 if kind == "thread" else 11  # of each config
    assert int(lists) == int(configs) * states * 2 * 7  # envs, views of each
    assert int(shapes) > 3 * int(lists)
    assert int(longest) > 100


@pytest.mark.parametrize(("kind", "threads"), [("address,undefined", 1), ("thread", 3)])
def test_the_rasterizer_survives_hostile_lists(kind, threads, tmp_path):
    sources = (ROOT / "tests/c/raster.c", *sorted(ROOT.glob("pufferenv/drawing/*.c")))
    program = build_with(kind, tmp_path, *sources)
    lists = 3000 // threads
    font = zlib.decompress((ROOT / "pufferenv/drawing/font.bin").read_bytes())
    command = [program, str(lists), str(threads)]
    run = subprocess.run(command, input=font, capture_output=True, timeout=120)
    assert run.returncode == 0, (run.stdout + run.stderr).decode()
    valid, refused, _ = run.stdout.split()
    assert int(valid) > lists / 2 and int(refused) > lists / 4
    assert int(valid) + int(refused) == lists


@both_kinds
def test_a_worker_channel_carries_every_command_once_and_in_order(kind, tmp_path):
    sources = (ROOT / "tests/c/worker_channel.c", ROOT / "pufferenv/external/worker_channel.c")
    program = build_with(kind, tmp_path, *sources)
    run = subprocess.run([program], capture_output=True, text=True, timeout=120)
    assert run.returncode == 0, run.stdout + run.stderr
    assert run.stdout.split() == [str(sum(range(1, 3001)) + 2 * 3000)] * 2
