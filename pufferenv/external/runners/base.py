"""The protocol of a runner, which steps one kind of Python env.

A runner has a range of the engine's envs. It reads their actions, steps them, and writes rewards,
dones and observations into the mailbox. Backends decide in which thread or process it does so.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol, TypeAlias

import numpy as np
import numpy.typing as npt

Seeds: TypeAlias = "npt.NDArray[np.uint64] | None"  # (E,); None: the envs choose
EnvMask: TypeAlias = "npt.NDArray[np.bool_] | None"  # (E,); None: all envs


class Runner(Protocol):
    """Steps a range of envs. `begin`, `end`: a half-open part of that range."""

    def reset(self, begin: int, end: int, seeds: Seeds = None, mask: EnvMask = None) -> None:
        """Begin new episodes with `seeds` in the envs of `mask`."""

    def step(self, begin: int, end: int) -> None:
        """Step envs [begin, end) with the actions of the engine's arrays."""

    def render(self, envs: Sequence[int]) -> list[Any]:
        """Return what the own render() of each of these envs returns."""

    def close(self) -> None:
        """Close the envs."""
