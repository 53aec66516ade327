"""Choose the number of torch's threads by timing a product of the policy's size at the start.

A second thread pays off only if there is a second physical core and the product is large enough to
share. The OS does not report either: a virtual core may be half of a physical one, or busy with
other work.
"""

import functools
import statistics
import time

import torch

from pufferenv.cores import usable_cores
from pufferlib.runtime import affinity
from pufferlib.runtime.choice import Choice
from pufferlib.runtime.graph import Graph
from pufferlib.runtime.thread_pool import LaunchPlan, ThreadPool
from pufferlib.runtime.timer import seconds_of

ROUNDS = 5
MIN_SECONDS = 2e-3  # minimum duration of one measurement
MIN_POOL_SECONDS = 1e-2  # the same for a thread pool, whose workers must first wake up
MIN_SPEEDUP = 1.15  # minimum speedup for which more threads are used
MIN_POOL_SPEEDUP = 1.05  # the same for a thread pool, where an extra thread costs little
MAX_ELEMENTS = 2**22  # maximum size of the left factor of the timed product
PRODUCTS_PER_GRAPH = 4


def choose(given: int, rows: int, width: int, chunk_rows: int = 0) -> Choice[int]:
    """Set torch's thread count and return it: `given`, or the fastest count if that is 0.

    The candidates are 1, 2, 4, ... threads up to the usable cores. With `chunk_rows` 0, torch
    shares one product (rows, width) @ (width, width) among its threads. Otherwise each thread of a
    ThreadPool multiplies chunks of `chunk_rows` rows, so there are at most as many threads as
    chunks. Measuring takes a few tenths of a second.
    """
    limit = usable_cores()
    if chunk_rows:
        limit = min(limit, -(-rows // chunk_rows))
    if given:
        torch.set_num_threads(given)
        return Choice(given, "as set")
    if limit == 1:
        torch.set_num_threads(1)
        return Choice(1, "one core" if usable_cores() == 1 else "too little to share")
    counts = [1]
    while counts[-1] < limit:
        counts.append(min(2 * counts[-1], limit))
    rows = min(rows, max(1, MAX_ELEMENTS // width))
    if chunk_rows:
        speeds = measure_pool(counts, chunk_rows, width)
    else:
        speeds = measure_torch(counts, rows, width)
    count = best(speeds, MIN_POOL_SPEEDUP if chunk_rows else MIN_SPEEDUP)
    torch.set_num_threads(count)
    if count > 1:
        return Choice(count, f"{speeds[count] / speeds[1]:.1f} times one")
    return Choice(1, f"{counts[1]} would be {speeds[counts[1]] / speeds[1]:.1f} times as fast")


def best(speeds: dict[int, float], min_speedup: float = MIN_SPEEDUP) -> int:
    """Return the largest count that is `min_speedup` times as fast as the count chosen before it.

    `speeds` maps counts, in rising order, to products per second.
    """
    count = 1
    for more, speed in speeds.items():
        if speed > min_speedup * speeds[count]:
            count = more
    return count


@torch.no_grad()
def measure_torch(counts: list[int], rows: int, width: int) -> dict[int, float]:
    """Return products per second for each thread count of torch, as medians of alternating rounds.

    Torch's worker threads are pinned to separate cores and stay there.
    """
    x, weight = torch.randn(rows, width), torch.randn(width, width)
    out = torch.empty(rows, width)
    before = affinity.thread_ids()
    for count in counts:
        torch.set_num_threads(count)
        torch.mm(x, weight, out=out)  # starts the workers
    affinity.pin_apart(affinity.thread_ids() - before)
    speeds: dict[int, list[float]] = {count: [] for count in counts}
    for _ in range(ROUNDS):
        for count, found in speeds.items():
            torch.set_num_threads(count)
            product = functools.partial(torch.mm, x, weight, out=out)
            found.append(1 / seconds_of(product, MIN_SECONDS))
    return {count: statistics.median(found) for count, found in speeds.items()}


@torch.no_grad()
def measure_pool(counts: list[int], rows: int, width: int) -> dict[int, float]:
    """Return products per second for each size of a ThreadPool, summed over its threads."""
    torch.set_num_threads(1)
    weight = torch.randn(width, width)
    pools = {count: ThreadPool(count) for count in counts}
    streams = []
    for _ in range(max(counts)):
        graph, x, out = Graph(), torch.randn(rows, width), torch.empty(rows, width)
        for _ in range(PRODUCTS_PER_GRAPH):
            graph.product(x, weight, out)
        graph.replay()
        streams.append(("products", graph))
    # Each measurement replays a graph so many times that one thread takes MIN_POOL_SECONDS.
    replays = max(1, round(MIN_POOL_SECONDS / seconds_of(streams[0][1].replay, MIN_SECONDS)))
    plans = {
        count: LaunchPlan([[stream] * replays for stream in streams[:count]]) for count in counts
    }
    speeds: dict[int, list[float]] = {count: [] for count in counts}
    for _ in range(ROUNDS):
        for count, pool in pools.items():
            with pool.on_first_core():
                begin = time.perf_counter()
                pool.run(plans[count])
                passed = time.perf_counter() - begin
            speeds[count].append(PRODUCTS_PER_GRAPH * count * replays / passed)
    for pool in pools.values():
        pool.close()
    return {count: statistics.median(found) for count, found in speeds.items()}
