"""Matrix products and native passes, noted once and played without Python's lock between them.

A thread that plays a graph needs Python once, not once per operator: threads that share the work do
not wait for each other's lock, whose hand-over takes longer than a small product. Products are the
BLAS's that torch multiplies with, found in torch's own library. Where it is not found a graph does
the same through torch, call by call. Factors are float32 or both bfloat16, sums float32; torch,
which has no such product, rounds the sums to bfloat16 too.
"""

import contextlib
import functools
from collections.abc import Callable, Iterator
from typing import Any, Protocol

import numpy.typing as npt
import torch
from torch import Tensor

from pufferlib.kernels import _kernels
from pufferlib.runtime import blas
from pufferlib.runtime.tensors import as_array


class GraphInput:
    """A matrix (N, F) that a graph reads and that changes: what was put last."""

    def __init__(self, rows: int, columns: int, dtype: torch.dtype = torch.float32) -> None:
        self.dtype, self.shape = dtype, (rows, columns)
        self.given = _kernels.GraphInput(rows, columns, as_array(torch.empty(0, dtype=dtype)))
        self._array: npt.NDArray[Any] | None = None  # what was put, and which rows of it
        self._first, self._step = 0, 1
        self._whole, self._begin = self, 0

    def bind(self, array: npt.NDArray[Any], first: int = 0, step: int = 0) -> None:
        """Be rows `first`, first + step, ... of this one, as `shown`, of which only the rows are
        contiguous; with step 0 all of it, (N, F)."""
        self.given.bind(array, first, step)
        self._array, self._first, self._step = array, first, step or 1

    def rows(self, begin: int, end: int) -> "GraphInput":
        """Return rows [begin, end) of whatever this is."""
        part = GraphInput.__new__(GraphInput)
        part.dtype, part.shape = self.dtype, (end - begin, self.shape[1])
        part.given = self.given.rows(begin, end)
        part._whole, part._begin = self._whole, self._begin + begin
        return part

    @property
    def tensor(self) -> Tensor:
        """What this is now."""
        whole = self._whole
        if whole._array is None:
            raise ValueError(f"a matrix {whole.shape} that this graph reads was never put")
        first = whole._first + self._begin * whole._step
        last = first + (self.shape[0] - 1) * whole._step
        return torch.from_numpy(whole._array[first : last + 1 : whole._step]).view(self.dtype)


class Executor(Protocol):
    """Does products and passes, or notes them."""

    def product(
        self,
        left: Tensor | GraphInput,
        right: Tensor | GraphInput,
        out: Tensor,
        *,
        add: bool = False,
    ) -> None:
        """Left (N, F) @ right (F, D) -> out (N, D), or added to it."""

    def call(self, native: Callable[..., object], **given: Any) -> None:
        """Run a pass with these arrays."""


class Eager:
    """Does at once what it is told, through torch."""

    def product(
        self,
        left: Tensor | GraphInput,
        right: Tensor | GraphInput,
        out: Tensor,
        *,
        add: bool = False,
    ) -> None:
        """Left (N, F) @ right (F, D) -> out (N, D), or added to it."""
        factors = [part.tensor if isinstance(part, GraphInput) else part for part in (left, right)]
        if left.dtype != out.dtype:
            product = torch.mm(*factors)
            (out.add_ if add else out.copy_)(product)
        elif add:
            torch.addmm(out, *factors, out=out)
        else:
            torch.mm(*factors, out=out)

    def call(self, native: Callable[..., object], **given: Any) -> None:
        """Run a pass with these arrays."""
        native(**given)


EAGER = Eager()
ALONE = _kernels.ThreadPool(1)


class Graph:
    """Notes products and passes on memory that stays where it is; `replay` does them.

    That is done without Python in between if torch's BLAS was found and multiplies such factors,
    else through torch.
    """

    def __init__(self) -> None:
        self._native = _kernels.Graph() if torch.float32 in blas.gemm_dtypes() else None
        self._calls: list[Callable[[], object]] = []

    @property
    def native(self) -> _kernels.Graph | None:
        """What is played without Python, if this can be."""
        return self._native

    def product(
        self,
        left: Tensor | GraphInput,
        right: Tensor | GraphInput,
        out: Tensor,
        *,
        add: bool = False,
    ) -> None:
        """Left (N, F) @ right (F, D) -> out (N, D), or added to it."""
        self._calls.append(functools.partial(EAGER.product, left, right, out, add=add))
        if left.dtype not in blas.gemm_dtypes():
            self._native = None
        if self._native is not None:
            factors = {"left": _factor(left), "right": _factor(right)}
            _kernels.product(**factors, out=out.numpy(), add=add, graph=self._native)

    def call(self, native: Callable[..., object], **given: Any) -> None:
        """Run a pass with these arrays."""
        self._calls.append(functools.partial(native, **given))
        if self._native is not None:
            native(**given, graph=self._native)

    @functools.cached_property
    def _alone(self) -> _kernels.LaunchPlan:
        return _kernels.LaunchPlan([[self._native]] if self._native else [])

    def replay(self) -> None:
        """Do all that was noted, in its order."""
        if self.native is not None and not is_watched():
            ALONE.run(self._alone)
            return
        for call in self._calls:
            call()


class _Watched:
    by = 0  # who watch torch's operators


@contextlib.contextmanager
def watched() -> Iterator[None]:
    """Have graphs played through torch meanwhile, where its operators can be watched."""
    _Watched.by += 1
    try:
        yield
    finally:
        _Watched.by -= 1


def is_watched() -> bool:
    """Return whether somebody does."""
    return _Watched.by > 0


def _factor(part: Tensor | GraphInput) -> Any:
    return part.given if isinstance(part, GraphInput) else as_array(part)
