"""The build command: `python build.py`, `python -m pufferenv.build my_game.h`; see --help.

toolchain/targets.py defines the targets, toolchain/incremental.py decides what is out of date.
"""

from __future__ import annotations

import argparse
import glob
import itertools
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from pufferenv._installation import (
    ISAS,
    KINDS,
    NATIVE,
    Variant,
    build_command,
    conflict,
    is_checkout,
    selected,
)
from pufferenv.toolchain import targets
from pufferenv.toolchain.incremental import BuildError, compiler, compiler_version, run_stages


def _shown(path: Path) -> str:
    """Return the path as it is printed: relative to the current folder if it is below it."""
    here = os.path.relpath(path)
    return str(path) if here.startswith("..") else here


def _list() -> None:
    """Print every game of the ocean package, and whether its selected variant is up to date."""
    for name, header in targets.headers().items():
        shipped = not is_checkout() and targets.object_path(header).is_file()
        state = "built" if shipped or targets.built_game(header, selected()) else "not built"
        print(f"{name:<16} {state:<10} {_shown(header)}")


def _clean() -> None:
    """Remove the built files of every variant: in the tree, below build/ and in the cache."""
    if is_checkout():
        made = [
            targets.object_path(header, Variant(kind), drawing=drawing)
            for header in targets.headers().values()
            for kind in KINDS
            for drawing in (False, True)
        ]
        for path in (*made, *map(targets.module_path, targets.MODULES)):
            path.unlink(missing_ok=True)
        shutil.rmtree(targets.BUILD, ignore_errors=True)
    _clean_cache()


def _clean_cache() -> None:
    """Remove objects and stamps; PUFFER_CACHE may name a folder that holds other things too."""
    key = "[0-9a-f]" * 16
    stamps = targets.cache_dir() / "stamps"
    for kind, portable, drawing in itertools.product(KINDS, (False, True), (False, True)):
        variant = Variant(kind, portable)
        middle = targets.stamp_middle(variant, drawing)
        for stamp in stamps.glob(f"*{middle}{key}.json"):
            game = glob.escape(stamp.name.rpartition(middle)[0])
            pattern = targets.cached_object(Path(f"{game}.h"), variant, key, drawing=drawing).name
            for path in (*targets.cache_dir().glob(pattern), stamp):
                path.unlink(missing_ok=True)
    for folder in (stamps, targets.cache_dir()):
        if folder.is_dir() and not any(folder.iterdir()):
            folder.rmdir()


def _how_to_use(variant: Variant) -> str:
    """Return the line that says how to start Python so that it uses this variant."""
    words = [f"PUFFER_ISA={ISAS[0]}"] if variant.portable else []
    words += [f"PUFFER_BUILD={variant.kind}"] if variant.kind != "release" else []
    if variant.kind == "sanitize":
        clang = "clang" in compiler_version()
        library = f"libclang_rt.asan-{platform.machine()}.so" if clang else "libasan.so"
        library = "libclang_rt.asan_osx_dynamic.dylib" if targets.MAC else library
        printed = subprocess.run(
            [*compiler(), f"-print-file-name={library}"], capture_output=True, text=True
        )
        preload = "DYLD_INSERT_LIBRARIES" if targets.MAC else "LD_PRELOAD"
        # Python never frees some of its memory, and its own allocator would hide overruns.
        words += [f"{preload}={printed.stdout.strip()}"]
        words += ["ASAN_OPTIONS=detect_leaks=0", "PYTHONMALLOC=malloc"]
    return f"to use these builds: {' '.join(words)} python ..."


def _build(games: Sequence[str], kind: str) -> None:
    variant = Variant(kind, selected().portable)
    if games:
        found = [targets.header_of(game) for game in games]
        made, idle = run_stages([targets.game_steps(found, variant, strict=True)])
    elif is_checkout():
        made, idle = targets.build_all(variant, strict=True)
    else:
        raise BuildError("the installed games are built already; name a header, my_game.h")
    for path in made:
        if path.suffix not in (".c", ".o"):
            print(_shown(path))
    if not made:
        print(f"nothing to do: {idle} {'file is' if idle == 1 else 'files are'} up to date")
    if variant != NATIVE:
        print(_how_to_use(variant))


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line -> 0, or 1 after printing what went wrong."""
    parser = argparse.ArgumentParser(
        prog=build_command(),
        description="Build the engine and all games, or the games that are named.",
    )
    parser.add_argument("game", nargs="*", help="name of a game, or path/to/my_game.h")
    how = parser.add_mutually_exclusive_group()
    how.add_argument("--debug", action="store_true", help="with assertions and bounds checks")
    how.add_argument("--sanitize", action="store_true", help="with address and UB sanitizers")
    parser.add_argument("--list", action="store_true", help="show the games and what is built")
    parser.add_argument("--clean", action="store_true", help="remove all that was built, and stop")
    args = parser.parse_args(argv)
    if (isa := os.environ.get("PUFFER_ISA")) and isa not in ISAS:
        parser.error(f"PUFFER_ISA={isa}: legal are {', '.join(ISAS)}")
    if clash := conflict():
        print(f"warning: {clash}", file=sys.stderr)
    try:
        if args.clean:
            _clean()
        elif args.list:
            _list()
        else:
            _build(args.game, "sanitize" if args.sanitize else "debug" if args.debug else "release")
    except (BuildError, ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
