"""Threads that replay recorded graphs side by side, the calling thread the first stream.

A thread that waits yields its core for a millisecond, then sleeps. The threads are kept on cores of
their own, the caller too where it says so: two threads that the OS puts on one core are slower than
one.
"""

import contextlib
import os

from pufferlib.kernels import _kernels
from pufferlib.kernels._kernels import LaunchPlan
from pufferlib.runtime import affinity

__all__ = ["LaunchPlan", "ThreadPool"]


class ThreadPool(_kernels.ThreadPool):
    """`size` threads with the calling one. Raise RuntimeError if they cannot be started."""

    def __init__(self, size: int) -> None:
        before = affinity.thread_ids()
        super().__init__(size)
        self._process = os.getpid()
        affinity.pin_apart(affinity.thread_ids() - before)

    def run(self, plan: LaunchPlan) -> dict[str, float]:
        """Replay at most `size` streams; return the seconds of the first one's graphs, by name.

        Keep the calling thread `on_first_core` meanwhile. What a stream raises is raised when all
        have ended, that of the first stream first. Raise RuntimeError in a fork of the process that
        started the threads.
        """
        if len(plan) > 1 and os.getpid() != self._process:
            raise RuntimeError(
                f"the trainer's threads were started in process {self._process} and did not follow "
                f"the fork into process {os.getpid()}: make a new trainer here"
            )
        return super().run(plan)

    def on_first_core(self) -> contextlib.AbstractContextManager[None]:
        """Keep the calling thread on the first core, where no other thread of the pool is."""
        return affinity.on_first_core() if self.size > 1 else contextlib.nullcontext()
