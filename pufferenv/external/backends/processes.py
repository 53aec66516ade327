"""The backend that plays external envs in worker processes, and how one of them is watched."""

from __future__ import annotations

import contextlib
import os
import pickle
import signal
import socket
import subprocess
import sys
import tempfile
import time
import weakref
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from pufferenv.external._external import CHANNEL_BYTES, EnvError, WorkerChannel, wait_any
from pufferenv.external.backends.shared_memory import Shared
from pufferenv.external.backends.threads import shares
from pufferenv.external.backends.worker import (
    MASKED,
    READY,
    RESET,
    SEEDED,
    STEP,
    STOP,
    TEXT_BYTES,
    Job,
)

if TYPE_CHECKING:
    from pufferenv.external.game import ExternalGame

SPIN_US = 20  # how long to look for an answer before sleeping
CLOSE_MS = 5000  # that a worker may take to close its envs
START_S = 60.0  # seconds that an interpreter may take to start, before its first env is made
MOST_MS = 2**31 - 1  # that a wait takes


class Processes:
    """Workers that play a part of the envs each, in processes of their own.

    They are fresh interpreters: a fork would copy this one's threads in whatever state they are,
    which torch's do not survive. What makes the envs is pickled by value where it cannot be
    imported (cloudpickle), so a program needs no `if __name__ == "__main__"`. A worker lives in a
    session of its own, where Ctrl-C does not reach it, and ends when this process does.
    """

    shares = False

    def __init__(self, game: ExternalGame, num_envs: int, mode: int) -> None:
        """`mode`: the engine's."""
        self.game, self.num_envs, self.mode = game, num_envs, mode
        self._shared = Shared()
        self._seeds = self._shared.array((num_envs,), np.dtype("u8"))
        self._mask = self._shared.array((num_envs,), np.dtype("?"))
        self._workers: list[Worker] = []
        # By range of envs: the workers that it was sent to, and which command of each it is.
        self._sent: dict[tuple[int, int], list[tuple[Worker, int]]] = {}

    def memory(self, shape: tuple[int, ...], dtype: np.dtype[Any]) -> npt.NDArray[Any]:
        """Return memory that workers share."""
        return self._shared.array(shape, dtype)

    def start(self, arrays: dict[str, npt.NDArray[Any]]) -> None:
        """Start the workers, which make the envs."""
        import cloudpickle  # Gymnasium brings it

        description = self.game.description
        parts = shares(self.num_envs, description.block, self.game.num_workers)
        given = {**arrays, "seeds": self._seeds, "mask": self._mask}
        places = {name: self._shared.place(array) for name, array in given.items()}
        self._workers = [Worker(description.name, self._shared, p.start, p.stop) for p in parts]
        for worker in self._workers:
            job = Job(
                description,
                self.game.make,
                worker.first,
                worker.last,
                self.mode,
                places,
                worker.channel_place,
            )
            worker.begin(cloudpickle.dumps(job))
        self._shared.close()
        timeout = self.game.timeout
        for sent in [(worker, worker.send(READY, 0, 0)) for worker in self._workers]:
            _wait([sent], None if timeout is None else timeout + START_S)

    def reset(
        self, seeds: npt.NDArray[np.uint64] | None, mask: npt.NDArray[np.bool_] | None
    ) -> None:
        """Begin new episodes."""
        flags = 0
        if seeds is not None:
            self._seeds[:], flags = seeds, flags | SEEDED
        if mask is not None:
            self._mask[:], flags = mask, flags | MASKED
        for worker in self._workers:
            worker.send(RESET, flags, 0)
        self.drain()

    def send(self, begin: int, end: int) -> None:
        """Have envs act; several ranges may be under way."""
        if (begin, end) in self._sent:
            raise RuntimeError(f"envs [{begin}, {end}) act already: receive them first")
        self._sent[begin, end] = [
            (worker, worker.send(STEP, max(begin, worker.first), min(end, worker.last)))
            for worker in self._workers
            if begin < worker.last and worker.first < end
        ]

    def ready(self, begin: int, end: int) -> bool:
        """Whether they have acted."""
        sent = self._sent.get((begin, end), [])
        return all(worker.line.reached(number) for worker, number in sent)

    def wait(self, begin: int, end: int) -> None:
        """Wait until they have; raise EnvError where an env failed or a worker died."""
        if (begin, end) not in self._sent:
            raise RuntimeError(f"envs [{begin}, {end}) were not sent")
        self._wait(self._sent.pop((begin, end)))

    def wait_any(self, ranges: Sequence[tuple[int, int]]) -> None:
        """Wait until one of these ranges has acted."""
        while not any(self.ready(*one) for one in ranges):
            late = [
                (worker, number)
                for one in ranges
                for worker, number in self._sent[one]
                if not worker.line.reached(number)
            ]
            _wait(late, self.game.timeout)

    def drain(self) -> None:
        """Wait for whatever was sent."""
        self._sent.clear()
        self._wait((worker, worker.line.sent) for worker in self._workers)

    def _wait(self, sent: Iterable[tuple[Worker, int]]) -> None:
        for one in sent:
            _wait([one], self.game.timeout)

    def close(self) -> None:
        """End the workers. Twice is fine."""
        for worker in self._workers:
            worker.stop()
        for worker in self._workers:
            worker.end()
        self._workers = []
        self._shared.close()


class Worker:
    """One worker process, as its parent sees it. It plays envs [first, last)."""

    def __init__(self, name: str, shared: Shared, first: int, last: int) -> None:
        self.name, self.first, self.last = name, first, last
        self.hangs = False  # it will not close its envs either
        memory = shared.array((CHANNEL_BYTES,), np.dtype("u1"))
        self._text = shared.array((TEXT_BYTES,), np.dtype("u1"))
        self.channel_place, self._text_place = shared.place(memory), shared.place(self._text)
        self._socket, theirs = socket.socketpair()
        self._trace = tempfile.TemporaryFile()  # noqa: SIM115 (end() closes it)
        self.line = WorkerChannel(memory, self._socket.fileno())
        handed = (theirs.fileno(), shared.fd, self._trace.fileno())
        numbers = ", ".join(map(str, (os.getpid(), *handed)))
        program = (
            f"import sys; sys.path[:] = {sys.path!r}; "
            f"from pufferenv.external.backends.worker import main; main({numbers})"
        )
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-c", program],
                stdin=subprocess.PIPE,
                pass_fds=handed,
                start_new_session=True,
                env={"OMP_NUM_THREADS": "1", **os.environ},
            )
        self._end = weakref.finalize(self, _kill, self._process, os.getpid())

    def begin(self, job: bytes) -> None:
        """Give the worker its job."""
        assert self._process.stdin is not None
        try:
            with self._process.stdin as stdin:
                stdin.write(pickle.dumps((self._text_place, job)))
        except BrokenPipeError:
            pass  # it died; whoever waits for it will know why

    def send(self, kind: int, begin: int, end: int) -> int:
        """Give a command -> its number."""
        number: int = self.line.send(kind, begin, end)
        return number

    def gone(self) -> str | None:
        """Say how the worker ended; None: it is there."""
        code = self._process.poll()
        if code is None:
            return None
        text = bytes(self._text).rstrip(b"\0").decode(errors="replace")
        if text:
            return f"in the worker of envs [{self.first}, {self.last}):\n{text}"
        how = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"exited with {code}"
        self._trace.seek(0)
        trace = self._trace.read().decode(errors="replace")
        return f"{self.spell()} {how}; at hand was env {self.line.at}\n{trace}".rstrip()

    def spell(self) -> str:
        """Name the worker in a message."""
        return f"{self.name}: the worker of envs [{self.first}, {self.last})"

    def stop(self) -> None:
        """Ask the worker to close its envs and end; do not wait."""
        if self._process.poll() is None:
            self.send(STOP, 0, 0)

    def end(self) -> None:
        """See to it that the worker is gone."""
        try:
            self._process.wait(0 if self.hangs else CLOSE_MS / 1000)
        except subprocess.TimeoutExpired:
            pass
        finally:
            self._end()
            self._socket.close()
            self._trace.close()


def _wait(sent: Sequence[tuple[Worker, int]], timeout: float | None) -> None:
    """Wait until one of these commands is done; raise EnvError where that will not come.

    A worker that comes to another env within `timeout` seconds is at work.
    """
    lines = [worker.line for worker, _ in sent]
    numbers = [number for _, number in sent]
    slept = -1 if timeout is None else min(int(timeout * 1000), MOST_MS)
    try:
        while True:
            before = [line.at for line in lines]
            if wait_any(lines, numbers, SPIN_US, slept):
                return
            if before == [line.at for line in lines]:
                break
    except EOFError:
        until = time.monotonic() + CLOSE_MS / 1000
        while time.monotonic() < until:
            if whys := [why for worker, _ in sent if (why := worker.gone())]:
                raise EnvError("\n".join(whys)) from None
            time.sleep(0.001)
        raise EnvError(f"{sent[0][0].spell()} or one beside it closed its socket") from None
    for worker, _ in sent:
        worker.hangs = True
    late = ", ".join(f"{worker.spell()} at env {worker.line.at}" for worker, _ in sent)
    raise EnvError(
        f"no answer for {timeout:g} s: {late}. An env that needs longer gets it by "
        "wrap(timeout=...) or --vec.timeout"
    )


def _kill(process: subprocess.Popen[bytes], owner: int) -> None:
    """Kill a worker if it is still there, and what its envs started: it is in the same group.

    A group's number is not given out again as long as somebody is in it.
    """
    if os.getpid() != owner:
        return  # a fork of the process that it belongs to
    with contextlib.suppress(ProcessLookupError, PermissionError):  # macOS: only zombies are left
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    if process.stdin is not None:
        process.stdin.close()
