"""Threads that play graphs side by side: mostly the caller the first stream, each other one more.

Who waits lets others run for a millisecond, then sleeps. They are kept on cores of their own, the
caller too where it says so: two threads that the OS puts on one core are slower than one.
"""

import contextlib
import functools
import os
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import torch

from pufferlib.kernels import _kernels
from pufferlib.runtime import affinity
from pufferlib.runtime.graph import Graph, is_watched

Stream = Sequence[tuple[str, Graph]]  # one after the other, and what each is called


class LaunchPlan:
    """Streams whose graphs are whole, made ready to be played again and again, once at a time."""

    def __init__(self, streams: Sequence[Stream]) -> None:
        self.streams = streams
        self.names = [name for name, _ in streams[0]] if streams else []
        native = [[graph.native for _, graph in stream if graph.native] for stream in streams]
        whole = list(map(len, native)) == list(map(len, streams))
        self.native = _kernels.LaunchPlan(native) if whole else None


class ThreadPool:
    """`size` threads with the calling one. Raise RuntimeError if they cannot be started."""

    def __init__(self, size: int) -> None:
        self.size, self._process = size, os.getpid()
        before = affinity.thread_ids()
        self._native = _kernels.ThreadPool(size)
        affinity.pin_apart(affinity.thread_ids() - before)

    def run(self, work: LaunchPlan) -> dict[str, float]:
        """Play at most `size` streams; return the seconds of the first one's graphs, by name.

        Keep the calling thread `on_first_core` meanwhile. What a stream raises is raised when all
        are done, the first of them first. Raise RuntimeError in a fork of the process that the
        threads are of.
        """
        if len(work.streams) > 1 and os.getpid() != self._process:
            raise RuntimeError(
                f"the trainer's threads were started in process {self._process} and did not follow "
                f"the fork into process {os.getpid()}: make a new trainer here"
            )
        if work.native is None or is_watched():
            seconds = self._by_python(work.streams)
        else:
            seconds = self._native.run(work.native)
        taken: dict[str, float] = {}
        for name, passed in zip(work.names, seconds, strict=True):
            taken[name] = taken.get(name, 0.0) + passed
        return taken

    def on_first_core(self) -> contextlib.AbstractContextManager[None]:
        """Keep the calling thread on the first core, where none of the others is."""
        return affinity.on_first_core() if self.size > 1 else contextlib.nullcontext()

    def _by_python(self, streams: Sequence[Stream]) -> list[float]:
        """Play them in threads that need Python's lock for each call; rarely what happens."""
        others = [self._pool.submit(_play, stream) for stream in streams[1:]]
        try:
            seconds = _play(streams[0]) if streams else []
        finally:
            for other in others:
                other.exception()  # waits
        for other in others:
            other.result()
        return seconds

    @functools.cached_property
    def _pool(self) -> ThreadPoolExecutor:
        """Threads of Python, one fewer than there are."""
        started: list[int] = []
        together = threading.Barrier(self.size)

        def start() -> None:
            torch.set_num_threads(1)  # holds for this thread
            started.append(threading.get_native_id())
            together.wait()

        pool = ThreadPoolExecutor(max(1, self.size - 1), "thread_pool", start)
        for _ in range(self.size - 1):
            pool.submit(int)
        together.wait()
        affinity.pin_apart(started)
        return pool

    def close(self) -> None:
        """End the threads; twice is fine."""
        self._native.close()
        if "_pool" in self.__dict__:
            self._pool.shutdown()


@torch.no_grad()
def _play(stream: Stream) -> list[float]:
    seconds = []
    for _, graph in stream:
        begin = time.perf_counter()
        graph.replay()
        seconds.append(time.perf_counter() - begin)
    return seconds
