"""The timer returns the known durations of sections, which add up to the total."""

import time

import pytest

from pufferlib.runtime.timer import SECTIONS, Timer, seconds_of


class Clock:
    """A clock that a test sets."""

    def __init__(self):
        self.now = 100.0

    def __call__(self):
        return self.now


def test_sections_have_their_known_lengths():
    clock = Clock()
    timer = Timer(clock=clock)
    for _ in range(3):
        for section, seconds in (("env", 2.0), ("forward", 0.5), ("env", 1.0)):
            timer.enter(section)
            clock.now += seconds
    timer.enter("other")
    clock.now += 0.25
    taken = timer.take()
    assert taken["env"] == 9.0 and taken["forward"] == 1.5 and taken["other"] == 0.25
    assert set(taken) == set(SECTIONS)
    assert sum(taken.values()) == clock.now - 100.0


def test_take_starts_again_from_zero_in_the_same_section():
    clock = Clock()
    timer = Timer(clock=clock)
    timer.enter("log")
    clock.now += 1
    assert timer.take()["log"] == 1.0
    clock.now += 2
    assert timer.take() == {**dict.fromkeys(SECTIONS, 0.0), "log": 2.0}


def test_queued_work_counts_for_the_section_that_queued_it():
    clock = Clock()

    def synchronize():
        clock.now += 5

    timer = Timer(clock=clock, synchronize=synchronize)
    timer.enter("forward")  # 5 in other
    timer.enter("env")
    taken = timer.take()
    assert (taken["other"], taken["forward"], taken["env"]) == (5.0, 5.0, 5.0)


def test_an_unknown_section_is_an_error():
    with pytest.raises(KeyError, match="foo"):
        Timer().enter("foo")


def test_a_function_is_timed_at_least_once_however_late_the_clock_is_read():
    """The process may be kept from its core for long between two readings of the clock."""
    times, calls = iter([0.0, 5.0]), []
    assert seconds_of(lambda: calls.append(1), 0.001, lambda: next(times)) == 5
    assert len(calls) == 2  # the first one warms up


def test_processor_time_leaves_out_the_seconds_in_which_the_process_did_not_run():
    assert seconds_of(lambda: time.sleep(0.2), 0, time.process_time) < 0.1
