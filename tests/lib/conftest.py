"""Fixtures of pufferlib's tests."""

from collections.abc import Iterator

import pytest

from pufferlib.kernels import _kernels


@pytest.fixture(scope="module", params=_kernels.instruction_sets())
def instruction_set(request: pytest.FixtureRequest) -> Iterator[str]:
    """Use the kernels for each instruction set that this build and this CPU have, in turn."""
    before = _kernels.instruction_set()
    _kernels.use_instruction_set(request.param)
    yield request.param
    _kernels.use_instruction_set(before)
