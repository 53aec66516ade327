"""Compile games, the engine and the kernels: `python build.py`, or `python -m pufferenv.build my_game.h`.

A build is a list of steps, each one command that makes one file. A step is done again when
anything it was made of changed: the content of every file that the compiler's -MM lists, the
command, the compiler's version, the CPU it was tuned for. A stamp remembers these for each file.
Outputs appear by atomic rename, because overwriting an object that a process has mapped kills it.

    games     pufferenv/env.c + ocean/x.h       -> ocean/x.so, or x.debug.so, x.sanitize.so
    a game elsewhere                            -> in the user's cache, the content's hash in its name
    modules   pufferenv/*.c, pufferenv/_engine.pyx -> pufferenv/_engine.*.so; debug, sanitize: in build/
              pufferlib/*.c, pufferlib/_kernels.pyx -> pufferlib/_kernels.*.so
"""

from __future__ import annotations

import argparse
import difflib
import functools
import hashlib
import importlib.metadata
import json
import os
import platform
import re
import shlex
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
OCEAN = ROOT / "ocean"
BUILD = ROOT / "build"
MODULES = ("pufferenv._engine", "pufferlib._kernels")

# The same numbers from every compiler: no fused multiply-add behind the source's back.
STANDARD = ("-std=c17", "-ffp-contract=off", "-fPIC")
WARNINGS = ("-Wall", "-Wextra", "-Wshadow", "-Wconversion", "-Wno-sign-conversion")
KINDS = {
    "release": ("-O3", "-DNDEBUG"),
    "debug": ("-O1", "-g", "-DPUF_DEBUG"),
    "sanitize": (
        *("-O1", "-g", "-DPUF_DEBUG", "-fno-omit-frame-pointer"),
        *("-fsanitize=address,undefined", "-fno-sanitize-recover=undefined"),
    ),
}
LIBRARIES = ("-pthread", "-lm") if sys.platform == "darwin" else ("-pthread", "-ldl", "-lm")


class BuildError(RuntimeError):
    """What could not be built, with the compiler's own message."""


# --- where things are -----------------------------------------------------------------------


def is_checkout() -> bool:
    """Whether the engine's sources are here; an installed wheel has only what a game needs."""
    return (ROOT / "pufferenv" / "engine.c").is_file()


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
    raise ValueError(
        f"unknown game {str(game)!r}: {hint}Known are {', '.join(known)}, "
        "and any path to a header, such as ./my_game.h"
    )


def cache_dir() -> Path:
    """Where games from outside the ocean package are built: PUFFER_CACHE, or the user's cache."""
    if chosen := os.environ.get("PUFFER_CACHE"):
        return Path(chosen).expanduser().resolve()
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "pufferenv"


def module_path(name: str, into: Path = ROOT) -> Path:
    """Where the extension module `name` is built, for this Python."""
    suffix = sysconfig.get_config_var("EXT_SUFFIX")
    return into.joinpath(*name.split(".")).with_name(name.rpartition(".")[2] + suffix)


def command() -> str:
    """What to type to build: in a checkout its script, else the module."""
    return "python build.py" if is_checkout() else "python -m pufferenv.build"


# --- the tools --------------------------------------------------------------------------------


@functools.cache
def compiler() -> tuple[str, ...]:
    """Find the C compiler: CC, or the first of cc, gcc and clang."""
    if chosen := shlex.split(os.environ.get("CC", "")):
        if shutil.which(chosen[0]):
            return tuple(chosen)
        raise BuildError(f"CC={shlex.join(chosen)} is not a program that can be found")
    for name in ("cc", "gcc", "clang"):
        if shutil.which(name):
            return (name,)
    package = {
        "darwin": "run `xcode-select --install`",
        "win32": "Windows is not supported, but its Linux is: run `wsl --install` and build there",
    }.get(sys.platform, "install the package `gcc` (apt install gcc, or dnf install gcc)")
    raise BuildError(f"no C compiler was found: {package}")


@functools.cache
def compiler_version() -> str:
    """One line that changes when the compiler does."""
    told = subprocess.run([*compiler(), "--version"], capture_output=True, text=True)
    return told.stdout.partition("\n")[0]


@functools.cache
def cpu() -> str:
    """What an object tuned for this machine depends on: the CPU's model and features."""
    try:
        with open("/proc/cpuinfo") as file:
            first = file.read(8192).partition("\n\n")[0]
    except OSError:
        return f"{platform.machine()} {platform.processor()} {platform.node()}"
    lines = [
        line for line in first.splitlines() if re.match(r"model name|flags|Features|CPU ", line)
    ]
    return _digest("\n".join(lines).encode())


def _tuning(portable: bool) -> tuple[str, ...]:
    """Flags that make an object fast here, and perhaps illegal elsewhere."""
    if portable or os.environ.get("PUFFER_PORTABLE", "0") != "0":
        return ()
    arm = platform.machine() in ("arm64", "aarch64")
    return ("-mcpu=native",) if arm else ("-march=native",)


def _python_headers() -> str:
    include = sysconfig.get_paths()["include"]
    if not Path(include, "Python.h").is_file():
        version = f"{sys.version_info.major}.{sys.version_info.minor}"
        raise BuildError(
            f"Python's C headers are not in {include}: install the package python{version}-dev "
            "(Debian, Ubuntu) or python3-devel (Fedora)"
        )
    return f"-I{include}"


# --- one step ---------------------------------------------------------------------------------


@dataclass(frozen=True)
class Step:
    """One command that makes one file; `-o FILE` is added to it.

    `{key}` in the output's name stands for a hash of everything that the file is made of.
    `scan`: the inputs are C, and what they include counts too. `warn`: show what the compiler
    says although it succeeded.
    """

    output: Path
    stamp: Path
    command: tuple[str, ...]
    inputs: tuple[Path, ...]
    tool: str  # version of what the command runs
    tuned: bool = False
    scan: bool = False

    @property
    def made_by(self) -> str:
        """Command and tool, as the stamp remembers them."""
        return f"{self.tool}: {shlex.join(self.command)}"


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:16]


def _digests(paths: Iterable[str | Path]) -> dict[str, str]:
    return {str(path): _digest(Path(path).read_bytes()) for path in paths}


def _included(makefile: str) -> list[Path]:
    """Parse one rule in make's syntax: the files behind the colon."""
    files = makefile.replace("\\\n", " ").split(": ", 1)[1]
    names = re.findall(r"(?:\\.|\S)+", files)
    return [Path(re.sub(r"\\(.)", r"\1", name).replace("$$", "$")) for name in names]


def made_as_it_is_now(stamp: Path) -> Path | None:
    """Return the file that `stamp` stands for if nothing that it was made of has changed."""
    try:
        made: dict[str, Any] = json.loads(stamp.read_text())
        wanted: dict[str, str] = {**made["inputs"], made["output"]: made["digest"]}
        if _digests(wanted) == wanted and made["cpu"] in ("", cpu()):
            return Path(made["output"])
    except (OSError, ValueError, KeyError):
        pass
    return None


def _write(path: Path, text: str) -> None:
    with tempfile.NamedTemporaryFile("w", dir=path.parent, prefix=path.name, delete=False) as file:
        file.write(text)
    os.replace(file.name, path)


def _is_done(step: Step) -> Path | None:
    made = made_as_it_is_now(step.stamp)
    if made and json.loads(step.stamp.read_text())["made_by"] == step.made_by:
        return made
    return None


def _run(command: Sequence[str], what: Path) -> str:
    """Run a tool; return its standard output, pass its warnings on, raise BuildError if it fails."""
    done = subprocess.run(command, capture_output=True, text=True, errors="replace", cwd=ROOT)
    if done.returncode:
        said = (done.stderr + done.stdout).strip()
        raise BuildError(f"{what} does not compile:\n\n{said}")
    if done.stderr.strip():
        sys.stderr.write(done.stderr)
    return done.stdout


def run_step(step: Step) -> tuple[Path, bool]:
    """Do one step where it is due -> the file, and whether it was made now."""
    if made := _is_done(step):
        return made, False
    subject = step.inputs[-1]
    read = list(step.inputs)
    if step.scan:
        read = _included(_run([*step.command, "-MM"], subject))
    # Hashed before the command runs: a file that changes meanwhile is found changed next time.
    inputs = _digests(read)
    identity = {"made_by": step.made_by, "inputs": inputs, "cpu": cpu() if step.tuned else ""}
    key = _digest(json.dumps({**identity, "inputs": sorted(inputs.values())}).encode())
    output = Path(str(step.output).replace("{key}", key))
    output.parent.mkdir(parents=True, exist_ok=True)
    step.stamp.parent.mkdir(parents=True, exist_ok=True)
    if output == step.output or not output.exists():
        with tempfile.TemporaryDirectory(dir=output.parent, prefix=".building-") as folder:
            fresh = Path(folder, output.name)
            _run([*step.command, "-o", str(fresh)], subject)
            os.replace(fresh, output)
    digest = _digest(output.read_bytes())
    _write(step.stamp, json.dumps({**identity, "output": str(output), "digest": digest}, indent=1))
    return output, True


# --- what there is to build -------------------------------------------------------------------


def _stamp(output: Path) -> Path:
    """Stamps of what is made in the tree stand in build/, so that no wheel picks them up."""
    name = os.path.relpath(output, ROOT).replace(os.sep, "~")
    return BUILD / "stamps" / f"{name}.json"


def game_stamp(header: Path, kind: str = "release") -> Path:
    """The stamp of a game's object; it depends on nothing but where the header is."""
    if _in_tree(header):
        return _stamp(_game_object(header, kind, ROOT))
    return cache_dir() / "stamps" / f"{header.stem}-{kind}-{_digest(str(header).encode())}.json"


def _in_tree(header: Path) -> bool:
    return header.parent == OCEAN and is_checkout()


def _game_object(header: Path, kind: str, into: Path) -> Path:
    suffix = ".so" if kind == "release" else f".{kind}.so"
    return into / "ocean" / (header.stem + suffix)


def _game_step(
    header: Path, kind: str, *, into: Path = ROOT, portable: bool = False, strict: bool = False
) -> Step:
    """One game: pufferenv/env.c compiled with the header in it."""
    tuning = _tuning(portable)
    own = _in_tree(header)
    command = (
        *(*compiler(), *STANDARD, *KINDS[kind], *tuning),
        *(*WARNINGS, *(("-Werror",) if strict and own else ())),
        *(f"-I{ROOT}", f'-DPUF_GAME="{header}"', "-shared"),
        *(str(ROOT / "pufferenv" / "env.c"), "-lm"),
    )
    if own:
        output = _game_object(header, kind, into)
        stamp = _stamp(output)
    else:
        suffix = "" if kind == "release" else f".{kind}"
        output = cache_dir() / (header.stem + "-{key}" + suffix + ".so")
        stamp = game_stamp(header, kind)
    inputs = (ROOT / "pufferenv" / "env.c", header)
    return Step(output, stamp, command, inputs, compiler_version(), bool(tuning), scan=True)


def _module_steps(
    name: str, kind: str, *, into: Path = ROOT, portable: bool = False, strict: bool = False
) -> list[list[Step]]:
    """An extension module, in stages: Cython to C, C to objects, objects to the module."""
    package, _, stem = name.partition(".")
    source = ROOT / package
    tuning = _tuning(portable)
    work = BUILD / f"{kind}-portable" if portable else BUILD / kind
    objects = work / f"{sys.implementation.cache_tag}-objects" / package
    flags = (*STANDARD, *KINDS[kind], *tuning)

    checks = "False" if kind == "release" else "True"
    pyx, generated = source / f"{stem}.pyx", objects / f"{stem}.c"
    directives = (f"-Xboundscheck={checks}", f"-Xinitializedcheck={checks}")
    translate = Step(
        generated,
        _stamp(generated),
        (sys.executable, "-m", "cython", "-3", *directives, str(pyx)),
        (*sorted(source.glob("*.px[di]")), pyx),
        "Cython " + _cython_version(),
    )
    include = (f"-I{ROOT}", f"-I{source}", "-fvisibility=hidden", "-pthread")
    told = f'-DPUF_FLAGS="{" ".join(flags)}"'

    def compile_step(file: Path, *extra: str) -> Step:
        made = objects / f"{file.stem}.o"
        command = (*compiler(), *flags, *include, *extra, "-c", str(file))
        return Step(
            made, _stamp(made), command, (file,), compiler_version(), bool(tuning), scan=True
        )

    own = (*WARNINGS, "-Werror") if strict else WARNINGS
    files = [file for file in sorted(source.glob("*.c")) if file.name != "env.c"]
    compiles = [compile_step(generated, _python_headers(), told, "-w")]
    compiles += [compile_step(file, *own) for file in files]

    module = module_path(name, into)
    linked = tuple(step.output for step in compiles)
    how = ("-bundle", "-undefined", "dynamic_lookup") if sys.platform == "darwin" else ("-shared",)
    command = (*compiler(), *flags, *how, *map(str, linked), *LIBRARIES)
    link = Step(module, _stamp(module), command, linked, compiler_version(), bool(tuning))
    return [[translate], compiles, [link]]


def _cython_version() -> str:
    try:
        return importlib.metadata.version("cython")
    except importlib.metadata.PackageNotFoundError:
        raise BuildError(
            "Cython is not installed in this Python: run `pip install 'cython>=3.1'`, "
            "or `pip install -e .`, which brings it along"
        ) from None


def _run_stages(stages: Sequence[Sequence[Step]]) -> tuple[list[Path], int]:
    """Do all steps, those of one stage in parallel -> what was made now, and how many were not due."""
    from concurrent.futures import ThreadPoolExecutor

    made: list[Path] = []
    idle = 0
    for stage in stages:
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            jobs = [pool.submit(run_step, step) for step in stage]
        failed = [error for job in jobs if isinstance(error := job.exception(), BuildError)]
        if failed:
            raise BuildError("\n\n".join(map(str, failed)))
        for job in jobs:
            path, now = job.result()
            idle += not now
            made += [path] if now else []
    return made, idle


def build_all(
    kind: str = "release", *, into: Path = ROOT, portable: bool = False, strict: bool = False
) -> tuple[list[Path], int]:
    """Build the engine, the kernels and all games below `into` -> made now, how many were not due.

    `strict`: a warning in the project's own C is an error. `portable`: for any CPU of this kind.
    """
    where = into if kind == "release" else BUILD / kind
    stages: list[list[Step]] = [[], [], []]
    for name in MODULES:
        if not Path(ROOT, *name.split(".")).with_suffix(".pyx").is_file():
            continue
        steps = _module_steps(name, kind, into=where, portable=portable, strict=strict)
        for stage, more in zip(stages, steps, strict=True):
            stage += more
    for header in headers().values():
        stages[1].append(_game_step(header, kind, into=into, portable=portable, strict=strict))
    return _run_stages(stages)


def build_game(
    header: str | os.PathLike[str], *, debug: bool = False, sanitize: bool = False
) -> Path:
    """Compile a game's header where that is due -> its object.

    A game of a checkout's ocean package is built beside its header, any other in the user's cache.
    Raises BuildError with the compiler's message, ValueError where there is no such header.
    """
    kind = "sanitize" if sanitize else "debug" if debug else "release"
    path = header_of(header)
    return run_step(_game_step(path, kind))[0]


# --- the command ------------------------------------------------------------------------------


def _shown(path: Path) -> str:
    here = os.path.relpath(path)
    return str(path) if here.startswith("..") else here


def _list() -> None:
    for name, header in headers().items():
        installed = not is_checkout() and _game_object(header, "release", ROOT).is_file()
        built = installed or made_as_it_is_now(game_stamp(header)) is not None
        print(f"{name:<16} {'built' if built else 'not built':<10} {_shown(header)}")


def _clean() -> None:
    made = [
        path for kind in KINDS for path in (_game_object(h, kind, ROOT) for h in headers().values())
    ]
    made += [module_path(name) for name in MODULES]
    for path in made if is_checkout() else []:
        path.unlink(missing_ok=True)
    for folder in (BUILD, cache_dir()) if is_checkout() else (cache_dir(),):
        shutil.rmtree(folder, ignore_errors=True)


def _how_to_run(kind: str) -> str:
    if kind == "debug":
        return "To use the debug builds: PUFFER_BUILD=debug python ..."
    library = "libasan.so" if sys.platform != "darwin" else "libclang_rt.asan_osx_dynamic.dylib"
    asked = [*compiler(), f"-print-file-name={library}"]
    runtime = subprocess.run(asked, capture_output=True, text=True).stdout.strip()
    preload = "DYLD_INSERT_LIBRARIES" if sys.platform == "darwin" else "LD_PRELOAD"
    # CPython never frees some of its memory, and its allocator hides overruns from ASan.
    quiet = "ASAN_OPTIONS=detect_leaks=0 PYTHONMALLOC=malloc"
    return f"To use the sanitized builds:\n  PUFFER_BUILD=sanitize {preload}={runtime} {quiet} python ..."


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=command(),
        description="Build the engine and all games, or only the games that are named.",
    )
    parser.add_argument("game", nargs="*", help="name of a game, or path/to/my_game.h")
    kind = parser.add_mutually_exclusive_group()
    kind.add_argument("--debug", action="store_true", help="with assertions and bounds checks")
    kind.add_argument("--sanitize", action="store_true", help="with address and UB sanitizers")
    parser.add_argument("--list", action="store_true", help="show the games and what is built")
    parser.add_argument("--clean", action="store_true", help="remove everything that was built")
    return parser


def _build(games: Sequence[str], kind: str) -> None:
    if not games and not is_checkout():
        raise BuildError("the installed package is built already: name a header, my_game.h")
    if games:
        made, idle = _run_stages(
            [[_game_step(header_of(game), kind, strict=True) for game in games]]
        )
    else:
        made, idle = build_all(kind, strict=True)
    for path in made:
        if path.suffix not in (".o", ".c"):
            print(_shown(path))
    if not made:
        print(f"nothing to do: {idle} files are as their sources are")
    if kind != "release":
        print(_how_to_run(kind))


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; errors are printed, and 1 is returned."""
    args = _parser().parse_args(argv)
    kind = "sanitize" if args.sanitize else "debug" if args.debug else "release"
    try:
        if args.clean:
            _clean()
        elif args.list:
            _list()
        else:
            _build(args.game, kind)
    except (BuildError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
