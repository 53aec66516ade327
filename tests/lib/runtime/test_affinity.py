"""Cores are counted once each, and never more than a cgroup grants."""

import os

import pytest
import torch

from pufferenv.cores import usable_cores
from pufferlib.runtime import affinity as cores
from pufferlib.runtime import thread_count
from pufferlib.runtime.choice import Choice

affinity = pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="the OS has no affinity")


def machine(tmp_path, siblings, own, files):
    """Cores usable where these threads share cores and these cgroup files exist."""
    for cpu, text in enumerate(siblings):
        folder = tmp_path / f"cpu{cpu}/topology"
        folder.mkdir(parents=True)
        (folder / "thread_siblings_list").write_text(f"{text}\n")
    for name, text in files.items():
        file = tmp_path / "cgroup" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"{text}\n")
    (tmp_path / "own").write_text(own)
    return usable_cores(tmp_path, tmp_path / "cgroup", tmp_path / "own")


@affinity
@pytest.mark.parametrize(
    ("quota", "want"), [("max 100000", 2), ("100000 100000", 1), ("150000 100000", 2), ("", 2)]
)
def test_two_threads_of_a_core_count_once_and_quotas_round_up(tmp_path, monkeypatch, quota, want):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1, 2, 3})
    siblings = ["0,2", "1,3", "0,2", "1,3"]
    assert machine(tmp_path, siblings, "0::/", {"cpu.max": quota}) == want


V1 = "5:memory:/job\n3:cpu,cpuacct:/job/part\n"


@affinity
@pytest.mark.parametrize(
    ("own", "files", "want"),
    [
        ("0::/a/b", {"a/cpu.max": "300000 100000", "a/b/cpu.max": "max 100000"}, 3),
        ("0::/a/b", {"a/cpu.max": "300000 100000", "a/b/cpu.max": "200000 100000"}, 2),
        (V1, {"cpu,cpuacct/job/part/cpu.cfs_quota_us": "-1"}, 8),
        (
            V1,
            {
                "cpu,cpuacct/job/cpu.cfs_quota_us": "250000",
                "cpu,cpuacct/job/cpu.cfs_period_us": "50000",
            },
            5,
        ),
        (V1, {"cpu/cpu.cfs_quota_us": "400000", "cpu/cpu.cfs_period_us": "100000"}, 4),
        ("", {"cpu.max": "100000 100000"}, 1),
    ],
)
def test_the_tightest_cgroup_counts_in_either_version(tmp_path, monkeypatch, own, files, want):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)))
    assert machine(tmp_path, [str(i) for i in range(8)], own, files) == want


@affinity
def test_workers_get_a_core_each_and_the_first_stays_the_callers(tmp_path, monkeypatch):
    kept = {}
    monkeypatch.setattr(cores, "one_cpu_per_core", lambda: [4, 6, 7])
    monkeypatch.setattr(os, "sched_setaffinity", kept.__setitem__)
    cores.pin_apart({31, 12, 25})
    assert kept == {12: {6}, 25: {7}, 31: {6}}
    kept.clear()
    monkeypatch.setattr(cores, "one_cpu_per_core", lambda: [4])
    cores.pin_apart({31})
    assert kept == {}


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


def test_threads_that_take_parts_need_bring_less(monkeypatch):
    monkeypatch.setattr(thread_count, "usable_cores", lambda: 2)
    for name in ("measure_torch", "measure_pool"):
        monkeypatch.setattr(thread_count, name, lambda *_: {1: 10.0, 2: 11.0})
    before = torch.get_num_threads()
    assert [thread_count.choose(0, 4096, 64, part).value for part in (0, 1024)] == [1, 2]
    torch.set_num_threads(before)


@pytest.fixture
def torch_threads():
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize(("two", "want"), [(18.0, 2), (4.0, 1)])
def test_threads_are_picked_by_what_was_measured_and_said(monkeypatch, torch_threads, two, want):
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


def test_no_more_threads_are_picked_than_there_are_parts(monkeypatch, torch_threads):
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


def test_who_is_kept_on_the_first_core_may_go_everywhere_again():
    if not hasattr(os, "sched_getaffinity"):
        pytest.skip("this OS does not let a thread be pinned")
    before = os.sched_getaffinity(0)
    with pytest.raises(OSError, match="inside"), cores.on_first_core():
        assert os.sched_getaffinity(0) == {min(before)}
        raise OSError("inside")
    assert os.sched_getaffinity(0) == before


def test_there_is_always_a_core(tmp_path):
    assert usable_cores(tmp_path, tmp_path, tmp_path / "missing") >= 1
