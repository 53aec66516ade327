"""How many cores this process may use: affinity, cgroup limits and shared cores taken together.

And threads kept on them: two threads that wait for each other often are often put on one core by
the OS, where together they are slower than one. No torch here.
"""

import contextlib
import itertools
import math
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

CPUS = Path("/sys/devices/system/cpu")
CGROUPS = Path("/sys/fs/cgroup")
OWN_CGROUPS = Path("/proc/self/cgroup")
TASKS = Path("/proc/self/task")


def usable(cpus: Path = CPUS, cgroups: Path = CGROUPS, own: Path = OWN_CGROUPS) -> int:
    """Return the physical cores that this process is allowed to run on, at least 1."""
    return max(1, min(len(places(cpus)), _quota(cgroups, own)))


def places(cpus: Path = CPUS) -> list[int]:
    """Return one logical core of each physical core that this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        logical = sorted(os.sched_getaffinity(0))
    else:
        logical = list(range(os.cpu_count() or 1))
    first: dict[str, int] = {}
    for cpu in logical:
        siblings = _read(cpus / f"cpu{cpu}/topology/thread_siblings_list") or str(cpu)
        first.setdefault(siblings, cpu)
    return list(first.values())


def threads() -> set[int]:
    """Return the OS ids of this process's threads; empty where the OS does not say."""
    return {int(task.name) for task in TASKS.iterdir()} if TASKS.is_dir() else set()


def keep_apart(workers: Iterable[int]) -> None:
    """Pin these threads to one core each, the first core left to the caller, where the OS can."""
    if not hasattr(os, "sched_setaffinity"):
        return
    for thread, cpu in zip(sorted(workers), itertools.cycle(places()[1:]), strict=False):
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


def _quota(cgroups: Path, own: Path) -> int:
    """Return the cores that the tightest cgroup around this process grants, rounded up.

    Version 2 has `cpu.max` with QUOTA PERIOD, version 1 a file each, microseconds all.
    """
    least = math.inf
    for line in [*_read(own).splitlines(), "0::/"]:  # ID:CONTROLLERS:PATH
        _, controllers, path = line.split(":", 2)
        version2 = not controllers
        if not version2 and "cpu" not in controllers.split(","):
            continue
        # In a container the path may be the host's, and what is at the top is its own.
        roots = [cgroups] if version2 else [cgroups / controllers, cgroups / "cpu"]
        parts = [part for part in path.split("/") if part]
        for root, depth in itertools.product(roots, range(len(parts) + 1)):
            folder = root.joinpath(*parts[:depth])
            if version2:
                quota, _, period = _read(folder / "cpu.max").partition(" ")
            else:
                quota = _read(folder / "cpu.cfs_quota_us")
                period = _read(folder / "cpu.cfs_period_us")
            if quota.isdigit() and period.isdigit():  # not `max`, -1 or no such file
                least = min(least, int(quota) / int(period))
    return math.ceil(least) if least < math.inf else 2**31


def _read(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:
        return ""
