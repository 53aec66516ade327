"""Memory of the engine's arrays: zeroed, aligned, and refused in words."""

import pytest

from pufferenv.memory import HUGE_PAGE, own_memory


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
