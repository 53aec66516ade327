"""Matrix products and kernel calls, recorded once as a graph and replayed without Python.

A thread takes the GIL once per replay, not once per operator. Handing the GIL to another thread
takes longer than a small product, so threads that share work would otherwise wait for each other.
Products call torch's BLAS (blas.py). Factors are both float32 or both bfloat16, sums are float32.
If no BLAS is found, a replay calls torch for each product, which is slower and rounds the sums of
bfloat16 factors to bfloat16.
"""

import functools
from collections import Counter
from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor

from pufferlib.kernels import _kernels
from pufferlib.kernels._kernels import GraphInput
from pufferlib.runtime import blas
from pufferlib.runtime.tensors import as_array

__all__ = ["EAGER", "Eager", "Executor", "Factor", "Graph", "GraphInput", "Matrix", "Product"]

Factor = Tensor | GraphInput


class Executor(Protocol):
    """Runs products and kernel calls: `EAGER` immediately, a `Graph` when it is replayed."""

    def product(self, left: Factor, right: Factor, out: Tensor, *, add: bool = False) -> None:
        """Multiply left (N, F) by right (F, D) into out (N, D), or add the product to it."""

    def call(self, kernel: Callable[..., object], **arguments: Any) -> None:
        """Call a kernel of pufferlib.kernels with these arrays."""


class Eager:
    """Runs kernel calls, and products by torch, immediately."""

    @torch.no_grad()
    def product(self, left: Factor, right: Factor, out: Tensor, *, add: bool = False) -> None:
        """Multiply left (N, F) by right (F, D) into out (N, D), or add the product to it."""
        a, b = _as_tensor(left), _as_tensor(right)
        if a.dtype != out.dtype:
            product = torch.mm(a, b)
            (out.add_ if add else out.copy_)(product)
        elif add:
            torch.addmm(out, a, b, out=out)
        else:
            torch.mm(a, b, out=out)

    def call(self, kernel: Callable[..., object], **arguments: Any) -> None:
        """Call a kernel of pufferlib.kernels with these arrays."""
        kernel(**arguments)


EAGER = Eager()


class Matrix(NamedTuple):
    """Shape, strides and dtype of a factor."""

    shape: tuple[int, int]
    stride: tuple[int, int]
    dtype: torch.dtype


class Product(NamedTuple):
    """A product that a graph recorded."""

    left: Matrix  # (N, F)
    right: Matrix  # (F, D)

    @property
    def flops(self) -> int:
        """The number of operations: two per multiply-add."""
        return 2 * self.left.shape[0] * self.left.shape[1] * self.right.shape[1]


class Graph(_kernels.Graph):
    """Products and kernel calls recorded with fixed memory; `replay` runs them.

    With `torch_products`, torch multiplies even if its BLAS was found.
    """

    def __init__(self, torch_products: bool = False) -> None:
        self.products: Counter[Product] = Counter()  # how often each runs in a replay
        self._dtypes = frozenset() if torch_products else blas.gemm_dtypes()

    @property
    def flops(self) -> int:
        """The number of operations of all products of a replay."""
        return sum(product.flops * count for product, count in self.products.items())

    def product(self, left: Factor, right: Factor, out: Tensor, *, add: bool = False) -> None:
        """Record left (N, F) @ right (F, D), written to or added to out (N, D)."""
        self.products[Product(_describe(left), _describe(right))] += 1
        if left.dtype in self._dtypes:
            factors = {"left": _as_factor(left), "right": _as_factor(right)}
            _kernels.product(**factors, out=as_array(out), add=add, graph=self)
        else:
            self.record_python(functools.partial(EAGER.product, left, right, out, add=add))

    def call(self, kernel: Callable[..., object], **arguments: Any) -> None:
        """Record a call of a kernel of pufferlib.kernels with these arrays."""
        kernel(**arguments, graph=self)


def _as_factor(factor: Factor) -> Any:
    return factor if isinstance(factor, GraphInput) else as_array(factor)


def _as_tensor(factor: Factor) -> Tensor:
    """Return a factor as a tensor; for a GraphInput, the rows that are bound now."""
    if isinstance(factor, Tensor):
        return factor
    return torch.from_numpy(factor.array).view(factor.dtype)


def _describe(factor: Factor) -> Matrix:
    """Describe a factor; the rows of a GraphInput are assumed to be adjacent."""
    rows, columns = factor.shape
    stride = (columns, 1) if isinstance(factor, GraphInput) else factor.stride()
    return Matrix((rows, columns), (stride[0], stride[1]), factor.dtype)
