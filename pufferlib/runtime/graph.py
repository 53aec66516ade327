"""Matrix products and kernel calls, recorded once as a graph and replayed without Python.

A thread that replays a graph needs Python's lock once, not once per operator: threads that share
the work do not wait for each other's lock, whose hand-over takes longer than a small product.
Products are those of torch's BLAS (blas.py). Factors are float32 or both bfloat16, sums float32.
Where no BLAS is found, a replay calls torch for each product: slower, and torch rounds the sums of
bfloat16 factors to bfloat16 too.
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
    """What does products and kernel calls: `EAGER` at once, a `Graph` when it is replayed."""

    def product(self, left: Factor, right: Factor, out: Tensor, *, add: bool = False) -> None:
        """Multiply left (N, F) by right (F, D) into out (N, D), or add the product to it."""

    def call(self, kernel: Callable[..., object], **arguments: Any) -> None:
        """Call a kernel of pufferlib.kernels with these arrays."""


class Eager:
    """Does products, by torch, and kernel calls at once."""

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
    """What a factor of a product is like."""

    shape: tuple[int, int]
    stride: tuple[int, int]
    dtype: torch.dtype


class Product(NamedTuple):
    """A product that a graph recorded."""

    left: Matrix  # (N, F)
    right: Matrix  # (F, D)

    @property
    def flops(self) -> int:
        """Multiply-adds, times 2."""
        return 2 * self.left.shape[0] * self.left.shape[1] * self.right.shape[1]


class Graph(_kernels.Graph):
    """Products and kernel calls on memory that stays where it is; `replay` runs them.

    `torch_products`: multiply by torch although its BLAS was found.
    """

    def __init__(self, torch_products: bool = False) -> None:
        self.products: Counter[Product] = Counter()  # how often each is done in a replay
        self._dtypes = frozenset() if torch_products else blas.gemm_dtypes()

    @property
    def flops(self) -> int:
        """Multiply-adds of all products of a replay, times 2."""
        return sum(product.flops * count for product, count in self.products.items())

    def product(self, left: Factor, right: Factor, out: Tensor, *, add: bool = False) -> None:
        """Record left (N, F) @ right (F, D) -> out (N, D), or added to it."""
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
    """Return a factor as a tensor; of an input, the rows that are bound now."""
    if isinstance(factor, Tensor):
        return factor
    return torch.from_numpy(factor.array).view(factor.dtype)


def _describe(factor: Factor) -> Matrix:
    """Describe a factor; the rows of an input lie side by side, as far as is known."""
    rows, columns = factor.shape
    stride = (columns, 1) if isinstance(factor, GraphInput) else factor.stride()
    return Matrix((rows, columns), (stride[0], stride[1]), factor.dtype)
