"""Memory of tensors: what operators free stays in the process, what is kept is on huge pages.

glibc gives large blocks back to the kernel at once, and each page of the next such block is a page
fault again: a tenth of an update's time, measured. Elsewhere nothing is changed.
"""

import ctypes
import math
import sys
from collections.abc import Sequence

import torch
from torch import Tensor

from pufferenv.engine.arrays import own_memory

M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4  # <malloc.h>
NEVER = 2**31 - 1  # bytes at the heap's end: more than a program frees


def keep_freed() -> bool:
    """Make malloc of this process keep what is freed; return whether it can."""
    if not sys.platform.startswith("linux"):
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    return bool(mallopt and mallopt(M_MMAP_MAX, 0) and mallopt(M_TRIM_THRESHOLD, NEVER))


def floats(
    shape: Sequence[int], usual: int | None = None, dtype: torch.dtype = torch.float32
) -> Tensor:
    """Make zeros of a type of floats, on huge pages where they are many and the OS has those.

    For what each update goes through: with pages of 4 KiB a twentieth of its time is lost in
    finding them. `usual`: how many of shape[0], from the first on, will surely be used; the others
    are resident page by page, as they are used. None: all.
    """
    sure = None if usual is None else dtype.itemsize * usual * math.prod(shape[1:])
    made = own_memory(dtype.itemsize * math.prod(shape), usual=sure)
    return torch.from_numpy(made).view(dtype).view(tuple(shape))
