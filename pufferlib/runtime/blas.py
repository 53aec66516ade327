"""Torch's BLAS: find the functions that torch multiplies with in its shared library.

Graphs call them without Python. A function is used only if its product equals torch's, which is
checked once.
"""

import ctypes
import functools
import platform
import sys
from pathlib import Path

import torch

from pufferlib.kernels import _kernels
from pufferlib.runtime.tensors import as_array


@functools.cache
def gemm_dtypes() -> frozenset[torch.dtype]:
    """Find the BLAS in torch's library for graphs to use; return the dtypes that it multiplies.

    These are float32 and bfloat16, or float32, or none; graphs call torch for products of other
    dtypes. A function is used only if its product equals torch's.
    """
    if sys.platform != "linux" or platform.machine() != "x86_64":
        return _through_torch()  # other platforms have another BLAS, not tested here
    try:
        library = ctypes.CDLL(str(Path(torch.__file__).parent / "lib" / "libtorch_cpu.so"))
    except OSError:
        return _through_torch()
    names = ("sgemm_", "gemm_bf16bf16f32_", "MKL_Set_Num_Threads_Local")
    sgemm, bgemm, set_num_threads = (_address(library, name) for name in names)
    if not sgemm or not set_num_threads:  # the library does not export its BLAS
        return _through_torch()
    _kernels.use_blas(sgemm, bgemm, set_num_threads)
    dtypes = [torch.float32, torch.bfloat16] if bgemm else [torch.float32]
    found = frozenset(dtype for dtype in dtypes if _multiplies(dtype))
    return found or _through_torch()


def _set_torch_threads(count: int) -> int:
    """Limit the threads of the calling thread's products, like the BLAS's own function."""
    torch.set_num_threads(count)
    return count


# Never freed, because C calls it.
_SET_TORCH_THREADS = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_int)(_set_torch_threads)


def _through_torch() -> frozenset[torch.dtype]:
    """Use no BLAS; threads that replay graphs limit torch instead."""
    _kernels.use_blas(0, 0, ctypes.cast(_SET_TORCH_THREADS, ctypes.c_void_p).value)
    return frozenset()


def _address(library: ctypes.CDLL, name: str) -> int:
    """Return the address of a function of the library, 0 if it has none of this name."""
    function = getattr(library, name, None)
    return 0 if function is None else ctypes.cast(function, ctypes.c_void_p).value or 0


def _multiplies(dtype: torch.dtype) -> bool:
    """Return whether a product of factors of this dtype equals torch's product in float32."""
    left, right, out = (torch.arange(n, dtype=torch.float32).sin() for n in (15, 35, 21))
    left, right, out = left.view(5, 3).t().to(dtype), right.view(5, 7).to(dtype), out.view(3, 7)
    graph = _kernels.Graph()
    wanted = torch.addmm(out, left.float(), right.float())
    _kernels.product(
        left=as_array(left), right=as_array(right), out=out.numpy(), add=True, graph=graph
    )
    graph.replay()
    return torch.allclose(out, wanted, atol=1e-5)
