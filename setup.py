"""The compiled half of the distribution; all that is plain data stands in pyproject.toml."""

import os
import sys
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

sys.path.insert(0, str(Path(__file__).resolve().parent))
from pufferenv import build


def sources(package: str) -> list[str]:
    """What a package's extension module is made of, relative to this folder."""
    found = sorted(p for ext in ("pyx", "c") for p in (build.ROOT / package).glob(f"*.{ext}"))
    return [os.path.relpath(path, build.ROOT) for path in found if path.name != "env.c"]


class BuildExt(build_ext):
    """Has pufferenv.build do the work; setuptools keeps the books of what comes out and where."""

    def run(self) -> None:
        into = build.ROOT if self.inplace else Path(self.build_lib).resolve()
        try:
            build.build_all(into=into, portable=not self.inplace)
        except build.BuildError as error:
            raise SystemExit(f"error: {error}") from None

    def get_ext_filename(self, fullname: str) -> str:
        """A game is a plain shared object, no module of Python: ocean/x.so."""
        if fullname.rpartition(".")[2] in build.headers():
            return fullname.replace(".", os.sep) + ".so"
        return super().get_ext_filename(fullname)


setup(
    cmdclass={"build_ext": BuildExt},
    ext_modules=[
        *(Extension(name, sources(name.partition(".")[0])) for name in build.MODULES),
        *(Extension(f"ocean.{name}", [f"ocean/{name}.h"]) for name in build.headers()),
    ],
)
