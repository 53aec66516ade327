"""Memory that this process and its workers share: no name, so nothing can be left behind.

A file without a name grows by one mapping per array; workers inherit its descriptor and map the
same places. The last process that has it mapped frees it, however that process ends.
"""

from __future__ import annotations

import mmap
import os
import tempfile
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt


class Place(NamedTuple):
    """Where an array lies in the file."""

    offset: int
    shape: tuple[int, ...]
    dtype: str


class Shared:
    """A growing piece of shared memory. `fd`: its descriptor, which is closed with `close`."""

    def __init__(self) -> None:
        if hasattr(os, "memfd_create"):
            self.fd = os.memfd_create("pufferenv")
        else:  # macOS
            with tempfile.TemporaryFile() as file:
                self.fd = os.dup(file.fileno())
        self._end = 0
        self._places: dict[int, Place] = {}  # by address

    def array(self, shape: tuple[int, ...], dtype: np.dtype[Any]) -> npt.NDArray[Any]:
        """Return a zeroed array, page-aligned. Raise MemoryError where there is no room."""
        place = Place(self._end, shape, dtype.str)
        size = max(1, int(np.prod(shape, dtype=np.int64)) * dtype.itemsize)
        grain = mmap.ALLOCATIONGRANULARITY
        try:
            os.ftruncate(self.fd, self._end + -(-size // grain) * grain)
            array = mapped(self.fd, place)
        except (OSError, OverflowError, ValueError):
            raise MemoryError(
                f"one array needs {size / 2**30:,.1f} GiB of shared memory, more than there is: "
                "give fewer num_envs, or a shorter horizon or smaller batch of rows"
            ) from None
        self._end += -(-size // grain) * grain
        self._places[array.ctypes.data] = place
        return array

    def place(self, array: npt.NDArray[Any]) -> Place:
        """Return where an array lies that `array` made."""
        return self._places[array.ctypes.data]

    def close(self) -> None:
        """Close the descriptor; arrays stay valid."""
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1


def mapped(fd: int, place: Place) -> npt.NDArray[Any]:
    """Map an array that a process made with `Shared.array`."""
    dtype = np.dtype(place.dtype)
    count = int(np.prod(place.shape, dtype=np.int64))
    pages = mmap.mmap(fd, max(1, count * dtype.itemsize), offset=place.offset)
    return np.frombuffer(pages, dtype, count).reshape(place.shape)
