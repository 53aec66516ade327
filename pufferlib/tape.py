"""Matrix products and native passes, noted once and played without Python's lock between them.

A thread that plays a tape needs Python once, not once per operator: threads that share the work do
not wait for each other's lock, whose hand-over takes longer than a small product. Products are the
BLAS's that torch multiplies with, found in torch's own library. Where it is not found, and for what
is no native pass, a tape does the same through torch, call by call.
"""

import contextlib
import ctypes
import functools
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor

from pufferlib import _kernels


class Input:
    """A matrix (N, F) that a tape reads and that changes: what was put last."""

    def __init__(self, rows: int, columns: int) -> None:
        self.given = _kernels.Given(rows, columns)
        self.tensor = torch.empty(0)

    def put(self, tensor: Tensor) -> None:
        """Be this one, of which only the rows are contiguous."""
        self.tensor = tensor
        if tensor.dtype == torch.float32:
            self.given.put(tensor.numpy())


class Doer(Protocol):
    """Does products and passes, or notes them."""

    def product(
        self, left: Tensor | Input, right: Tensor | Input, out: Tensor, *, add: bool = False
    ) -> None:
        """Left (N, F) @ right (F, D) -> out (N, D), or added to it."""

    def run(self, native: Callable[..., None], **given: Any) -> None:
        """Run a pass with these arrays."""

    def do(self, call: Callable[[], object]) -> None:
        """Call what is no pass."""


class Now:
    """Does at once what it is told, through torch."""

    def product(
        self, left: Tensor | Input, right: Tensor | Input, out: Tensor, *, add: bool = False
    ) -> None:
        """Left (N, F) @ right (F, D) -> out (N, D), or added to it."""
        factors = (part.tensor if isinstance(part, Input) else part for part in (left, right))
        if add:
            torch.addmm(out, *factors, out=out)
        else:
            torch.mm(*factors, out=out)

    def run(self, native: Callable[..., None], **given: Any) -> None:
        """Run a pass with these arrays."""
        native(**given)

    def do(self, call: Callable[[], object]) -> None:
        """Call what is no pass."""
        call()


NOW = Now()


class Tape:
    """Notes products and passes on memory that stays where it is; `play` does them.

    `native`: without Python in between, if torch's BLAS was found; with anything but float32, or
    calls that are no pass, it is done through torch.
    """

    def __init__(self, *, native: bool = True) -> None:
        self._native = _kernels.Tape() if native and sgemm() else None
        self._calls: list[Callable[[], object]] = []

    def product(
        self, left: Tensor | Input, right: Tensor | Input, out: Tensor, *, add: bool = False
    ) -> None:
        """Left (N, F) @ right (F, D) -> out (N, D), or added to it."""
        self._calls.append(functools.partial(NOW.product, left, right, out, add=add))
        if self._native is not None:
            factors = {"left": _factor(left), "right": _factor(right)}
            _kernels.product(**factors, out=out.numpy(), add=add, tape=self._native)

    def run(self, native: Callable[..., None], **given: Any) -> None:
        """Run a pass with these arrays."""
        self._calls.append(functools.partial(native, **given))
        if self._native is not None:
            native(**given, tape=self._native)

    def do(self, call: Callable[[], object]) -> None:
        """Call what is no pass."""
        self._calls.append(call)
        self._native = None

    def play(self) -> None:
        """Do all that was noted, in its order."""
        if self._native is not None and not _Watched.by:
            self._native.play()
            return
        for call in self._calls:
            call()


class _Watched:
    by = 0  # who watch torch's operators


@contextlib.contextmanager
def watched() -> Iterator[None]:
    """Have tapes played through torch meanwhile, where its operators can be watched."""
    _Watched.by += 1
    try:
        yield
    finally:
        _Watched.by -= 1


@functools.cache
def sgemm() -> bool:
    """Find the BLAS in torch's library, see whether it multiplies as torch does, and use it."""
    name = {"darwin": "libtorch_cpu.dylib", "win32": "torch_cpu.dll"}.get(
        sys.platform, "libtorch_cpu.so"
    )
    try:
        library = ctypes.CDLL(str(Path(torch.__file__).parent / "lib" / name))
        address = ctypes.cast(library.sgemm_, ctypes.c_void_p).value or 0
    except (OSError, AttributeError):  # no such file, or it keeps its BLAS to itself
        return False
    _kernels.use_sgemm(address)
    left, right, out = (torch.arange(n, dtype=torch.float32).sin() for n in (15, 35, 21))
    left, right, out = left.view(5, 3).t(), right.view(5, 7), out.view(3, 7)
    tape = _kernels.Tape()
    wanted = torch.addmm(out, left, right)
    _kernels.product(left=left.numpy(), right=right.numpy(), out=out.numpy(), add=True, tape=tape)
    tape.play()
    return torch.allclose(out, wanted, atol=1e-5)


def _factor(part: Tensor | Input) -> Any:
    return part.given if isinstance(part, Input) else part.numpy()
