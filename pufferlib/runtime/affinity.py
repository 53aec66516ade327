"""Pin threads to processor cores of their own.

The OS often puts two threads that wait for each other on one core, where together they are slower
than one thread alone. Where the OS cannot pin threads, nothing happens. This module does not import
torch.
"""

import contextlib
import itertools
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from pufferenv.cores import one_cpu_per_core

TASKS = Path("/proc/self/task")


def thread_ids() -> set[int]:
    """Return the OS's ids of this process's threads; empty where the OS does not list them."""
    return {int(task.name) for task in TASKS.iterdir()} if TASKS.is_dir() else set()


def pin_apart(workers: Iterable[int]) -> None:
    """Pin these threads, given by id, to one core each; the first core is left to the caller."""
    if not hasattr(os, "sched_setaffinity"):
        return
    for thread, cpu in zip(sorted(workers), itertools.cycle(one_cpu_per_core()[1:]), strict=False):
        try:
            os.sched_setaffinity(thread, {cpu})
        except OSError:  # the thread has ended, or the OS forbids it; it then runs where it did
            continue


@contextlib.contextmanager
def on_first_core() -> Iterator[None]:
    """Pin the calling thread to the first core, where `pin_apart` puts no worker, until the end."""
    if not hasattr(os, "sched_setaffinity"):
        yield
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(before)})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)
