"""The thread backend: each thread runs some of the envs, for envs that release the GIL."""

from __future__ import annotations

import concurrent.futures
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from pufferenv.external.backends.base import Arrays, EnvSetup, plain_memory, split_envs
from pufferenv.external.runners.base import Runner
from pufferenv.external.runners.factory import make_runner


class Worker(NamedTuple):
    """One thread, the envs that it runs, and the runner that steps them."""

    envs: slice
    thread: ThreadPoolExecutor  # has one thread, in which the envs are made and stepped
    runner: Runner


class Threads:
    """Steps envs in threads of this process."""

    same_process = True

    def __init__(self, setup: EnvSetup) -> None:
        self.setup = setup
        self._threads: list[ThreadPoolExecutor] = []
        self._workers: list[Worker] = []
        self._in_flight: dict[tuple[int, int], list[Future[None]]] = {}  # by range of envs

    def allocate(self, shape: tuple[int, ...], dtype: np.dtype[Any]) -> npt.NDArray[Any]:
        """Return memory of this process."""
        return plain_memory(shape, dtype)

    def start(self, arrays: Arrays) -> None:
        """Make the envs, each in the thread that will step it."""
        description, make, _, mode, *_ = self.setup
        parts = split_envs(self.setup)
        self._threads = [ThreadPoolExecutor(1, "pufferenv") for _ in parts]
        made = [
            thread.submit(make_runner, description, make, arrays, envs.start, envs.stop, mode)
            for envs, thread in zip(parts, self._threads, strict=True)
        ]
        runners = [future.result() for future in made]
        self._workers = [*map(Worker, parts, self._threads, runners)]

    def reset(
        self, seeds: npt.NDArray[np.uint64] | None, mask: npt.NDArray[np.bool_] | None
    ) -> None:
        """Begin new episodes."""
        begun = [
            thread.submit(runner.reset, envs.start, envs.stop, seeds, mask)
            for envs, thread, runner in self._workers
        ]
        for future in begun:
            future.result()

    def send(self, begin: int, end: int) -> None:
        """Start stepping envs [begin, end)."""
        self._in_flight[begin, end] = [
            thread.submit(runner.step, max(begin, envs.start), min(end, envs.stop))
            for envs, thread, runner in self._workers
            if begin < envs.stop and envs.start < end
        ]

    def ready(self, begin: int, end: int) -> bool:
        """Return whether a range that was sent has stepped."""
        return all(future.done() for future in self._in_flight.get((begin, end), ()))

    def wait(self, begin: int, end: int) -> None:
        """Wait until a range that was sent has stepped; raise EnvError if an env raised."""
        for future in self._in_flight.pop((begin, end)):
            future.result()

    def wait_any(self, ranges: Sequence[tuple[int, int]]) -> None:
        """Wait until one of these ranges has stepped."""
        while not any(self.ready(*one) for one in ranges):
            pending = [
                future for one in ranges for future in self._in_flight[one] if not future.done()
            ]
            concurrent.futures.wait(pending, return_when=concurrent.futures.FIRST_COMPLETED)

    def wait_all(self) -> None:
        """Wait for every range that was sent."""
        for one in list(self._in_flight):
            self.wait(*one)

    def render(self, envs: Sequence[int]) -> list[Any]:
        """Call the envs' own render(), each in the thread that steps it."""
        drawn: dict[int, Any] = {}
        for own, thread, runner in self._workers:
            part = [env for env in envs if own.start <= env < own.stop]
            drawn.update(zip(part, thread.submit(runner.render, part).result(), strict=True))
        return [drawn[env] for env in envs]

    def close(self) -> None:
        """Close the envs, and end the threads. A second call does nothing."""
        for _, thread, runner in self._workers:
            thread.submit(runner.close)
        for thread in self._threads:
            thread.shutdown()
        self._workers, self._threads = [], []
