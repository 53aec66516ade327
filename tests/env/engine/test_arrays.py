"""Memory of the engine's arrays: zeroed, aligned, on huge pages if they pay off."""

from pathlib import Path

import pytest

from pufferenv.engine.arrays import HUGE_PAGE, own_memory
from pufferenv.row_env import RowEnv


@pytest.mark.parametrize("num_bytes", [1, 100, HUGE_PAGE, HUGE_PAGE + 3])
@pytest.mark.parametrize("place", [0, 1, 65])
def test_memory_is_zeroed_and_aligned(num_bytes, place):
    memory = own_memory(num_bytes, place)
    assert memory.size == num_bytes
    assert not memory.any()
    assert memory.ctypes.data % 64 == 0


@pytest.mark.parametrize("num_bytes", [2**60, 2**64])
def test_too_much_names_the_size_and_what_to_reduce(num_bytes):
    size = f"{num_bytes // 2**30:,}.0 GiB"
    with pytest.raises(MemoryError, match=rf"needs {size} of memory.* num_envs.* horizon"):
        own_memory(num_bytes)


def on_huge_pages(memory):
    """Return whether the OS was asked for huge pages at the start of this memory."""
    asked = there = False
    for line in Path("/proc/self/smaps").read_text().splitlines():
        first = line.split()[0]
        if "-" in first:
            begin, end = (int(bound, 16) for bound in first.split("-"))
            there = begin <= memory.ctypes.data < end
        elif there and first == "VmFlags:":
            asked = "hg" in line.split()
    return asked


huge_pages = pytest.mark.skipif(
    not Path("/sys/kernel/mm/transparent_hugepage").exists(), reason="needs Linux's huge pages"
)


@huge_pages
def test_only_what_will_be_used_is_on_huge_pages():
    memory = own_memory(4 * HUGE_PAGE, usual=2 * HUGE_PAGE)
    assert on_huge_pages(memory)
    assert not on_huge_pages(memory[-1:])
    assert on_huge_pages(own_memory(HUGE_PAGE)[-1:])
    assert not on_huge_pages(own_memory(HUGE_PAGE - 1))


@huge_pages
def test_rows_that_only_deaths_lead_to_are_not_on_huge_pages():
    with RowEnv("squared", 1 << 14, horizon=64) as env:
        usual, columns = 2 << 14, ("pool_observation", "pool_reward", "pool_done", "pool_version")
        for name in columns:
            column = env.arrays[name].reshape(env.num_rows, -1)
            assert on_huge_pages(column[0]) and on_huge_pages(column[usual - 1]), name
            assert not on_huge_pages(column[usual + 64]), name  # a page further on
            assert not on_huge_pages(column[-1]), name
        assert not on_huge_pages(env.arrays["final_observation"])
        assert not on_huge_pages(env.arrays["final_slot"])
