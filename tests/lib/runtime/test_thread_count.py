"""The thread count is chosen by measured speeds, and the choice names them."""

import pytest
import torch

from pufferlib.runtime import thread_count
from pufferlib.runtime.choice import Choice


@pytest.mark.parametrize(
    ("speeds", "want"),
    [
        ({1: 10.0}, 1),
        ({1: 10.0, 2: 19.0}, 2),
        ({1: 10.0, 2: 11.0}, 1),  # less than one in seven more
        ({1: 10.0, 2: 1.0}, 1),  # packed on one core
        ({1: 10.0, 2: 19.0, 4: 20.0}, 2),
        ({1: 10.0, 2: 19.0, 4: 36.0, 6: 50.0}, 6),
    ],
)
def test_more_threads_are_taken_where_they_pay(speeds, want):
    assert thread_count.best(speeds) == want


def test_threads_that_take_chunks_need_to_bring_less(monkeypatch):
    monkeypatch.setattr(thread_count, "usable_cores", lambda: 2)
    for name in ("measure_torch", "measure_pool"):
        monkeypatch.setattr(thread_count, name, lambda *_: {1: 10.0, 2: 11.0})
    before = torch.get_num_threads()
    assert [thread_count.choose(0, 4096, 64, chunk).value for chunk in (0, 1024)] == [1, 2]
    torch.set_num_threads(before)


@pytest.fixture
def torch_threads():
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize(("two", "want"), [(18.0, 2), (4.0, 1)])
def test_the_thread_count_follows_the_measured_speeds_and_names_them(
    monkeypatch, torch_threads, two, want
):
    asked = []
    monkeypatch.setattr(thread_count, "usable_cores", lambda: 2)
    monkeypatch.setattr(
        thread_count, "measure_torch", lambda *given: asked.append(given) or {1: 10.0, 2: two}
    )
    choice = thread_count.choose(0, rows=512, width=64)
    assert (choice.value, torch.get_num_threads()) == (want, want)
    assert asked == [([1, 2], 512, 64)]
    assert f"{two / 10:.1f} times" in choice.reason
    assert thread_count.choose(3, 512, 64).value == torch.get_num_threads() == 3


def test_there_are_no_more_threads_than_chunks(monkeypatch, torch_threads):
    asked = []
    monkeypatch.setattr(thread_count, "usable_cores", lambda: 8)
    found = {1: 10.0, 2: 19.0, 3: 28.0}
    monkeypatch.setattr(thread_count, "measure_pool", lambda *given: asked.append(given) or found)
    assert thread_count.choose(0, 2500, 64, chunk_rows=1024) == Choice(3, "2.8 times one")
    assert asked == [([1, 2, 3], 1024, 64)]
    assert thread_count.choose(0, 1024, 64, chunk_rows=1024) == Choice(1, "too little to share")


@pytest.mark.parametrize("measure", [thread_count.measure_torch, thread_count.measure_pool])
def test_measuring_gives_a_speed_for_each_count(torch_threads, measure):
    speeds = measure([1, 2], 8, 4)
    assert list(speeds) == [1, 2] and min(speeds.values()) > 0
