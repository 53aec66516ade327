"""Memory for tensors: keep freed blocks in the process, and put large arrays on huge pages.

glibc returns large blocks to the kernel as soon as they are freed. Each page of the next such block
is then a page fault, which takes a tenth of an update's time (measured). Other C libraries are not
changed.
"""

import ctypes
import math
import sys
from collections.abc import Sequence

import torch
from torch import Tensor

from pufferenv.engine.arrays import own_memory

M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4  # <malloc.h>
UNLIMITED = 2**31 - 1  # bytes; more than a program frees at the end of the heap


def keep_freed() -> bool:
    """Configure malloc to keep freed blocks; return whether that is possible."""
    if not sys.platform.startswith("linux"):
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    return bool(mallopt and mallopt(M_MMAP_MAX, 0) and mallopt(M_TRIM_THRESHOLD, UNLIMITED))


def zeros(
    shape: Sequence[int], usual: int | None = None, dtype: torch.dtype = torch.float32
) -> Tensor:
    """Return zeros, on huge pages if the array is large and the OS has them.

    It is meant for arrays that every update reads: with pages of 4 KiB, an update spends a
    twentieth of its time on page table lookups. `usual` is the number of entries of the first
    dimension that are certainly used, or None for all; the rest becomes resident page by page, on
    first use.
    """
    usual_bytes = None if usual is None else dtype.itemsize * usual * math.prod(shape[1:])
    memory = own_memory(dtype.itemsize * math.prod(shape), usual=usual_bytes)
    return torch.from_numpy(memory).view(dtype).view(tuple(shape))
