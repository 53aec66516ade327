"""Threads that replay recorded graphs in parallel; the calling thread replays the first stream.

A waiting thread yields its core for a millisecond, then sleeps. Each worker is pinned to its own
core, and the caller can stay on the first one, because two threads that share a core are slower
than one thread.
"""

import contextlib
import os

from pufferlib.kernels import _kernels
from pufferlib.kernels._kernels import LaunchPlan
from pufferlib.runtime import affinity

__all__ = ["LaunchPlan", "ThreadPool"]


class ThreadPool(_kernels.ThreadPool):
    """`size` threads, including the calling one. Raise RuntimeError if they cannot be started."""

    def __init__(self, size: int) -> None:
        before = affinity.thread_ids()
        super().__init__(size)
        self._process = os.getpid()
        affinity.pin_apart(affinity.thread_ids() - before)

    def run(self, plan: LaunchPlan) -> dict[str, float]:
        """Replay at most `size` streams; return the seconds of the first stream's graphs, by name.

        Call it inside `on_first_core`. After all streams have ended, the error of the first stream
        that failed is raised. Raise RuntimeError in a fork of the process that started the threads.
        """
        if len(plan) > 1 and os.getpid() != self._process:
            raise RuntimeError(
                f"the trainer's threads belong to process {self._process} and do not exist in its "
                f"fork, process {os.getpid()}: make a new trainer here"
            )
        return super().run(plan)

    def on_first_core(self) -> contextlib.AbstractContextManager[None]:
        """Keep the calling thread on the first core, which has no worker, inside this context."""
        return affinity.on_first_core() if self.size > 1 else contextlib.nullcontext()
