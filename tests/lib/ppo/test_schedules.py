"""Schedules at the start, in the middle and at the end of a run."""

import pytest

from pufferlib.ppo.schedules import scheduled


@pytest.mark.parametrize(
    ("kind", "quarter", "half"), [("constant", 4, 4), ("linear", 3, 2), ("cosine", 3.41421356, 2)]
)
def test_step_size_falls_as_named(kind, quarter, half):
    assert scheduled(kind, 4, 0, 0) == 4
    assert scheduled(kind, 4, 0, 0.25) == pytest.approx(quarter)
    assert scheduled(kind, 4, 0, 0.5) == pytest.approx(half)


@pytest.mark.parametrize("kind", ["linear", "cosine"])
def test_step_size_ends_at_its_final_part_and_stays_there(kind):
    assert scheduled(kind, 4, 0.25, 1) == pytest.approx(1)
    assert scheduled(kind, 4, 0.25, 1.5) == pytest.approx(1)
