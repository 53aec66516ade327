"""Workers get their own cores; a thread that was pinned temporarily may run anywhere again."""

import os

import pytest

from pufferlib.runtime import affinity

pytestmark = pytest.mark.skipif(
    not hasattr(os, "sched_getaffinity"), reason="the OS does not pin threads"
)


def test_workers_get_a_core_each_and_the_first_stays_the_callers(tmp_path, monkeypatch):
    kept = {}
    monkeypatch.setattr(affinity, "one_cpu_per_core", lambda: [4, 6, 7])
    monkeypatch.setattr(os, "sched_setaffinity", kept.__setitem__)
    affinity.pin_apart({31, 12, 25})
    assert kept == {12: {6}, 25: {7}, 31: {6}}
    kept.clear()
    monkeypatch.setattr(affinity, "one_cpu_per_core", lambda: [4])
    affinity.pin_apart({31})
    assert kept == {}


def test_a_thread_that_was_kept_on_the_first_core_may_run_everywhere_again():
    before = os.sched_getaffinity(0)
    with pytest.raises(OSError, match="inside"), affinity.on_first_core():
        assert os.sched_getaffinity(0) == {min(before)}
        raise OSError("inside")
    assert os.sched_getaffinity(0) == before
