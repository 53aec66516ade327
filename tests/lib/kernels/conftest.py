"""Every test in this folder runs once per instruction set that this build and this CPU have."""

import pytest


@pytest.fixture(scope="module", autouse=True)
def every_instruction_set(instruction_set: str) -> None:
    """Parametrize all tests; a module that does so itself overrides this fixture."""
