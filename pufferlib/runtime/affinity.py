"""Pin each thread to its own processor core.

The OS often puts two threads that wait for each other on one core, where together they are slower
than one thread alone. If the OS cannot pin threads, these functions do nothing. This module does
not import torch.
"""

import contextlib
import itertools
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from pufferenv.cores import one_cpu_per_core

TASKS = Path("/proc/self/task")


def thread_ids() -> set[int]:
    """Return the OS ids of this process's threads; empty if the OS does not list them."""
    return {int(task.name) for task in TASKS.iterdir()} if TASKS.is_dir() else set()


def pin_apart(workers: Iterable[int]) -> None:
    """Pin each of these threads (OS ids) to its own core; the first core is left to the caller."""
    if not hasattr(os, "sched_setaffinity"):
        return
    for thread, cpu in zip(sorted(workers), itertools.cycle(one_cpu_per_core()[1:]), strict=False):
        try:
            os.sched_setaffinity(thread, {cpu})
        except OSError:  # the thread has ended, or the OS forbids pinning
            continue


@contextlib.contextmanager
def on_first_core() -> Iterator[None]:
    """Pin the calling thread to the first core, which has no worker, inside this context."""
    if not hasattr(os, "sched_setaffinity"):
        yield
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(before)})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)
