"""Memory that this process and its workers share, without a name that could be left behind.

All arrays are in one unnamed file, which grows by one mapping per array. Workers inherit its
descriptor and map the same ranges. The OS frees the memory when the last process that maps it ends,
even if that process is killed.
"""

from __future__ import annotations

import mmap
import os
import tempfile
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt


class Location(NamedTuple):
    """The offset, shape and dtype of an array in the file."""

    offset: int  # bytes
    shape: tuple[int, ...]
    dtype: str


class SharedMemory:
    """An unnamed file of arrays. `fd`: its descriptor, until `close`."""

    def __init__(self) -> None:
        if hasattr(os, "memfd_create"):
            self.fd = os.memfd_create("pufferenv")
        else:  # macOS
            with tempfile.TemporaryFile() as file:
                self.fd = os.dup(file.fileno())
        self._end = 0
        self._locations: dict[int, Location] = {}  # by address of the array

    def array(self, shape: tuple[int, ...], dtype: np.dtype[Any]) -> npt.NDArray[Any]:
        """Return a zeroed, page-aligned array. Raise MemoryError if it does not fit."""
        location = Location(self._end, shape, dtype.str)
        size = max(1, int(np.prod(shape, dtype=np.int64)) * dtype.itemsize)
        pages = -(-size // mmap.ALLOCATIONGRANULARITY) * mmap.ALLOCATIONGRANULARITY
        try:
            os.ftruncate(self.fd, self._end + pages)
            array = map_array(self.fd, location)
        except (OSError, OverflowError, ValueError):
            raise MemoryError(
                f"an array needs {size / 2**30:,.1f} GiB of shared memory, more than is available: "
                "use fewer num_envs, a shorter horizon or fewer batch_rows"
            ) from None
        self._end += pages
        self._locations[array.ctypes.data] = location
        return array

    def locate(self, array: npt.NDArray[Any]) -> Location:
        """Return the location of an array that `array` returned."""
        return self._locations[array.ctypes.data]

    def close(self) -> None:
        """Close the descriptor; the arrays stay valid."""
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1


def map_array(fd: int, location: Location) -> npt.NDArray[Any]:
    """Map an array that another process made with `SharedMemory.array`."""
    dtype = np.dtype(location.dtype)
    count = int(np.prod(location.shape, dtype=np.int64))
    pages = mmap.mmap(fd, max(1, count * dtype.itemsize), offset=location.offset)
    return np.frombuffer(pages, dtype, count).reshape(location.shape)
