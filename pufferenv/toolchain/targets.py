"""The files of a build: where each one is, and the steps that make it.

    game              contract/game.c with ocean/x.h in it -> ocean/x.so, x.debug.so, x.sanitize.so
    its drawing       the same with -DPUF_DRAWING_OBJECT, if it has PUF_VIEW -> ocean/x.draw.so, ...
    game elsewhere    the same -> the user's cache, with a hash of its inputs in its name
    engine, kernels   the package's .pyx and *.c -> beside the .pyx; debug, sanitize: below build/
    portable objects  the same -> below build/; a wheel has them where native ones stand here

Native objects are compiled for this CPU (-march=native), portable ones for any CPU of its kind.

Only what is out of date is built (incremental.py). Needs a C compiler; the engine and the kernels
also need Python's headers and Cython.
"""

from __future__ import annotations

import difflib
import importlib.metadata
import os
import platform
import re
import sys
import sysconfig
from collections.abc import Sequence
from pathlib import Path

from pufferenv._installation import NATIVE, ROOT, Variant, is_checkout, selected
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

OCEAN = ROOT / "ocean"
BUILD = ROOT / "build"
GAME_C = ROOT / "pufferenv" / "contract" / "game.c"  # what every game is compiled with
# What every game includes and no simulation depends on. env.h is not among it: it has the random
# numbers.
CONTRACT = (GAME_C.parent, ROOT / "pufferenv" / "draw.h")
THREAD_POOL_C = ROOT / "pufferenv" / "engine" / "thread_pool.c"
MODULES = (
    "pufferenv.engine._engine",
    "pufferenv.drawing._drawing",
    "pufferenv.external._external",
    "pufferlib.kernels._kernels",
)

# -ffp-contract=off: no fused multiply-add, so that all compilers give the same floats.
# -fno-math-errno: square roots compile to one instruction, also for vectors.
STANDARD = ("-std=c17", "-ffp-contract=off", "-fno-math-errno", "-fPIC", "-pthread")
# -Wno-psabi: no notes about vectors passed by value, as only static functions do so here.
WARNINGS = ("-Wall", "-Wextra", "-Wshadow", "-Wconversion", "-Wno-sign-conversion", "-Wno-psabi")
# For games from outside the ocean package: warn of errors and likely mistakes, not of style.
OUTSIDE_WARNINGS = ("-Wall", "-Wextra", "-Werror=implicit-function-declaration")
FLAGS = {
    "release": ("-O3", "-DNDEBUG"),
    "debug": ("-O1", "-g", "-DPUF_DEBUG"),
    "sanitize": (
        *("-O1", "-g", "-DPUF_DEBUG", "-fno-omit-frame-pointer"),
        *("-fsanitize=address,undefined", "-fno-sanitize-recover=undefined"),
    ),
}
MAC = sys.platform == "darwin"
ARM = platform.machine() in ("arm64", "aarch64")

# Both are linked into every module. Python calls module_init.c, which is compiled for any CPU and
# asks the CPU for the features that module_needs.c, compiled as the module is, names.
MODULE_INIT_C = ROOT / "pufferenv" / "toolchain" / "module_init.c"
MODULE_NEEDS_C = ROOT / "pufferenv" / "toolchain" / "module_needs.c"
# With gcc on x86, each of these is compiled for one instruction set, also in a native build.
DISPATCHED = ("dispatch.c", "avx2.c", "avx512.c")


# --- paths --------------------------------------------------------------------------------


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
            beside = [header.name for header in path.parent.glob("*.h")]
            near = difflib.get_close_matches(path.name, beside, n=1)
            hint = f"; did you mean {path.with_name(near[0])}?" if near else ""
            raise ValueError(f"there is no header {path}{hint}")
        return path.resolve()
    near = difflib.get_close_matches(str(game), known, n=1)
    hint = f": did you mean {near[0]!r}?" if near else "."
    outside = (
        "; envs in Python are gym:ID, ale:GAME and pettingzoo:MODULE to `puffer`, "
        "and pufferenv.wrap in a program"
    )
    raise ValueError(
        f"unknown game {str(game)!r}{hint} Legal are {', '.join(known)}, "
        f"or a path to a header, such as ./my_game.h{outside if ':' in str(game) else ''}"
    )


def cache_dir() -> Path:
    """Return the folder for games outside the ocean package: PUFFER_CACHE or the user's cache."""
    if chosen := os.environ.get("PUFFER_CACHE"):
        return Path(chosen).expanduser().resolve()
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "pufferenv"


def c_files(module: str) -> list[Path]:
    """Return the C files linked into a module: those of its folder, and the thread pool."""
    folder = ROOT.joinpath(*module.split(".")[:-1])
    files = sorted(folder.glob("*.c"))
    return [*files, THREAD_POOL_C] if module.startswith("pufferlib.") else files


def module_path(name: str, variant: Variant = NATIVE, into: Path | None = None) -> Path:
    """Return where the extension module `name` is built, for this Python."""
    into = into or (ROOT if variant == NATIVE else BUILD / variant.label)
    return into / f"{name.replace('.', os.sep)}{sysconfig.get_config_var('EXT_SUFFIX')}"


def object_path(
    header: Path, variant: Variant = NATIVE, into: Path | None = None, *, drawing: bool = False
) -> Path:
    """Return where the object of a game of the ocean package, or its drawing object, is built."""
    into = into or (BUILD / variant.label if variant.portable else ROOT)
    return into / "ocean" / f"{header.stem}{_suffix(variant, drawing)}"


def cached_object(header: Path, variant: Variant, key: str, *, drawing: bool = False) -> Path:
    """Return where the object of a game from outside is built; `key` may be a pattern."""
    return cache_dir() / f"{header.stem}-{key}{_suffix(variant, drawing)}"


def _suffix(variant: Variant, drawing: bool) -> str:
    kind = "" if variant.kind == "release" else f".{variant.kind}"
    return f"{kind}{'.draw' if drawing else ''}.so"


def draws(header: Path) -> bool:
    """Return whether a header itself defines PUF_VIEW, and so has a drawing object."""
    text = header.read_text(errors="replace")
    return re.search(r"^\s*#\s*define\s+PUF_VIEW\b", text, re.MULTILINE) is not None


def _in_tree(header: Path) -> bool:
    return header.parent == OCEAN and is_checkout()


def _stamp(output: Path) -> Path:
    """Return the stamp of a file of the tree: in build/, where no wheel picks it up."""
    return BUILD / "stamps" / (os.path.relpath(output, ROOT).replace(os.sep, "~") + ".json")


def _game_stamp(header: Path, variant: Variant, drawing: bool) -> Path:
    """Return the stamp of a game's object; its place depends only on where the header is."""
    if _in_tree(header):
        return _stamp(object_path(header, variant, drawing=drawing))
    name = f"{header.stem}{stamp_middle(variant, drawing)}{digest(str(header).encode())}.json"
    return cache_dir() / "stamps" / name


def stamp_middle(variant: Variant, drawing: bool) -> str:
    """Return what stands between a game's name and the key in the name of a stamp in the cache."""
    return f"-{variant.label}{'-draw' if drawing else ''}-"


def built_game(header: Path, variant: Variant = NATIVE, *, drawing: bool = False) -> Path | None:
    """Return a game's object if it is what this tree makes of `header` now; needs no compiler."""
    return up_to_date(_game_stamp(header, variant, drawing), (GAME_C, header))


# --- steps --------------------------------------------------------------------------------


def _tuning(portable: bool) -> tuple[str, ...]:
    """Return the flags with which the compiler may use all that this CPU has."""
    if portable:
        return ()
    return ("-mcpu=native",) if ARM else ("-march=native",)


def _c_step(
    output: Path, stamp: Path, args: Sequence[str], inputs: Sequence[Path], scan: bool
) -> Step:
    """Return the step that is one run of the C compiler."""
    native = any(arg.endswith("=native") for arg in args)
    line = (*compiler(), *STANDARD, *args)
    return Step(output, stamp, line, tuple(inputs), compiler_version(), native, scan, CONTRACT)


def game_step(
    header: Path,
    variant: Variant,
    into: Path | None = None,
    *,
    strict: bool = False,
    drawing: bool = False,
) -> Step:
    """Return the step that compiles one game, or its drawing: game.c with the header in it."""
    if _in_tree(header):
        output = object_path(header, variant, into, drawing=drawing)
        stamp, warnings = _stamp(output), (*WARNINGS, *(("-Werror",) if strict else ()))
    else:
        output = cached_object(header, variant, "{key}", drawing=drawing)
        stamp, warnings = _game_stamp(header, variant, drawing), OUTSIDE_WARNINGS
    # A function that the game lacks is an error here, and not only when the object is loaded.
    whole = ["-Wl,-z,defs"] if sys.platform == "linux" and variant.kind != "sanitize" else []
    flags = (*FLAGS[variant.kind], *_tuning(variant.portable))
    args = [*flags, *warnings, f"-I{ROOT}", f'-DPUF_GAME="{header}"', '-DPUF_SOURCE="{source}"']
    args += ["-DPUF_DRAWING_OBJECT"] if drawing else []
    return _c_step(
        output, stamp, [*args, "-shared", *whole, str(GAME_C), "-lm"], (GAME_C, header), scan=True
    )


def _python_headers() -> str:
    include = sysconfig.get_paths()["include"]
    if Path(include, "Python.h").is_file():
        return include
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
    name: str, variant: Variant, into: Path | None, strict: bool
) -> tuple[list[Step], list[Step], list[Step]]:
    """Return the steps of an extension module: Cython to C, C to objects, objects to the module."""
    *folders, stem = name.split(".")
    package, tag = ROOT.joinpath(*folders), sys.implementation.cache_tag
    objects = BUILD / variant.label / f"{tag}-objects" / Path(*folders)
    flags, tuning = FLAGS[variant.kind], _tuning(variant.portable)
    python = _python_headers()

    def compiled(file: Path, *more: str, tuning: Sequence[str] = tuning) -> Step:
        output = objects / f"{file.stem}.o"
        include = (f"-I{ROOT}", f"-I{package}", "-fvisibility=hidden")
        args = [*flags, *tuning, *include, *more, "-c", str(file)]
        return _c_step(output, _stamp(output), args, [file], scan=True)

    # Native and portable objects are compiled from the same C, debug ones from C with more checks.
    # The two directives stand in no .pyx, because those would win over the command line.
    checks = variant.kind != "release"
    directives = (f"-Xboundscheck={checks}", f"-Xinitializedcheck={checks}")
    translated = BUILD / f"{tag}-{'checked' if checks else 'release'}-c" / Path(*folders)
    pyx, generated = package / f"{stem}.pyx", translated / f"{stem}.c"
    translate = Step(
        generated,
        _stamp(generated),
        (sys.executable, "-m", "cython", "-3", *directives, str(pyx)),
        (*sorted(ROOT.glob("puffer*/*/*.px[di]")), pyx),
        f"Cython {_cython_version()}",
    )

    # Python calls PyInit_ of module_init.c, which asks the CPU and then calls Cython's, renamed.
    shown = f'-DPUF_FLAGS="{" ".join([*STANDARD, *flags, *tuning])}"'
    renamed = f"-DPyInit_{stem}=puf_cython_init"
    names = (f"-DPUF_INIT=PyInit_{stem}", f'-DPUF_MODULE="{name}"')
    own = (*WARNINGS, "-Werror") if strict else WARNINGS
    compiles = [
        compiled(generated, "-w", f"-I{python}", shown, renamed),
        compiled(MODULE_INIT_C, *own, f"-isystem{python}", *names, tuning=()),
        compiled(MODULE_NEEDS_C, *own),
    ]
    gcc_on_x86 = "-march=native" in tuning and "clang" not in compiler_version()
    for file in c_files(name):
        fixed = gcc_on_x86 and file.name in DISPATCHED
        compiles.append(compiled(file, *own, tuning=("-mtune=native",) if fixed else tuning))

    module = module_path(name, variant, into)
    parts = [step.output for step in compiles]
    how = ["-bundle", "-undefined", "dynamic_lookup"] if MAC else ["-shared"]
    libraries = ["-lm"] if MAC else ["-lm", "-ldl"]
    args = [*flags, *tuning, *how, *map(str, parts), *libraries]
    link = _c_step(module, _stamp(module), args, parts, scan=False)
    return [translate], compiles, [link]


def build_all(
    variant: Variant = NATIVE, *, into: Path | None = None, strict: bool = False
) -> tuple[list[Path], int]:
    """Build all modules and games -> the files made now, and how many were up to date.

    `into`: the folder that gets them, in place of the variant's own. `strict`: a warning in the
    project's own C is an error.
    """
    compiler()  # checked first, because a compiler is missing most often
    stages: list[list[Step]] = [[], [], []]
    for name in MODULES:
        of_module = _module_stages(name, variant, into, strict)
        for stage, steps in zip(stages, of_module, strict=True):
            stage += steps
    # In the last stage, so that a game that does not compile keeps no module from being linked.
    stages[2] += game_steps([*headers().values()], variant, into, strict=strict)
    return run_stages(stages)


def game_steps(
    of: Sequence[Path], variant: Variant, into: Path | None = None, *, strict: bool = False
) -> list[Step]:
    """Return the steps that compile these games, and the drawings of those that have one."""
    return [
        game_step(header, variant, into, strict=strict, drawing=drawing)
        for header in of
        for drawing in ((False, True) if draws(header) else (False,))
    ]


def build_game(
    header: str | os.PathLike[str], variant: Variant | None = None, *, drawing: bool = False
) -> Path:
    """Compile a game's header if it is out of date -> its object, of the selected variant if None.

    A game of a checkout's ocean package is built in the tree, any other in the user's cache.
    `drawing`: the drawing object instead.
    Raises BuildError with the compiler's message, ValueError if there is no such header.
    """
    return run_step(game_step(header_of(header), variant or selected(), drawing=drawing))[0]
