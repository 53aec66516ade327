"""Memory for the engine's arrays: allocate it, or check memory that the caller gives."""

from __future__ import annotations

import contextlib
import mmap
from collections.abc import Mapping
from itertools import combinations
from typing import Any

import numpy as np
import numpy.typing as npt

Bytes = npt.NDArray[np.uint8]
HUGE_PAGE = 2 << 20  # bytes; arrays from this size on ask for huge pages
SMALL = 1 << 16  # bytes; larger arrays are mapped, so that unused pages take no memory
BUFFERS = {  # name of an engine's array: its name in `make(buffers=...)`
    "observation": "observations",
    "reward": "rewards",
    "termination": "terminations",
    "truncation": "truncations",
}


def own_memory(num_bytes: int, place: int = 0, usual: int | None = None) -> Bytes:
    """Return zeroed memory (num_bytes,), aligned to 64 bytes, on huge pages if it is large.

    usual: leading bytes that are certain to be used; only these are put on huge pages, because the
        rest takes no memory until it is used. None: all.
    place: number of the array among those used together. Each array begins at another multiple of
        64 bytes within its page, because arrays that all began a page would compete for the same
        sets of the cache.
    Raises MemoryError with the requested size and the options to reduce.
    """
    shift = 64 * (place % 64)
    if num_bytes < SMALL:
        room = np.zeros(num_bytes + 64 + shift, np.uint8)
        shift += -room.ctypes.data % 64
        return room[shift : shift + num_bytes]
    try:
        pages = mmap.mmap(-1, num_bytes + shift, flags=mmap.MAP_PRIVATE | mmap.MAP_ANON)
    except (OSError, OverflowError):
        raise MemoryError(
            f"one array needs {num_bytes / 2**30:,.1f} GiB of memory, more than there is: "
            f"reduce num_envs, the horizon, the batch or what is observed"
        ) from None
    huge = len(pages) if usual is None else min(len(pages), shift + usual)
    if hasattr(mmap, "MADV_HUGEPAGE") and huge >= HUGE_PAGE:
        with contextlib.suppress(OSError):  # a kernel without transparent huge pages
            pages.madvise(mmap.MADV_HUGEPAGE, 0, huge)
    return np.frombuffer(pages, np.uint8, num_bytes, shift)


def given_memory(name: str, given: Any, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Bytes:
    """Return a caller's buffer as bytes; ValueError if the array does not fit into it."""
    num_bytes = int(np.prod(shape, dtype=np.int64)) * dtype.itemsize
    what = f"{name} needs a C-contiguous, writable buffer of shape {tuple(shape)} and dtype {dtype}"
    try:
        view = memoryview(given)
    except TypeError:
        raise ValueError(f"{what}; {type(given).__name__} has no buffer") from None
    if view.readonly:
        raise ValueError(f"{what}; this one is read-only")
    if not view.c_contiguous:
        raise ValueError(f"{what}; this one has strides {view.strides}")
    if isinstance(given, np.ndarray) and (given.dtype != dtype or given.shape != tuple(shape)):
        raise ValueError(f"{what}; this one has shape {given.shape} and dtype {given.dtype}")
    if view.nbytes != num_bytes:
        raise ValueError(f"{what}, that is {num_bytes} bytes; this one has {view.nbytes}")
    array = np.frombuffer(view.cast("B") if view.nbytes else b"", np.uint8)
    if array.size and array.ctypes.data % dtype.itemsize:
        raise ValueError(f"{what}; this one is not aligned to {dtype.itemsize} bytes")
    return array


class GivenBuffers:
    """The memory that a caller gives for some of the arrays that `step` returns."""

    def __init__(self, given: Mapping[str, Any]) -> None:
        if unknown := sorted(set(given) - set(BUFFERS.values())):
            raise ValueError(f"buffers has no {unknown[0]!r}, only {', '.join(BUFFERS.values())}")
        self._given, self._arrays = given, dict[str, npt.NDArray[Any]]()

    def allocate(self, array: str, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Any:
        """Return the memory for an array of the engine; None if the caller gave none."""
        name = BUFFERS.get(array, "")
        if name not in self._given:
            return None
        memory = given_memory(name, self._given[name], shape, dtype)
        self._arrays[name] = memory.view(dtype).reshape(shape)
        return self._arrays[name]

    def refuse_overlaps(self) -> None:
        """Raise ValueError if two of the given buffers share memory."""
        for one, other in combinations(self._arrays, 2):
            if np.may_share_memory(self._arrays[one], self._arrays[other]):
                raise ValueError(f"buffers[{one!r}] and buffers[{other!r}] share memory")
