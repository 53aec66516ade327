"""The build in use: the instruction set of the kernels, and whether the engine is native."""

from pufferenv.engine._engine import compiled
from pufferlib.kernels import _kernels


def describe_build() -> dict[str, str]:
    """Return the instruction set of the kernels and whether the engine is a native build.

    PUFFER_ISA changes both. Native code may use all instructions of this machine's CPU.
    """
    engine = "native" if compiled()["native"] else "portable"
    return {"kernels": _kernels.instruction_set(), "engine": engine}
