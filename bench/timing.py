"""What the benchmarks share: pinning, interleaved rounds, a table, which machine and build."""

from __future__ import annotations

import os
import platform
import statistics
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from pufferenv.engine._engine import compiled


def describe() -> None:
    """Print what the figures depend on: processor, Python, numpy, compiler, flags."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = [line.split(":")[1].strip() for line in lines if line.startswith("model name")]
    built = compiled()
    print(f"{names[0] if names else platform.processor()}, {os.cpu_count()} logical cores")
    print(f"Python {platform.python_version()}, numpy {np.__version__}")
    print(f"{built['compiler']}, {built['flags']}{', DEBUG BUILD' if built['debug'] else ''}")


def cores() -> list[int]:
    """The logical cores this process may use; empty where the OS does not say."""
    return sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []


def pin(core: int | None, thread: int = 0) -> None:
    """Keep a thread (an OS id; 0: the caller) on one core, where the OS can. None: do nothing."""
    if core is not None and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(thread, {core})


def os_threads() -> set[int]:
    """The OS ids of this process's threads; empty where the OS does not say."""
    tasks = Path("/proc/self/task")
    return {int(task.name) for task in tasks.iterdir()} if tasks.is_dir() else set()


def rate(step: Callable[[], None], seconds: float) -> float:
    """Calls of `step` per second, over at least `seconds`, after one call to warm up."""
    step()
    calls, batch, begin = 0, 1, time.perf_counter()
    while (passed := time.perf_counter() - begin) < seconds:
        for _ in range(batch):
            step()
        calls += batch
        batch = min(2 * batch, 64)
    return calls / passed


def rounds(cases: Sequence[tuple[str, Callable[[], float]]], count: int) -> dict[str, list[float]]:
    """Measure all cases in turn, `count` times -> the figures of each, so that noise hits all."""
    figures: dict[str, list[float]] = {name: [] for name, _ in cases}
    for _ in range(count):
        for name, measure in cases:
            figures[name].append(measure())
    return figures


def table(title: str, figures: dict[str, list[float]], digits: int = 2) -> None:
    """Print median, min and max of each case."""
    width = max(map(len, [title, *figures]))
    print(f"\n{title:<{width}} {'median':>9} {'min':>9} {'max':>9}")
    for name, values in figures.items():
        shown = (statistics.median(values), min(values), max(values))
        print(f"{name:<{width}} " + " ".join(f"{value:9.{digits}f}" for value in shown))


def core_scaling(pair: list[int], seconds: float) -> float:
    """How much two pinned threads of plain numpy do together, as a multiple of one alone.

    Near 2: two cores are there. Near 1: one core, or two threads of one.
    """

    def spin(core: int, done: list[int]) -> None:
        pin(core)
        x = np.linspace(0, 1, 1 << 15)  # 256 KiB, within L2; the ufunc releases the GIL
        calls, end = 0, time.perf_counter() + seconds
        while time.perf_counter() < end:
            np.sin(x, out=x)
            calls += 1
        done.append(calls)

    def together(use: list[int]) -> int:
        done: list[int] = []
        threads = [threading.Thread(target=spin, args=(core, done)) for core in use]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return sum(done)

    return together(pair) / together(pair[:1])
