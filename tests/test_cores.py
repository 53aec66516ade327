"""Cores are counted once each, and never more than a cgroup grants."""

import os

import pytest

from pufferlib import cores


def machine(tmp_path, siblings, quota):
    for cpu, text in enumerate(siblings):
        folder = tmp_path / f"cpu{cpu}/topology"
        folder.mkdir(parents=True)
        (folder / "thread_siblings_list").write_text(f"{text}\n")
    limit = tmp_path / "cpu.max"
    limit.write_text(quota)
    return cores.usable(tmp_path, limit)


@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="the OS has no affinity")
@pytest.mark.parametrize(
    ("quota", "want"), [("max 100000", 2), ("100000 100000", 1), ("150000 100000", 2), ("", 2)]
)
def test_two_threads_of_a_core_count_once_and_quotas_round_up(tmp_path, monkeypatch, quota, want):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1, 2, 3})
    assert machine(tmp_path, ["0,2", "1,3", "0,2", "1,3"], quota) == want


def test_there_is_always_a_core(tmp_path):
    assert cores.usable(tmp_path, tmp_path / "missing") >= 1
