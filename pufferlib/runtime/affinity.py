"""Keep threads on processor cores of their own.

The OS often puts two threads that wait for each other on one core, where together they are slower
than one thread alone. This module does not import torch.
"""

import contextlib
import itertools
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from pufferenv.cores import one_cpu_per_core

TASKS = Path("/proc/self/task")


def threads() -> set[int]:
    """Return the OS ids of this process's threads; empty where the OS does not say."""
    return {int(task.name) for task in TASKS.iterdir()} if TASKS.is_dir() else set()


def keep_apart(workers: Iterable[int]) -> None:
    """Pin these threads to one core each, the first core left to the caller, where the OS can."""
    if not hasattr(os, "sched_setaffinity"):
        return
    for thread, cpu in zip(sorted(workers), itertools.cycle(one_cpu_per_core()[1:]), strict=False):
        try:
            os.sched_setaffinity(thread, {cpu})
        except OSError:  # it has ended, or the OS forbids it: as good as before
            continue


@contextlib.contextmanager
def on_first() -> Iterator[None]:
    """Keep the calling thread on the first core meanwhile: there `keep_apart` puts nobody."""
    if not hasattr(os, "sched_setaffinity"):
        yield
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(before)})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)
