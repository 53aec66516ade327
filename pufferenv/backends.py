"""Where an outside game's envs are played: in this thread, in threads, in worker processes.

A backend gives memory, makes hosts (hosts.py) and has them reset and step. Which one it is never
shows in a result: env i has the same seed and does the same in each.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import numpy.typing as npt

from pufferenv._engine import ROWS
from pufferenv._outside import Mail
from pufferenv.hosts import make_host

if TYPE_CHECKING:
    from pufferenv.outside import OutsideGame

Arrays = dict[str, npt.NDArray[Any]]


class Backend(Protocol):
    """What OutsideEngine asks of a backend. `begin`, `end`: envs, half-open."""

    def memory(self, shape: tuple[int, ...], dtype: np.dtype[Any]) -> npt.NDArray[Any]:
        """Zeroed memory that hosts can reach."""

    def start(self, arrays: Arrays, direct: bool) -> None:
        """Make the envs. `arrays`: the mailbox and what hosts see of the engine's."""

    def reset(
        self, seeds: npt.NDArray[np.uint64] | None, mask: npt.NDArray[np.bool_] | None
    ) -> None:
        """Begin new episodes (E,), and wait for them."""

    def send(self, begin: int, end: int) -> None:
        """Have envs act."""

    def ready(self, begin: int, end: int) -> bool:
        """Whether what was sent is done."""

    def wait(self, begin: int, end: int) -> None:
        """Wait until it is; raise EnvError where an env failed."""

    def drain(self) -> None:
        """Wait for whatever was sent."""

    def close(self) -> None:
        """Close the envs. Twice is fine."""


class Serial:
    """All envs in the thread that steps the engine."""

    def __init__(self, game: OutsideGame, num_envs: int, mode: int) -> None:
        self.game, self.num_envs, self.mode = game, num_envs, mode
        self._host: Any = None

    def memory(self, shape: tuple[int, ...], dtype: np.dtype[Any]) -> npt.NDArray[Any]:
        """Return memory of this process."""
        return np.zeros(shape, dtype)

    def start(self, arrays: Arrays, direct: bool) -> None:
        """Make the envs."""
        mail = Mail(arrays, self.mode == ROWS)
        game = self.game
        self._host = make_host(game.outline, game.make, mail, 0, self.num_envs, self.mode)

    def reset(
        self, seeds: npt.NDArray[np.uint64] | None, mask: npt.NDArray[np.bool_] | None
    ) -> None:
        """Begin new episodes."""
        self._host.reset(0, self.num_envs, seeds, mask)

    def send(self, begin: int, end: int) -> None:
        """Step envs, here and now."""
        self._host.step(begin, end)

    def ready(self, begin: int, end: int) -> bool:
        """Return True: it was done when it was sent."""
        return True

    def wait(self, begin: int, end: int) -> None:
        """Nothing is left to wait for."""

    def drain(self) -> None:
        """Nothing is left to wait for."""

    def close(self) -> None:
        """Close the envs."""
        if self._host is not None:
            self._host.close()
            self._host = None


BACKENDS: dict[str, Any] = {"serial": Serial}
