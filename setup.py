"""The compiled half of the distribution; all that is plain data stands in pyproject.toml."""

import os
import sys
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

sys.path.insert(0, str(Path(__file__).resolve().parent))
from pufferenv import build


def sources(name: str) -> list[str]:
    """What an extension module is made of, relative to this folder."""
    files = [build.ROOT / f"{name.replace('.', os.sep)}.pyx", *build.c_files(name)]
    return [os.path.relpath(file, build.ROOT) for file in files]


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
        *(Extension(name, sources(name)) for name in build.MODULES),
        *(Extension(f"ocean.{name}", [f"ocean/{name}.h"]) for name in build.headers()),
    ],
)
