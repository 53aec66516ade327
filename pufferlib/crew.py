"""Threads that share work evenly: the caller does the first job, each of the others one more.

They wait without spinning and are kept on cores of their own, the caller too while it works: two
threads that the OS puts on one core are slower than one.
"""

import os
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import torch

from pufferlib import cores

T = TypeVar("T")


class Crew:
    """`size` threads with the calling one; in the others torch's operators use no more threads."""

    def __init__(self, size: int) -> None:
        self.size, self._process = size, os.getpid()
        self._pool: ThreadPoolExecutor | None = None
        if size > 1:
            started: list[int] = []
            together = threading.Barrier(size)

            def start() -> None:
                torch.set_num_threads(1)  # holds for this thread
                started.append(threading.get_native_id())
                together.wait()

            self._pool = ThreadPoolExecutor(size - 1, "crew", start)
            for _ in range(size - 1):
                self._pool.submit(int)
            together.wait()
            cores.keep_apart(started)

    def run(self, jobs: Sequence[Callable[[], T]]) -> list[T]:
        """Do at most `size` jobs side by side; return what they return, in their order.

        What a job raises is raised when all are done, the first of them first. Raise RuntimeError
        in a fork of the process that the threads are of.
        """
        if not self._pool or len(jobs) == 1:
            return [job() for job in jobs]
        if os.getpid() != self._process:
            raise RuntimeError(
                f"the trainer's threads were started in process {self._process} and did not follow "
                f"the fork into process {os.getpid()}: make a new trainer here"
            )
        with cores.on_first():
            others = [self._pool.submit(job) for job in jobs[1:]]
            try:
                first = jobs[0]()
            finally:
                for other in others:
                    other.exception()  # waits
        return [first, *(other.result() for other in others)]

    def close(self) -> None:
        """End the threads; twice is fine."""
        if self._pool:
            self._pool.shutdown()
