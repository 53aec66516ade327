"""Threads that play tapes side by side: the caller the first track, each of the others one more.

They wait without spinning and are kept on cores of their own, the caller too while it works: two
threads that the OS puts on one core are slower than one.
"""

import contextlib
import functools
import os
import threading
import time
from collections import defaultdict
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import torch

from pufferlib import _kernels, cores
from pufferlib.tape import Tape

Track = Sequence[tuple[str, Tape]]  # one after the other, and what each is called


class Crew:
    """`size` threads with the calling one. Raise RuntimeError if they cannot be started."""

    def __init__(self, size: int) -> None:
        self.size, self._process = size, os.getpid()
        before = cores.threads()
        self._native = _kernels.Crew(size)
        cores.keep_apart(cores.threads() - before)

    def play(self, tracks: Sequence[Track]) -> dict[str, float]:
        """Play at most `size` tracks; return the seconds of the first one's tapes, by name.

        What a track raises is raised when all are done, the first of them first. Raise RuntimeError
        in a fork of the process that the threads are of.
        """
        if len(tracks) > 1 and os.getpid() != self._process:
            raise RuntimeError(
                f"the trainer's threads were started in process {self._process} and did not follow "
                f"the fork into process {os.getpid()}: make a new trainer here"
            )
        native = [[tape.native for _, tape in track if tape.native] for track in tracks]
        taken: dict[str, float] = defaultdict(float)
        with cores.on_first() if len(tracks) > 1 else contextlib.nullcontext():
            if list(map(len, native)) == list(map(len, tracks)):
                seconds = self._native.play(native)
            else:
                seconds = self._by_python(tracks)
        for (name, _), passed in zip(tracks[0] if tracks else (), seconds, strict=True):
            taken[name] += passed
        return taken

    def _by_python(self, tracks: Sequence[Track]) -> list[float]:
        """Play them in threads that need Python's lock for each call; rarely what happens."""
        others = [self._pool.submit(_play, track) for track in tracks[1:]]
        try:
            seconds = _play(tracks[0])
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

        pool = ThreadPoolExecutor(max(1, self.size - 1), "crew", start)
        for _ in range(self.size - 1):
            pool.submit(int)
        together.wait()
        cores.keep_apart(started)
        return pool

    def close(self) -> None:
        """End the threads; twice is fine."""
        self._native.close()
        if "_pool" in self.__dict__:
            self._pool.shutdown()


@torch.no_grad()
def _play(track: Track) -> list[float]:
    seconds = []
    for _, tape in track:
        begin = time.perf_counter()
        tape.play()
        seconds.append(time.perf_counter() - begin)
    return seconds
