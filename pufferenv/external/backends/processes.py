"""The process backend: each worker process runs some of the envs.

The function that makes the envs is pickled by value if it cannot be imported (cloudpickle), so a
program needs no `if __name__ == "__main__"`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from pufferenv.external._external import EnvError
from pufferenv.external.backends.base import Arrays, EnvSetup, split_envs
from pufferenv.external.backends.shared_memory import SharedMemory
from pufferenv.external.backends.worker import HAS_MASK, HAS_SEEDS, READY, RESET, STEP, Job
from pufferenv.external.backends.worker_process import WorkerProcess, wait_for_any

START_SECONDS = 60.0  # an interpreter may take so long to start, before its first env is made


class Processes:
    """Steps envs in worker processes, which share the arrays with this one."""

    same_process = False

    def __init__(self, setup: EnvSetup) -> None:
        self.setup = setup
        self._shared = SharedMemory()
        self._seeds = self._shared.array((setup.num_envs,), np.dtype("u8"))
        self._mask = self._shared.array((setup.num_envs,), np.dtype("?"))
        self._workers: list[WorkerProcess] = []
        # By range of envs: the workers that it was sent to, each with the number of its command.
        self._in_flight: dict[tuple[int, int], list[tuple[WorkerProcess, int]]] = {}

    def allocate(self, shape: tuple[int, ...], dtype: np.dtype[Any]) -> npt.NDArray[Any]:
        """Return memory that the workers share."""
        return self._shared.array(shape, dtype)

    def start(self, arrays: Arrays) -> None:
        """Start the workers, which make the envs."""
        import cloudpickle  # a dependency of Gymnasium

        description, make, _, mode, _, timeout = self.setup
        shared = {**arrays, "reset_seeds": self._seeds, "reset_mask": self._mask}
        locations = {name: self._shared.locate(array) for name, array in shared.items()}
        # The interpreters start in parallel; then each receives its job.
        self._workers = [
            WorkerProcess(description.name, self._shared, envs.start, envs.stop)
            for envs in split_envs(self.setup)
        ]
        for worker in self._workers:
            channel = worker.channel_location
            job = Job(description, make, worker.first, worker.last, mode, locations, channel)
            worker.send_job(cloudpickle.dumps(job))
        self._shared.close()
        for sent in [(worker, worker.send(READY, 0, 0)) for worker in self._workers]:
            wait_for_any([sent], None if timeout is None else timeout + START_SECONDS)

    def reset(
        self, seeds: npt.NDArray[np.uint64] | None, mask: npt.NDArray[np.bool_] | None
    ) -> None:
        """Begin new episodes."""
        flags = 0
        if seeds is not None:
            self._seeds[:], flags = seeds, flags | HAS_SEEDS
        if mask is not None:
            self._mask[:], flags = mask, flags | HAS_MASK
        for worker in self._workers:
            worker.send(RESET, flags, 0)
        self.wait_all()

    def send(self, begin: int, end: int) -> None:
        """Start stepping envs [begin, end)."""
        if (begin, end) in self._in_flight:
            raise RuntimeError(f"envs [{begin}, {end}) were sent already: receive them first")
        self._in_flight[begin, end] = [
            (worker, worker.send(STEP, max(begin, worker.first), min(end, worker.last)))
            for worker in self._workers
            if begin < worker.last and worker.first < end
        ]

    def ready(self, begin: int, end: int) -> bool:
        """Return whether a range that was sent has stepped."""
        sent = self._in_flight.get((begin, end), [])
        return all(worker.channel.reached(number) for worker, number in sent)

    def wait(self, begin: int, end: int) -> None:
        """Wait until a range that was sent has stepped.

        Raise EnvError if an env raised, a worker died or one timed out.
        """
        if (begin, end) not in self._in_flight:
            raise RuntimeError(f"envs [{begin}, {end}) were not sent: send them first")
        self._wait(self._in_flight.pop((begin, end)))

    def wait_any(self, ranges: Sequence[tuple[int, int]]) -> None:
        """Wait until one of these ranges has stepped."""
        while True:
            # Each command is looked at once: a worker may finish at any moment, and a range that
            # has stepped by now must not be waited for.
            pending = []
            for one in ranges:
                unfinished = [
                    (worker, number)
                    for worker, number in self._in_flight[one]
                    if not worker.channel.reached(number)
                ]
                if not unfinished:
                    return
                pending += unfinished
            wait_for_any(pending, self.setup.timeout)

    def wait_all(self) -> None:
        """Wait for every range that was sent."""
        self._in_flight.clear()
        self._wait((worker, worker.channel.sent) for worker in self._workers)

    def _wait(self, sent: Iterable[tuple[WorkerProcess, int]]) -> None:
        for one in sent:
            wait_for_any([one], self.setup.timeout)

    def render(self, envs: Sequence[int]) -> list[Any]:
        """Raise EnvError: the workers do not send pictures."""
        name = self.setup.description.name
        raise EnvError(
            f"{name}: envs in other processes cannot be drawn: use backend='serial' or 'threads'"
        )

    def close(self) -> None:
        """Close the envs, and end the workers. A second call does nothing."""
        for worker in self._workers:
            worker.stop()
        for worker in self._workers:
            worker.end()
        self._workers = []
        self._shared.close()
