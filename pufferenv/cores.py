"""Count the processor cores that this process may use: affinity, cgroup quotas, hyperthreads.

pufferenv sizes the workers of external envs by it, pufferlib the threads that train.
"""

from __future__ import annotations

import itertools
import math
import os
from pathlib import Path

CPUS = Path("/sys/devices/system/cpu")
CGROUPS = Path("/sys/fs/cgroup")
OWN_CGROUPS = Path("/proc/self/cgroup")


def usable_cores(cpus: Path = CPUS, cgroups: Path = CGROUPS, own: Path = OWN_CGROUPS) -> int:
    """Return the number of physical cores that this process may run on, at least 1."""
    return max(1, min(len(one_cpu_per_core(cpus)), _quota(cgroups, own)))


def one_cpu_per_core(cpus: Path = CPUS) -> list[int]:
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


def _quota(cgroups: Path, own: Path) -> int:
    """Return the number of cores that the strictest cgroup of this process allows, rounded up.

    Version 2 has one file, `cpu.max`, with QUOTA PERIOD; version 1 has one file for each of them.
    Both are in microseconds.
    """
    least = math.inf
    for line in [*_read(own).splitlines(), "0::/"]:  # ID:CONTROLLERS:PATH
        _, controllers, path = line.split(":", 2)
        version2 = not controllers
        if not version2 and "cpu" not in controllers.split(","):
            continue
        # In a container this may be the host's path; the container's files are then at the root.
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
