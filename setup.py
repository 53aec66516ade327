"""The compiled half of the distribution; all that is plain data stands in pyproject.toml."""

import os
import sys
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

sys.path.insert(0, str(Path(__file__).resolve().parent))
from pufferenv._installation import Variant, selected
from pufferenv.toolchain import targets


def sources(name: str) -> list[str]:
    """Return the files of an extension module, relative to this folder."""
    files = [targets.ROOT / f"{name.replace('.', os.sep)}.pyx", *targets.c_files(name)]
    return [os.path.relpath(file, targets.ROOT) for file in files]


class BuildExt(build_ext):
    """Leaves the work to pufferenv.toolchain; setuptools records what is built and where."""

    def run(self) -> None:
        # In place, objects are native unless PUFFER_ISA=baseline; in a wheel they are portable.
        variant = Variant(portable=selected().portable or not self.inplace)
        into = None if self.inplace else Path(self.build_lib).resolve()
        try:
            targets.build_all(variant, into=into)
        except targets.BuildError as error:
            raise SystemExit(f"error: {error}") from None

    def get_ext_filename(self, fullname: str) -> str:
        """A game is a plain shared object, no module of Python: ocean/x.so, ocean/x.draw.so."""
        package, *name = fullname.split(".")
        if package == "ocean" and name[0] in targets.headers():
            return f"{package}{os.sep}{'.'.join(name)}.so"
        return super().get_ext_filename(fullname)


setup(
    cmdclass={"build_ext": BuildExt},
    ext_modules=[
        *(Extension(name, sources(name)) for name in targets.MODULES),
        *(
            Extension(f"ocean.{name}{part}", [f"ocean/{name}.h"])
            for name, header in targets.headers().items()
            for part in (("", ".draw") if targets.draws(header) else ("",))
        ),
    ],
)
