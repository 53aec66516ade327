"""The protocol of a backend, which runs envs in this thread, in other threads or in processes.

A backend allocates memory, makes runners (runners/factory.py) and calls them to reset and step
envs. Results do not depend on the backend: in each, env i has the same seed and takes the same
steps.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from pufferenv.cores import usable_cores
from pufferenv.engine.arrays import own_memory
from pufferenv.external.description import EnvDescription

Arrays = dict[str, npt.NDArray[Any]]


class EnvSetup(NamedTuple):
    """The envs that a backend makes and runs."""

    description: EnvDescription
    make: Callable[[], Any]
    num_envs: int
    mode: int  # the engine's
    num_workers: int | None  # None: one per usable core
    timeout: float | None  # seconds, for worker processes; None: no limit


class Backend(Protocol):
    """The methods that ExternalEngine calls. `begin`, `end`: a half-open range of envs."""

    def __init__(self, setup: EnvSetup) -> None:
        """Keep `setup`; envs are made by `start`."""

    same_process: bool  # runners can write to any memory of this process

    def allocate(self, shape: tuple[int, ...], dtype: np.dtype[Any]) -> npt.NDArray[Any]:
        """Return a zeroed array that the runners can read and write."""

    def start(self, arrays: Arrays) -> None:
        """Make the envs. `arrays`: all arrays of a Mailbox, including the engine's."""

    def reset(
        self, seeds: npt.NDArray[np.uint64] | None, mask: npt.NDArray[np.bool_] | None
    ) -> None:
        """Begin new episodes with `seeds` (E,) in the envs of `mask` (E,), and wait for them."""

    def send(self, begin: int, end: int) -> None:
        """Start stepping envs [begin, end); several ranges may be in flight."""

    def ready(self, begin: int, end: int) -> bool:
        """Return whether `wait` would return immediately for a range that was sent."""

    def wait(self, begin: int, end: int) -> None:
        """Wait until a range that was sent has stepped.

        Raise EnvError if an env raised or a worker died.
        """

    def wait_any(self, ranges: Sequence[tuple[int, int]]) -> None:
        """Wait until `ready` holds for one of these ranges."""

    def wait_all(self) -> None:
        """Wait for every range that was sent."""

    def render(self, envs: Sequence[int]) -> list[Any]:
        """Return what each env's own render() returns, and raise what it raises."""

    def close(self) -> None:
        """Close the envs. A second call does nothing."""


def split_envs(setup: EnvSetup) -> list[slice]:
    """Return each worker's envs, in order: as equal as possible, and whole calls of `make`."""
    block = setup.description.envs_per_make
    blocks = setup.num_envs // block
    count = min(setup.num_workers or usable_cores(), blocks)
    ends = [blocks * w // count * block for w in range(count + 1)]
    return [slice(*pair) for pair in itertools.pairwise(ends)]


def plain_memory(shape: tuple[int, ...], dtype: np.dtype[Any]) -> npt.NDArray[Any]:
    """Return a zeroed array in this process's memory."""
    size = int(np.prod(shape, dtype=np.int64)) * dtype.itemsize
    return own_memory(size).view(dtype).reshape(shape)
