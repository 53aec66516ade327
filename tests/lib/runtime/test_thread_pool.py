"""The thread pool replays streams of graphs in parallel, with products by a BLAS or by torch."""

import os
import subprocess
import sys
import threading
import time

import numpy as np
import pytest
import torch

from pufferlib.kernels import _kernels
from pufferlib.runtime import blas
from pufferlib.runtime.graph import Graph
from pufferlib.runtime.thread_pool import LaunchPlan, ThreadPool


@pytest.fixture(params=["native", "torch"])
def native(request, monkeypatch):
    """Return whether graphs multiply without Python."""
    if request.param == "torch":
        monkeypatch.setattr(blas, "gemm_dtypes", frozenset)
    elif not blas.gemm_dtypes():
        pytest.skip("torch's library here does not export its sgemm: graphs multiply through torch")
    return request.param == "native"


def adding(total, amount):
    """Return a graph that adds to a total (1, 1)."""
    made = Graph()
    made.product(torch.full((1, 1), float(amount)), torch.ones(1, 1), total, add=True)
    return made


@pytest.mark.usefixtures("native")
@pytest.mark.parametrize("size", [1, 2, 5])
def test_each_stream_is_replayed_once_and_in_its_order(size):
    thread_pool = ThreadPool(size)
    for count in range(size + 1):
        totals = [torch.zeros(1, 1) for _ in range(count)]
        doubling = []
        for total in totals:  # (0 + 3) * 2 + 1; another order gives another number
            twice = Graph()
            twice.product(total, torch.ones(1, 1), total, add=True)
            doubling.append([("a", adding(total, 3)), ("b", twice), ("a", adding(total, 1))])
        seconds = thread_pool.run(LaunchPlan(doubling))
        assert [total.item() for total in totals] == [7] * count
        assert seconds.keys() == ({"a", "b"} if count else set())
    thread_pool.close()
    thread_pool.close()


def test_seconds_are_those_of_the_first_streams_graphs(native):
    x, out, short, long = torch.ones(256, 256), torch.empty(256, 256), Graph(), Graph()
    short.product(x, x, out)
    for _ in range(50):
        long.product(x, x, out)
    thread_pool = ThreadPool(2)
    begin = time.perf_counter()
    seconds = thread_pool.run(
        LaunchPlan(
            [[("short", short), ("long", long), ("short", short)], [("x", adding(out[:1, :1], 1))]]
        )
    )
    passed = time.perf_counter() - begin
    thread_pool.close()
    assert seconds.keys() == {"short", "long"} and min(seconds.values()) > 0
    assert sum(seconds.values()) < passed


def test_streams_run_in_threads_and_release_the_gil(native):
    x, out = torch.ones(300, 300), torch.empty(2, 300, 300)
    streams = []
    for part in out:
        made = Graph()
        for _ in range(300):
            made.product(x, x, part)
        streams.append([("", made)])
    thread_pool, ended = ThreadPool(2), []
    running = threading.Thread(target=lambda: ended.append(thread_pool.run(LaunchPlan(streams))))
    running.start()
    turns = 0
    while running.is_alive():
        turns += 1
    thread_pool.close()
    assert ended and turns > 100
    assert (out == 300).all()


@pytest.mark.usefixtures("native")
def test_what_a_stream_raises_is_raised_when_all_have_ended_and_its_rest_does_not_run():
    index, out = np.array([0, 7], np.int32), np.zeros((2, 1, 1), np.float32)
    wrong, totals = Graph(), [torch.zeros(1, 1) for _ in range(2)]
    wrong.call(_kernels.gather, pool=np.zeros((3, 1, 1), np.float32), rows=index, out=out)
    streams = [
        [("", adding(totals[0], 1))],
        [("", wrong), ("", adding(totals[1], 1))],
    ]
    thread_pool = ThreadPool(2)
    with pytest.raises(IndexError, match=r"rows\[1\] = 7 is outside \[0, 3\)"):
        thread_pool.run(LaunchPlan(streams))
    assert [total.item() for total in totals] == [1, 0]
    index[1] = 2  # a replay reads the arrays as they are now
    thread_pool.run(LaunchPlan(streams))
    assert [total.item() for total in totals] == [2, 1]
    thread_pool.close()


@pytest.mark.usefixtures("native")
def test_threads_do_not_follow_a_fork(monkeypatch):
    thread_pool, total = ThreadPool(2), torch.zeros(1, 1)
    with monkeypatch.context() as forked:
        forked.setattr("pufferlib.runtime.thread_pool.os.getpid", lambda: 0)
        with pytest.raises(RuntimeError, match="do not exist in its fork, process 0"):
            thread_pool.run(LaunchPlan([[("", adding(total, 1))]] * 2))
        thread_pool.run(LaunchPlan([[("", adding(total, 1))]]))  # the caller alone
    thread_pool.close()
    assert total.item() == 1


ALONE = """
import torch
from pufferlib.runtime import affinity
from pufferlib.runtime.thread_pool import ThreadPool, LaunchPlan
from pufferlib.runtime.graph import Graph

torch.set_num_threads(1)
thread_pool, streams = ThreadPool(2), []
for _ in range(2):
    made, x = Graph(), torch.ones(1024, 1024)
    for _ in range(4):
        made.product(x, x, torch.empty(1024, 1024))
    streams.append([("", made)])
before = affinity.thread_ids()
for _ in range(5):
    thread_pool.run(LaunchPlan(streams))
print(len(affinity.thread_ids() - before))
"""


@pytest.mark.parametrize("torch_products", [False, True])
def test_a_workers_products_start_no_more_threads(torch_products):
    left = {
        name: value for name, value in os.environ.items() if not name.startswith(("OMP", "MKL"))
    }
    program = "from pufferlib.runtime import blas\nblas.gemm_dtypes = blas._through_torch\n"
    words = [sys.executable, "-c", program * torch_products + ALONE]
    assert subprocess.check_output(words, env=left, text=True).strip() == "0"


FORK = """
import os, sys
from pufferlib.runtime.thread_pool import ThreadPool, LaunchPlan

thread_pool = ThreadPool(3)
if not os.fork():
    del thread_pool
    sys.exit(7)
print(os.waitstatus_to_exitcode(os.wait()[1]))
"""


def test_a_fork_ends_though_the_threads_stayed_behind():
    words = [sys.executable, "-W", "ignore", "-c", FORK]
    assert subprocess.check_output(words, text=True, timeout=60).strip() == "7"


def test_only_graphs_are_run():
    with pytest.raises(TypeError, match="streams: expected graphs, got NoneType"):
        _kernels.LaunchPlan([[("", None)]])


def test_no_thread_pool_of_nobody_and_none_after_its_end():
    with pytest.raises(ValueError, match="size=0 must be at least 1"):
        _kernels.ThreadPool(0)
    thread_pool = _kernels.ThreadPool(2)
    thread_pool.close()
    with pytest.raises(RuntimeError, match="closed"):
        thread_pool.run(_kernels.LaunchPlan([]))
