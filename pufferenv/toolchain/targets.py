"""The files of a build: where each one is, and the steps that make it.

    game              contract/game.c with ocean/x.h in it -> ocean/x.so, x.debug.so, x.sanitize.so
    game elsewhere    the same -> the user's cache, with a hash of its inputs in its name
    engine, kernels   the package's .pyx and *.c -> beside the .pyx; debug, sanitize: below build/

Only what is out of date is built (incremental.py). Needs a C compiler; the engine and the kernels
also need Python's headers and Cython.
"""

from __future__ import annotations

import difflib
import importlib.metadata
import os
import platform
import sys
import sysconfig
from collections.abc import Sequence
from pathlib import Path

from pufferenv.toolchain.incremental import (
    BuildError,
    Step,
    compiler,
    compiler_version,
    digest,
    run_stages,
    run_step,
    up_to_date,
)

ROOT = Path(__file__).resolve().parents[2]
OCEAN = ROOT / "ocean"
BUILD = ROOT / "build"
ENV = ROOT / "pufferenv" / "contract" / "game.c"  # what every game is compiled with
THREADS = ROOT / "pufferenv" / "engine" / "thread_pool.c"
MODULES = ("pufferenv.engine._engine", "pufferenv.external._external", "pufferlib.kernels._kernels")

# -ffp-contract=off: the same floats from every compiler, no multiply-add that the source lacks.
# -fno-math-errno: a square root is one instruction, of a vector too.
STANDARD = ("-std=c17", "-ffp-contract=off", "-fno-math-errno", "-fPIC", "-pthread")
# -Wno-psabi: a note about vectors passed by value, as only static functions do here.
WARNINGS = ("-Wall", "-Wextra", "-Wshadow", "-Wconversion", "-Wno-sign-conversion", "-Wno-psabi")
# Other people's games: what is wrong, not what could be spelled out.
OUTSIDE_WARNINGS = ("-Wall", "-Wextra", "-Werror=implicit-function-declaration")
KINDS = {
    "release": ("-O3", "-DNDEBUG"),
    "debug": ("-O1", "-g", "-DPUF_DEBUG"),
    "sanitize": (
        *("-O1", "-g", "-DPUF_DEBUG", "-fno-omit-frame-pointer"),
        *("-fsanitize=address,undefined", "-fno-sanitize-recover=undefined"),
    ),
}
MAC = sys.platform == "darwin"


# --- where things are ---------------------------------------------------------------------


def is_checkout() -> bool:
    """Whether the engine's sources are here; an installed wheel has only what a game needs."""
    return THREADS.is_file()


def command() -> str:
    """What to type to build: in a checkout the script, else the module."""
    return "python build.py" if is_checkout() else "python -m pufferenv.build"


def headers() -> dict[str, Path]:
    """Every game of the ocean package: its name and its header."""
    return {path.stem: path for path in sorted(OCEAN.glob("*.h"))}


def header_of(game: str | os.PathLike[str]) -> Path:
    """Find the header of a game's name or of a path to one; ValueError names the nearest."""
    known = headers()
    if isinstance(game, str) and game in known:
        return known[game]
    path = Path(game).expanduser()
    if path.suffix == ".h":
        if not path.is_file():
            raise ValueError(f"there is no header {path}")
        return path.resolve()
    near = difflib.get_close_matches(str(game), known, n=1)
    hint = f"did you mean {near[0]!r}? " if near else ""
    outside = (
        "; envs in Python are gym:ID, ale:GAME and pettingzoo:MODULE to `puffer`, "
        "and pufferenv.wrap in a program"
    )
    raise ValueError(
        f"unknown game {str(game)!r}: {hint}Legal are {', '.join(known)}, "
        f"or a path to a header, such as ./my_game.h{outside if ':' in str(game) else ''}"
    )


def cache_dir() -> Path:
    """Where games from outside the ocean package are built: PUFFER_CACHE, or the user's cache."""
    if chosen := os.environ.get("PUFFER_CACHE"):
        return Path(chosen).expanduser().resolve()
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "pufferenv"


def c_files(module: str) -> list[Path]:
    """Return the C files linked into a module: those of its folder, and the thread pool."""
    folder = ROOT.joinpath(*module.split(".")[:-1])
    files = sorted(folder.glob("*.c"))
    return [*files, THREADS] if module.startswith("pufferlib.") else files


def module_path(name: str, into: Path = ROOT) -> Path:
    """Where the extension module `name` is built, for this Python."""
    return into / f"{name.replace('.', os.sep)}{sysconfig.get_config_var('EXT_SUFFIX')}"


def _in_tree(header: Path) -> bool:
    return header.parent == OCEAN and is_checkout()


def object_path(header: Path, kind: str = "release", into: Path = ROOT) -> Path:
    """Where the object of a game of the ocean package is built."""
    return into / "ocean" / (header.stem + (".so" if kind == "release" else f".{kind}.so"))


def _stamp(output: Path) -> Path:
    """All stamps of the tree stand in build/, where no wheel picks them up."""
    return BUILD / "stamps" / (os.path.relpath(output, ROOT).replace(os.sep, "~") + ".json")


def cached_object(header: Path, kind: str, key: str) -> Path:
    """Where the object of a game from outside is built; `key` may be a pattern."""
    return cache_dir() / object_path(header, kind).name.replace(".", f"-{key}.", 1)


def _game_stamp(header: Path, kind: str) -> Path:
    """The stamp of a game's object; its place depends only on where the header is."""
    if _in_tree(header):
        return _stamp(object_path(header, kind))
    return cache_dir() / "stamps" / f"{header.stem}-{kind}-{digest(str(header).encode())}.json"


def built_game(header: Path, kind: str = "release") -> Path | None:
    """Return a game's object if it is what this tree makes of `header` now; needs no compiler."""
    return up_to_date(_game_stamp(header, kind), (ENV, header))


# --- steps --------------------------------------------------------------------------------


def _tuning(portable: bool) -> tuple[str, ...]:
    """Flags that make an object fast on this CPU and perhaps illegal on another."""
    if portable or os.environ.get("PUFFER_PORTABLE", "0") != "0":
        return ()
    arm = platform.machine() in ("arm64", "aarch64")
    return ("-mcpu=native",) if arm else ("-march=native",)


def _c_step(
    output: Path, stamp: Path, args: Sequence[str], inputs: Sequence[Path], scan: bool
) -> Step:
    """One run of the C compiler."""
    tuned = "-march=native" in args or "-mcpu=native" in args
    line = (*compiler(), *STANDARD, *args)
    return Step(output, stamp, line, tuple(inputs), compiler_version(), tuned, scan)


def game_step(header: Path, kind: str, into: Path, portable: bool, strict: bool) -> Step:
    """One game: env.c compiled with the header in it."""
    if _in_tree(header):
        output = object_path(header, kind, into)
        stamp, warnings = _stamp(output), (*WARNINGS, *(("-Werror",) if strict else ()))
    else:
        output = cached_object(header, kind, "{key}")
        stamp, warnings = _game_stamp(header, kind), OUTSIDE_WARNINGS
    # A function that the game forgot is an error here, not when the object is loaded.
    whole = ["-Wl,-z,defs"] if sys.platform == "linux" and kind != "sanitize" else []
    args = [*KINDS[kind], *_tuning(portable), *warnings, f"-I{ROOT}", f'-DPUF_GAME="{header}"']
    return _c_step(
        output, stamp, [*args, "-shared", *whole, str(ENV), "-lm"], (ENV, header), scan=True
    )


def _python_headers() -> str:
    include = sysconfig.get_paths()["include"]
    if Path(include, "Python.h").is_file():
        return f"-I{include}"
    raise BuildError(
        f"Python.h is not in {include}: install Python's headers "
        "(`apt install python3-dev` or `dnf install python3-devel`)"
    )


def _cython_version() -> str:
    try:
        return importlib.metadata.version("cython")
    except importlib.metadata.PackageNotFoundError:
        raise BuildError(
            "Cython is not installed in this Python: `pip install cython`, or let "
            "`pip install -e .` do the build, which brings it along"
        ) from None


def _module_stages(
    name: str, kind: str, into: Path, portable: bool, strict: bool
) -> tuple[list[Step], list[Step], list[Step]]:
    """An extension module: Cython to C, C to objects, objects to the module."""
    *folders, stem = name.split(".")
    source = ROOT.joinpath(*folders)
    work = BUILD / (f"{kind}-portable" if portable else kind)
    objects = work / f"{sys.implementation.cache_tag}-objects" / source.relative_to(ROOT)
    flags = [*KINDS[kind], *_tuning(portable)]
    python = _python_headers()

    def compiled(file: Path, *more: str) -> Step:
        output = objects / f"{file.stem}.o"
        include = (f"-I{ROOT}", f"-I{source}", "-fvisibility=hidden")
        args = [*flags, *include, *more, "-c", str(file)]
        return _c_step(output, _stamp(output), args, [file], scan=True)

    # These two are given here and in no .pyx, whose own directives would win over the command line.
    checks = kind != "release"
    directives = (f"-Xboundscheck={checks}", f"-Xinitializedcheck={checks}")
    pyx, generated = source / f"{stem}.pyx", objects / f"{stem}.c"
    translate = Step(
        generated,
        _stamp(generated),
        (sys.executable, "-m", "cython", "-3", *directives, str(pyx)),
        (*sorted(ROOT.glob("puffer*/*/*.px[di]")), pyx),
        f"Cython {_cython_version()}",
    )
    told = f'-DPUF_FLAGS="{" ".join([*STANDARD, *flags])}"'
    own = (*WARNINGS, "-Werror") if strict else WARNINGS
    compiles = [compiled(generated, "-w", python, told)]
    compiles += [compiled(file, *own) for file in c_files(name)]

    module = module_path(name, into)
    parts = [step.output for step in compiles]
    how = ["-bundle", "-undefined", "dynamic_lookup"] if MAC else ["-shared"]
    libraries = ["-lm"] if MAC else ["-lm", "-ldl"]
    args = [*flags, *how, *map(str, parts), *libraries]
    link = _c_step(module, _stamp(module), args, parts, scan=False)
    return [translate], compiles, [link]


def build_all(
    kind: str = "release", *, into: Path = ROOT, portable: bool = False, strict: bool = False
) -> tuple[list[Path], int]:
    """Build everything below `into` -> files made now, and how many were not due.

    `portable`: for any CPU of this kind. `strict`: a warning in the project's own C is an error.
    """
    compiler()  # the first to be missed, on most machines that miss something
    modules_into = into if kind == "release" else BUILD / kind
    stages: list[list[Step]] = [[], [], []]
    for name in MODULES:
        of_module = _module_stages(name, kind, modules_into, portable, strict)
        for stage, steps in zip(stages, of_module, strict=True):
            stage += steps
    # In the last stage, where a game that does not compile keeps no module from being linked.
    stages[2] += [game_step(h, kind, into, portable, strict) for h in headers().values()]
    return run_stages(stages)


def build_game(
    header: str | os.PathLike[str], *, debug: bool = False, sanitize: bool = False
) -> Path:
    """Compile a game's header where that is due -> its object.

    A game of a checkout's ocean package is built beside its header, any other in the user's cache.
    Raises BuildError with the compiler's message, ValueError where there is no such header.
    """
    kind = "sanitize" if sanitize else "debug" if debug else "release"
    return run_step(game_step(header_of(header), kind, ROOT, portable=False, strict=False))[0]
