"""Where an external game's envs are played: in this thread, in threads, in worker processes.

A backend gives memory, makes runners (runners.py) and has them reset and step. Which one it is never
shows in a result: env i has the same seed and does the same in each.
"""

from __future__ import annotations

import concurrent.futures
import itertools
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import numpy.typing as npt

from pufferenv.cores import usable_cores
from pufferenv.engine._engine import ROWS
from pufferenv.engine.arrays import own_memory
from pufferenv.external._external import Mailbox
from pufferenv.external.description import make_runner

if TYPE_CHECKING:
    from pufferenv.external.game import ExternalGame

Arrays = dict[str, npt.NDArray[Any]]


class Backend(Protocol):
    """What ExternalEngine asks of a backend. `begin`, `end`: envs, half-open."""

    def __init__(self, game: ExternalGame, num_envs: int, mode: int) -> None:
        """`mode`: the engine's."""

    shares: bool  # runners reach any memory of this process, not only what `memory` gave

    def memory(self, shape: tuple[int, ...], dtype: np.dtype[Any]) -> npt.NDArray[Any]:
        """Return zeroed memory that runners can reach."""

    def start(self, arrays: Arrays) -> None:
        """Make the envs. `arrays`: the mailbox and what runners see of the engine's, as in Mailbox."""

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

    def wait_any(self, ranges: Sequence[tuple[int, int]]) -> None:
        """Wait until `ready` holds for one of these ranges."""

    def drain(self) -> None:
        """Wait for whatever was sent."""

    def close(self) -> None:
        """Close the envs. Twice is fine."""


def shares(num_envs: int, block: int, num_workers: int | None) -> list[slice]:
    """Return the envs of each worker: whole blocks, as equal as possible, in order."""
    blocks = num_envs // block
    count = min(num_workers or usable_cores(), blocks)
    ends = [blocks * w // count * block for w in range(count + 1)]
    return [slice(*pair) for pair in itertools.pairwise(ends)]


def plain_memory(shape: tuple[int, ...], dtype: np.dtype[Any]) -> npt.NDArray[Any]:
    """Return a zeroed array of this process."""
    size = int(np.prod(shape, dtype=np.int64)) * dtype.itemsize
    return own_memory(size).view(dtype).reshape(shape)


class Threads:
    """Threads that play a part of the envs each: for envs that release the GIL while they step."""

    shares = True

    def __init__(self, game: ExternalGame, num_envs: int, mode: int) -> None:
        """`mode`: the engine's."""
        self.game, self.num_envs, self.mode = game, num_envs, mode
        self._parts: list[tuple[slice, ThreadPoolExecutor]] = []  # one thread each
        self._runners: list[Any] = []
        self._sent: dict[tuple[int, int], list[Future[None]]] = {}

    def memory(self, shape: tuple[int, ...], dtype: np.dtype[Any]) -> npt.NDArray[Any]:
        """Return memory of this process."""
        return plain_memory(shape, dtype)

    def start(self, arrays: Arrays) -> None:
        """Make the envs, each in the thread that will play it."""
        game, rows = self.game, self.mode == ROWS
        for part in shares(self.num_envs, game.description.block, game.num_workers):
            self._parts.append((part, ThreadPoolExecutor(1, "pufferenv")))
        made = [
            thread.submit(
                make_runner,
                game.description,
                game.make,
                Mailbox({**arrays, "at": np.zeros(1, np.int64)}, rows),
                part.start,
                part.stop,
                self.mode,
            )
            for part, thread in self._parts
        ]
        self._runners = [runner.result() for runner in made]

    def reset(
        self, seeds: npt.NDArray[np.uint64] | None, mask: npt.NDArray[np.bool_] | None
    ) -> None:
        """Begin new episodes."""
        self._each(lambda runner, part: runner.reset(part.start, part.stop, seeds, mask))

    def _each(self, do: Callable[[Any, slice], None]) -> None:
        parts = zip(self._runners, self._parts, strict=True)
        for future in [thread.submit(do, runner, part) for runner, (part, thread) in parts]:
            future.result()

    def send(self, begin: int, end: int) -> None:
        """Have envs act; several ranges may be under way."""
        self._sent[begin, end] = [
            thread.submit(runner.step, max(begin, part.start), min(end, part.stop))
            for runner, (part, thread) in zip(self._runners, self._parts, strict=True)
            if begin < part.stop and part.start < end
        ]

    def ready(self, begin: int, end: int) -> bool:
        """Whether they have acted."""
        return all(future.done() for future in self._sent.get((begin, end), ()))

    def wait(self, begin: int, end: int) -> None:
        """Wait until they have; raise EnvError where an env failed."""
        for future in self._sent.pop((begin, end)):
            future.result()

    def wait_any(self, ranges: Sequence[tuple[int, int]]) -> None:
        """Wait until one of these ranges has acted."""
        while not any(self.ready(*one) for one in ranges):
            late = [future for one in ranges for future in self._sent[one] if not future.done()]
            concurrent.futures.wait(late, return_when=concurrent.futures.FIRST_COMPLETED)

    def drain(self) -> None:
        """Wait for whatever was sent."""
        for one in list(self._sent):
            self.wait(*one)

    def close(self) -> None:
        """Close the envs, and end the threads. Twice is fine."""
        runners, self._runners = self._runners, []
        for runner, (_, thread) in zip(runners, self._parts, strict=False):
            thread.submit(runner.close)
        for _, thread in self._parts:
            thread.shutdown()
        self._parts = []


class Serial:
    """All envs in the thread that steps the engine."""

    shares = True  # runners reach all memory of this process

    def __init__(self, game: ExternalGame, num_envs: int, mode: int) -> None:
        """`mode`: the engine's."""
        self.game, self.num_envs, self.mode = game, num_envs, mode
        self._runner: Any = None

    def memory(self, shape: tuple[int, ...], dtype: np.dtype[Any]) -> npt.NDArray[Any]:
        """Return memory of this process."""
        return plain_memory(shape, dtype)

    def start(self, arrays: Arrays) -> None:
        """Make the envs."""
        mailbox = Mailbox({**arrays, "at": np.zeros(1, np.int64)}, self.mode == ROWS)
        game = self.game
        self._runner = make_runner(
            game.description, game.make, mailbox, 0, self.num_envs, self.mode
        )

    def reset(
        self, seeds: npt.NDArray[np.uint64] | None, mask: npt.NDArray[np.bool_] | None
    ) -> None:
        """Begin new episodes."""
        self._runner.reset(0, self.num_envs, seeds, mask)

    def send(self, begin: int, end: int) -> None:
        """Step envs, here and now."""
        self._runner.step(begin, end)

    def ready(self, begin: int, end: int) -> bool:
        """Return True: it was done when it was sent."""
        return True

    def wait(self, begin: int, end: int) -> None:
        """Nothing is left to wait for."""

    def wait_any(self, ranges: Sequence[tuple[int, int]]) -> None:
        """Nothing is left to wait for."""

    def drain(self) -> None:
        """Nothing is left to wait for."""

    def close(self) -> None:
        """Close the envs."""
        if self._runner is not None:
            self._runner.close()
            self._runner = None
