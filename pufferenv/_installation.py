"""Select the build to use, find its modules, and detect a conflicting package.

PUFFER_BUILD=debug|sanitize   use what `python build.py --debug` or `--sanitize` built
PUFFER_ISA=baseline           use portable objects, and the kernels for any CPU
PUFFER_ISA=avx2|avx512        use the kernels for this instruction set
"""

from __future__ import annotations

import importlib.machinery
import os
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

__version__ = "0.1.0"

ROOT = Path(__file__).resolve().parents[1]
KINDS = ("release", "debug", "sanitize")
ISAS = ("baseline", "avx2", "avx512")  # narrowest first; the names of PufISA in contract/cpu.h


class Variant(NamedTuple):
    """One way to build everything: the kind, and native (for this CPU) or portable."""

    kind: str = "release"
    portable: bool = False

    @property
    def label(self) -> str:
        """Name of the variant's folder below build/."""
        return f"{self.kind}-{ISAS[0]}" if self.portable else self.kind


NATIVE = Variant()


def selected(kind: str | None = None) -> Variant:
    """Return the variant that the environment selects; without PUFFER_BUILD its kind is `kind`.

    Raise ValueError for an unknown PUFFER_BUILD. PUFFER_ISA is checked by `choose_isa`, against the
    instruction sets of this CPU.
    """
    chosen = os.environ.get("PUFFER_BUILD") or kind or KINDS[0]
    if chosen not in KINDS:
        raise ValueError(f"PUFFER_BUILD={chosen}: legal are {', '.join(KINDS)}")
    return Variant(chosen, os.environ.get("PUFFER_ISA") == ISAS[0])


def choose_isa(available: Sequence[str]) -> str:
    """Return the instruction set that PUFFER_ISA names; without PUFFER_ISA, the widest.

    `available` lists the instruction sets that this CPU and this build support, narrowest first.
    Raise ImportError for a name that is not among them.
    """
    given = os.environ.get("PUFFER_ISA")
    if not given:
        return available[-1]
    if given in available:
        return given
    legal = "" if given in ISAS else f"legal are {', '.join(ISAS)}, and "
    raise ImportError(
        f"PUFFER_ISA={given}: {legal}this build can use {', '.join(available)} on this CPU; "
        "set PUFFER_ISA to one of these, or unset it for the widest"
    )


def is_checkout() -> bool:
    """Return whether the engine's sources are here; an installed wheel has only built modules."""
    return (ROOT / "pufferenv" / "engine" / "engine.c").is_file()


def built_path(module: str, package_path: Sequence[str]) -> list[str]:
    """Return the folders to search before `package_path` for `module`, "pufferenv.engine._engine".

    The list is empty for the native release build and in an installed wheel, whose modules are in
    the package itself. Raise ImportError with the command that builds the module if it is missing,
    ValueError for an unknown PUFFER_BUILD.
    """
    variant = selected()
    *folders, name = module.split(".")
    own = [] if variant == NATIVE or not is_checkout() else [ROOT / "build" / variant.label]
    searched = [str(folder.joinpath(*folders)) for folder in own] or package_path
    files = [f"{name}{suffix}" for suffix in importlib.machinery.EXTENSION_SUFFIXES]
    if not any(Path(folder, file).is_file() for folder in searched for file in files):
        raise ImportError(
            f"{module} is not built for this Python: run `{build_command(variant)}` in the folder "
            f"of the checkout{', or `pip install -e .`' if not own else ''}"
        )
    return [] if searched is package_path else list(searched)


def build_command(variant: Variant = NATIVE) -> str:
    """Return the command that builds: the script in a checkout, else the module."""
    script = "python build.py" if is_checkout() else "python -m pufferenv.build"
    flag = "" if variant.kind == "release" else f" --{variant.kind}"
    return f"{'PUFFER_ISA=baseline ' if variant.portable else ''}{script}{flag}"


def conflict() -> str | None:
    """Return advice if PyPI's `pufferlib` is installed beside this package, else None."""
    import importlib.metadata  # here: importing it takes 20 ms

    try:
        other = importlib.metadata.version("pufferlib")
    except importlib.metadata.PackageNotFoundError:
        return None
    return (
        f"pufferlib {other} is installed beside pufferenv {__version__}. Both bring a package "
        "`pufferlib` and a command `puffer`, and whichever was installed last has replaced files "
        "of the other: run `pip uninstall pufferlib pufferenv`, then install pufferenv again"
    )
