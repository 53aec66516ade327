"""Fixtures of the tests of external envs."""

import pytest

from tests.support.external_envs import RECORDED


@pytest.fixture(autouse=True)
def forget():
    """Begin each test with no recorded transitions."""
    RECORDED.clear()
