"""How many threads torch gets: measured at the start, with a product as the policy has them.

A second thread pays where a second core is really there and the product is large enough to share.
Neither can be read off the machine: a virtual core may be half of one or busy with something else.
"""

import functools
import statistics
import time
from typing import NamedTuple

import torch

from pufferenv.cores import usable_cores
from pufferlib.runtime import affinity
from pufferlib.runtime.graph import Graph
from pufferlib.runtime.thread_pool import LaunchPlan, ThreadPool
from pufferlib.runtime.timer import seconds_of

ROUNDS = 5
AT_LEAST = 2e-3  # seconds of one measurement
PARTS_AT_LEAST = 1e-2  # seconds, with threads that have to be woken first
WORTH = 1.15  # times the speed that twice the threads have to bring
PARTS_WORTH = 1.05  # the same where they take parts: too many of those hardly cost anything
LARGEST = 2**22  # entries of the matrix that is measured with


class Picked(NamedTuple):
    """How many threads, and why, in a few words."""

    number: int
    why: str


def pick(given: int, rows: int, width: int, part: int = 0) -> Picked:
    """Set and return torch's thread count: `given`, or where that is 0 what is fastest.

    Tried are 1, 2, 4, ... threads up to the usable cores on (rows, width) @ (width, width); the
    workers are kept on cores of their own. With `part`, threads take parts of so many rows each,
    whole products by themselves: no more threads than parts. Takes some tenths of a second.
    """
    limit = usable_cores()
    if part:
        limit = min(limit, -(-rows // part))
    if given:
        torch.set_num_threads(given)
        return Picked(given, "as given")
    if limit == 1:
        torch.set_num_threads(1)
        return Picked(1, "one core" if usable_cores() == 1 else "too little to share")
    counts = [1]
    while counts[-1] < limit:
        counts.append(min(2 * counts[-1], limit))
    rows = min(rows, max(1, LARGEST // width))
    speeds = measure_parts(counts, part, width) if part else measure(counts, rows, width)
    count = best(speeds, PARTS_WORTH if part else WORTH)
    torch.set_num_threads(count)
    if count > 1:
        return Picked(count, f"{speeds[count] / speeds[1]:.1f} times one")
    return Picked(1, f"{counts[1]} would be {speeds[counts[1]] / speeds[1]:.1f} times as fast")


def best(speeds: dict[int, float], worth: float = WORTH) -> int:
    """Return the count up to which each doubling is worth it; speeds by count, in rising order."""
    count = 1
    for more, speed in speeds.items():
        if speed > worth * speeds[count]:
            count = more
    return count


@torch.no_grad()
def measure(counts: list[int], rows: int, width: int) -> dict[int, float]:
    """Return products per second by number of threads, medians of rounds taken in turn."""
    x, weight = torch.randn(rows, width), torch.randn(width, width)
    out = torch.empty(rows, width)
    before = affinity.threads()
    for count in counts:
        torch.set_num_threads(count)
        torch.mm(x, weight, out=out)  # starts the workers
    affinity.keep_apart(affinity.threads() - before)
    speeds: dict[int, list[float]] = {count: [] for count in counts}
    for _ in range(ROUNDS):
        for count, found in speeds.items():
            torch.set_num_threads(count)
            product = functools.partial(torch.mm, x, weight, out=out)
            found.append(1 / seconds_of(product, AT_LEAST))
    return {count: statistics.median(found) for count, found in speeds.items()}


@torch.no_grad()
def measure_parts(counts: list[int], rows: int, width: int) -> dict[int, float]:
    """Return products per second of all threads of a thread pool, by its size; as `measure`."""
    torch.set_num_threads(1)
    weight = torch.randn(width, width)
    crews = {count: ThreadPool(count) for count in counts}
    tracks = []
    for _ in range(max(counts)):
        graph, x, out = Graph(), torch.randn(rows, width), torch.empty(rows, width)
        for _ in range(4):
            graph.product(x, weight, out)
        graph.replay()
        tracks.append(("products", graph))
    taken = seconds_of(tracks[0][1].replay, AT_LEAST)
    calls = max(1, round(PARTS_AT_LEAST / taken))
    work = {count: LaunchPlan([[track] * calls for track in tracks[:count]]) for count in counts}
    speeds: dict[int, list[float]] = {count: [] for count in counts}
    for _ in range(ROUNDS):
        for count, thread_pool in crews.items():
            with thread_pool.on_first():
                begin = time.perf_counter()
                thread_pool.run(work[count])
                speeds[count].append(4 * count * calls / (time.perf_counter() - begin))
    for thread_pool in crews.values():
        thread_pool.close()
    return {count: statistics.median(found) for count, found in speeds.items()}
