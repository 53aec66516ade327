"""The serial backend: all envs run in the thread that steps the engine."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from pufferenv.external.backends.base import Arrays, EnvSetup, plain_memory
from pufferenv.external.runners.base import Runner
from pufferenv.external.runners.factory import make_runner


class Serial:
    """Steps envs within `send`, so that no method has to wait."""

    same_process = True

    def __init__(self, setup: EnvSetup) -> None:
        self.setup = setup
        self._runner: Runner | None = None

    def allocate(self, shape: tuple[int, ...], dtype: np.dtype[Any]) -> npt.NDArray[Any]:
        """Return memory of this process."""
        return plain_memory(shape, dtype)

    def start(self, arrays: Arrays) -> None:
        """Make the envs."""
        description, make, num_envs, mode, *_ = self.setup
        self._runner = make_runner(description, make, arrays, 0, num_envs, mode)

    def reset(
        self, seeds: npt.NDArray[np.uint64] | None, mask: npt.NDArray[np.bool_] | None
    ) -> None:
        """Begin new episodes."""
        self._started().reset(0, self.setup.num_envs, seeds, mask)

    def send(self, begin: int, end: int) -> None:
        """Step the envs and return when they have stepped."""
        self._started().step(begin, end)

    def ready(self, begin: int, end: int) -> bool:
        """Return True: `send` has stepped the envs."""
        return True

    def wait(self, begin: int, end: int) -> None:
        """Do nothing: `send` has stepped the envs."""

    def wait_any(self, ranges: Sequence[tuple[int, int]]) -> None:
        """Do nothing: `send` has stepped the envs."""

    def wait_all(self) -> None:
        """Do nothing: `send` has stepped the envs."""

    def render(self, envs: Sequence[int]) -> list[Any]:
        """Call the envs' own render()."""
        return self._started().render(envs)

    def _started(self) -> Runner:
        assert self._runner is not None, "start() makes the envs"
        return self._runner

    def close(self) -> None:
        """Close the envs."""
        if self._runner is not None:
            self._runner.close()
            self._runner = None
