"""Helpers of the benchmarks: command lines, pinning, interleaved rounds, tables, the machine."""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from pufferenv.engine._engine import compiled


def make_parser(doc: str | None) -> argparse.ArgumentParser:
    """Make a parser whose help begins with the unformatted docstring of a benchmark."""
    return argparse.ArgumentParser(
        description=doc, formatter_class=argparse.RawDescriptionHelpFormatter
    )


def parse_with_flags(parser: argparse.ArgumentParser) -> tuple[argparse.Namespace, list[str]]:
    """Parse the command line up to `--`; return also what follows, the flags of another command."""
    cut = sys.argv.index("--") if "--" in sys.argv else len(sys.argv)
    return parser.parse_args(sys.argv[1:cut]), sys.argv[cut + 1 :]


def processor() -> str:
    """Return the name of the processor."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = [line.split(":")[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()


def describe() -> None:
    """Print the setup that the figures depend on: processor, Python, numpy, compiler and flags."""
    built = compiled()
    print(f"{processor()}, {os.cpu_count()} logical cores")
    print(f"Python {platform.python_version()}, numpy {np.__version__}")
    print(f"{built['compiler']}, {built['flags']}{', DEBUG BUILD' if built['debug'] else ''}")


def cores() -> list[int]:
    """Return the logical cores that this process may use; empty if the OS does not report them."""
    return sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []


def pin(core: int | None, thread: int = 0) -> None:
    """Pin a thread (an OS id; 0 is the caller) to `core`, if that is not None and the OS can."""
    if core is not None and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(thread, {core})


def os_threads() -> set[int]:
    """Return the OS ids of this process's threads; empty if the OS does not report them."""
    tasks = Path("/proc/self/task")
    return {int(task.name) for task in tasks.iterdir()} if tasks.is_dir() else set()


def rate(step: Callable[[], None], seconds: float) -> float:
    """Return calls of `step` per second, over at least `seconds`, after one call to warm up."""
    step()
    calls, batch, begin = 0, 1, time.perf_counter()
    while (passed := time.perf_counter() - begin) < seconds:
        for _ in range(batch):
            step()
        calls += batch
        batch = min(2 * batch, 64)
    return calls / passed


def rounds(cases: Sequence[tuple[str, Callable[[], float]]], count: int) -> dict[str, list[float]]:
    """Measure all cases in turn, `count` times, so that noise affects all; return the figures."""
    figures: dict[str, list[float]] = {name: [] for name, _ in cases}
    for _ in range(count):
        for name, measure in cases:
            figures[name].append(measure())
    return figures


def table(title: str, figures: dict[str, list[float]], digits: int = 2) -> None:
    """Print median, minimum and maximum of each case."""
    width = max(map(len, [title, *figures]))
    print(f"\n{title:<{width}} {'median':>9} {'min':>9} {'max':>9}")
    for name, values in figures.items():
        shown = (statistics.median(values), min(values), max(values))
        print(f"{name:<{width}} " + " ".join(f"{value:9.{digits}f}" for value in shown))


def core_scaling(pair: list[int], seconds: float) -> float:
    """Return the speed of two pinned threads of plain numpy relative to one.

    It is near 2 for two physical cores, and near 1 for one core or its two hyperthreads.
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
