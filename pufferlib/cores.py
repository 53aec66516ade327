"""How many cores this process may use: affinity, cgroup limits and shared cores taken together."""

import math
import os
from pathlib import Path

CPUS = Path("/sys/devices/system/cpu")
CGROUP = Path("/sys/fs/cgroup/cpu.max")


def usable(cpus: Path = CPUS, cgroup: Path = CGROUP) -> int:
    """Return the physical cores that this process is allowed to run on, at least 1."""
    if hasattr(os, "sched_getaffinity"):
        logical = os.sched_getaffinity(0)
    else:
        logical = set(range(os.cpu_count() or 1))
    cores = {_read(cpus / f"cpu{i}/topology/thread_siblings_list") or str(i) for i in logical}
    return max(1, min(len(cores), _quota(cgroup)))


def _quota(cgroup: Path) -> int:
    """Return the cores that a cgroup's `QUOTA PERIOD` in microseconds amounts to, rounded up."""
    quota, _, period = _read(cgroup).partition(" ")
    if not quota.isdigit() or not period.isdigit():  # `max`, or no such file
        return 2**31
    return math.ceil(int(quota) / int(period))


def _read(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:
        return ""
