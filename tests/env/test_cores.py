"""Usable cores: each physical core counts once, and a cgroup's quota is never exceeded."""

import os

import pytest

from pufferenv.cores import usable_cores

affinity = pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="the OS has no affinity")


def machine(tmp_path, siblings, own, files):
    """Return the usable cores of a machine with these sibling lists and cgroup files."""
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


def test_there_is_always_a_core(tmp_path):
    assert usable_cores(tmp_path, tmp_path, tmp_path / "missing") >= 1
