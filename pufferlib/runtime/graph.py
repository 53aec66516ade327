"""Matrix products and native passes, noted once and played without Python's lock between them.

A thread that plays a graph needs Python once, not once per operator: threads that share the work do
not wait for each other's lock, whose hand-over takes longer than a small product. Products are the
BLAS's that torch multiplies with, found in torch's own library. Where it is not found a graph does
the same through torch, call by call. Factors are float32 or both bfloat16, sums float32; torch,
which has no such product, rounds the sums to bfloat16 too.
"""

import contextlib
import ctypes
import functools
import platform
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Protocol

import numpy.typing as npt
import torch
from torch import Tensor

from pufferlib.kernels import _kernels


class Input:
    """A matrix (N, F) that a graph reads and that changes: what was put last."""

    def __init__(self, rows: int, columns: int, dtype: torch.dtype = torch.float32) -> None:
        self.dtype, self.shape = dtype, (rows, columns)
        self.given = _kernels.Given(rows, columns, shown(torch.empty(0, dtype=dtype)))
        self._array: npt.NDArray[Any] | None = None  # what was put, and which rows of it
        self._first, self._step = 0, 1
        self._whole, self._begin = self, 0

    def put(self, array: npt.NDArray[Any], first: int = 0, step: int = 0) -> None:
        """Be rows `first`, first + step, ... of this one, as `shown`, of which only the rows are
        contiguous; with step 0 all of it, (N, F)."""
        self.given.put(array, first, step)
        self._array, self._first, self._step = array, first, step or 1

    def rows(self, begin: int, end: int) -> "Input":
        """Return rows [begin, end) of whatever this is."""
        part = Input.__new__(Input)
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


def shown(tensor: Tensor) -> npt.NDArray[Any]:
    """Return the tensor as an array; bfloat16, which numpy has not, as uint16."""
    return (tensor.view(torch.uint16) if tensor.dtype == torch.bfloat16 else tensor).numpy()


class Executor(Protocol):
    """Does products and passes, or notes them."""

    def product(
        self, left: Tensor | Input, right: Tensor | Input, out: Tensor, *, add: bool = False
    ) -> None:
        """Left (N, F) @ right (F, D) -> out (N, D), or added to it."""

    def run(self, native: Callable[..., object], **given: Any) -> None:
        """Run a pass with these arrays."""


class Eager:
    """Does at once what it is told, through torch."""

    def product(
        self, left: Tensor | Input, right: Tensor | Input, out: Tensor, *, add: bool = False
    ) -> None:
        """Left (N, F) @ right (F, D) -> out (N, D), or added to it."""
        factors = [part.tensor if isinstance(part, Input) else part for part in (left, right)]
        if left.dtype != out.dtype:
            product = torch.mm(*factors)
            (out.add_ if add else out.copy_)(product)
        elif add:
            torch.addmm(out, *factors, out=out)
        else:
            torch.mm(*factors, out=out)

    def run(self, native: Callable[..., object], **given: Any) -> None:
        """Run a pass with these arrays."""
        native(**given)


EAGER = Eager()
ALONE = _kernels.ThreadPool(1)


class Graph:
    """Notes products and passes on memory that stays where it is; `play` does them.

    That is done without Python in between if torch's BLAS was found and multiplies such factors,
    else through torch.
    """

    def __init__(self) -> None:
        self._native = _kernels.Graph() if torch.float32 in multiplied() else None
        self._calls: list[Callable[[], object]] = []

    @property
    def native(self) -> _kernels.Graph | None:
        """What is played without Python, if this can be."""
        return self._native

    def product(
        self, left: Tensor | Input, right: Tensor | Input, out: Tensor, *, add: bool = False
    ) -> None:
        """Left (N, F) @ right (F, D) -> out (N, D), or added to it."""
        self._calls.append(functools.partial(EAGER.product, left, right, out, add=add))
        if left.dtype not in multiplied():
            self._native = None
        if self._native is not None:
            factors = {"left": _factor(left), "right": _factor(right)}
            _kernels.product(**factors, out=out.numpy(), add=add, graph=self._native)

    def run(self, native: Callable[..., object], **given: Any) -> None:
        """Run a pass with these arrays."""
        self._calls.append(functools.partial(native, **given))
        if self._native is not None:
            native(**given, graph=self._native)

    @functools.cached_property
    def _alone(self) -> _kernels.Work:
        return _kernels.Work([[self._native]] if self._native else [])

    def play(self) -> None:
        """Do all that was noted, in its order."""
        if self.native is not None and not is_watched():
            ALONE.play(self._alone)
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


@functools.cache
def multiplied() -> frozenset[torch.dtype]:
    """Find the BLAS in torch's library, see what it multiplies as torch does, and use it for that:
    factors of float32, or of these and bfloat16."""
    if sys.platform != "linux" or platform.machine() != "x86_64":
        return frozenset()  # elsewhere it is another library, whose threads were not tried
    try:
        library = ctypes.CDLL(str(Path(torch.__file__).parent / "lib" / "libtorch_cpu.so"))
    except OSError:
        return frozenset()
    names = ("sgemm_", "gemm_bf16bf16f32_", "MKL_Set_Num_Threads_Local")
    sgemm, bgemm, set_num_threads = (_address(library, name) for name in names)
    if not sgemm or not set_num_threads:  # it keeps its BLAS to itself
        return frozenset()
    _kernels.use_blas(sgemm, bgemm, set_num_threads)
    dtypes = [torch.float32, torch.bfloat16] if bgemm else [torch.float32]
    return frozenset(dtype for dtype in dtypes if _multiplies(dtype))


def _address(library: ctypes.CDLL, name: str) -> int:
    """Return where a function of the library is, 0 if it has none of this name."""
    function = getattr(library, name, None)
    return 0 if function is None else ctypes.cast(function, ctypes.c_void_p).value or 0


def _multiplies(dtype: torch.dtype) -> bool:
    """Return whether a product of such factors is torch's of the same in float32."""
    left, right, out = (torch.arange(n, dtype=torch.float32).sin() for n in (15, 35, 21))
    left, right, out = left.view(5, 3).t().to(dtype), right.view(5, 7).to(dtype), out.view(3, 7)
    graph = _kernels.Graph()
    wanted = torch.addmm(out, left.float(), right.float())
    _kernels.product(
        left=_factor(left), right=_factor(right), out=out.numpy(), add=True, graph=graph
    )
    ALONE.play(_kernels.Work([[graph]]))
    return torch.allclose(out, wanted, atol=1e-5)


def _factor(part: Tensor | Input) -> Any:
    return part.given if isinstance(part, Input) else shown(part)
