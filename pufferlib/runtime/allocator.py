"""Memory of tensors: keep freed blocks in the process, and put large arrays on huge pages.

glibc returns large blocks to the kernel as soon as they are freed. Every page of the next such
block is then a page fault again, which takes a tenth of an update's time (measured). Other C
libraries are left as they are.
"""

import ctypes
import math
import sys
from collections.abc import Sequence

import torch
from torch import Tensor

from pufferenv.engine.arrays import own_memory

M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4  # <malloc.h>
UNLIMITED = 2**31 - 1  # bytes: more than a program ever frees at the heap's end


def keep_freed() -> bool:
    """Make this process's malloc keep freed blocks; return whether it can."""
    if not sys.platform.startswith("linux"):
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    return bool(mallopt and mallopt(M_MMAP_MAX, 0) and mallopt(M_TRIM_THRESHOLD, UNLIMITED))


def zeros(
    shape: Sequence[int], usual: int | None = None, dtype: torch.dtype = torch.float32
) -> Tensor:
    """Return zeros, on huge pages if the array is large and the OS has them.

    For arrays that every update reads: with pages of 4 KiB, a twentieth of its time is spent on
    page table lookups. `usual` says how many entries of the first dimension are certainly used;
    the rest becomes resident page by page, on first use. None means all.
    """
    usual_bytes = None if usual is None else dtype.itemsize * usual * math.prod(shape[1:])
    memory = own_memory(dtype.itemsize * math.prod(shape), usual=usual_bytes)
    return torch.from_numpy(memory).view(dtype).view(tuple(shape))
