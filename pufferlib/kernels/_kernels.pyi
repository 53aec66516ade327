"""Stub of the compiled kernels, with the types of the classes.

Every kernel is a function of keyword arguments. Its docstring, in the _bindings_*.pxi beside this
file, gives the shapes of its arrays: `help(_kernels.sample)` prints it. The kernels have no entry
here, so a new kernel does not need one.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy.typing as npt

Array = npt.NDArray[Any]

def instruction_sets() -> list[str]:
    """Return the instruction sets that this build and this CPU have kernels for."""

def instruction_set() -> str:
    """Return the instruction set of the kernels in use."""

def use_instruction_set(isa: str) -> None:
    """Run the kernels for `isa` from now on, for tests."""

def __getattr__(name: str) -> Any: ...  # the kernels

class Graph:
    """Kernel calls with their arrays, checked once, replayed in order without the GIL."""

    def __len__(self) -> int: ...
    def replay(self) -> None:
        """Run all recorded calls in the calling thread."""

    def record_python(self, function: Callable[[], object]) -> None:
        """Record a call of a Python function; a replay takes the GIL to run it."""

class GraphInput:
    """A matrix (N, F) that graphs read at replay: the array of the last `bind`.

    `dtype` is a name, or an object whose name ends in one, such as torch.float32; arrays of
    bfloat16 are uint16.
    """

    shape: tuple[int, int]
    dtype: Any
    array: Array  # the rows that are bound now; ValueError if none are
    def __init__(self, rows: int, columns: int, dtype: Any) -> None: ...
    def bind(self, array: Array, first: int = 0, step: int = 0) -> None:
        """Read rows first, first + step, ... of this array from now on; step 0 reads all N rows."""

    def rows(self, begin: int, end: int) -> GraphInput:
        """Return an input of rows [begin, end) of whatever is bound to this one."""

class LaunchPlan:
    """Streams to replay in parallel; each is a list of (name, graph), replayed in order."""

    names: list[str]  # of the first stream's graphs
    def __init__(self, streams: Sequence[Sequence[tuple[str, Graph]]]) -> None: ...
    def __len__(self) -> int: ...

class ThreadPool:
    """`size` threads, including the calling one, that replay streams in parallel."""

    size: int
    def __init__(self, size: int) -> None: ...
    def run(self, plan: LaunchPlan) -> dict[str, float]:
        """Replay the streams; return the seconds of the first one's graphs, summed by name."""

    def close(self) -> None:
        """End the threads; may be called twice."""

class SampleParams:
    """The parameters of sampling that change between steps."""

    def set(self, *, version: int, num_acting: int) -> None: ...

class LossParams:
    """The parameters of the loss that change between minibatches."""

    def set(self, *, adv_mean: float, adv_scale: float, ent_coef: float, count: float) -> None: ...

class AdamParams:
    """The parameters of AdamW that change between steps."""

    def set(
        self, *, grad_scale: float, step_size: float, root_scale: float, weight_factor: float
    ) -> None: ...
