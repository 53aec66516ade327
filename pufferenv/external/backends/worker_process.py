"""The parent's side of one worker process: start it, send it commands, watch it, kill it.

A worker is a fresh interpreter, not a fork, because a forked child has none of the parent's threads
but their locks and state, which torch does not survive. The worker has its own session, so Ctrl-C
does not reach it, and it ends when its parent ends (worker_channel.h, `puf_channel_watch`).
"""

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
from collections.abc import Sequence

import numpy as np

from pufferenv.external._external import CHANNEL_BYTES, EnvError, WorkerChannel, wait_any
from pufferenv.external.backends.shared_memory import SharedMemory
from pufferenv.external.backends.worker import STOP, TRACEBACK_BYTES

SPIN_US = 20  # microseconds for which a wait polls for an answer before it sleeps
CLOSE_SECONDS = 5.0  # time limit for a worker to close its envs
MAX_WAIT_MS = 2**31 - 1


class WorkerProcess:
    """A worker that runs envs [first, last) of `name`."""

    def __init__(self, name: str, shared: SharedMemory, first: int, last: int) -> None:
        self.label = f"{name}: the worker of envs [{first}, {last})"
        self.first, self.last = first, last
        self.timed_out = False  # such a worker is killed without time to close its envs
        memory = shared.array((CHANNEL_BYTES,), np.dtype("u1"))
        self._traceback = shared.array((TRACEBACK_BYTES,), np.dtype("u1"))
        self.channel_location = shared.locate(memory)
        self._traceback_location = shared.locate(self._traceback)
        self._socket, other_end = socket.socketpair()
        self._crash_trace = tempfile.TemporaryFile()  # noqa: SIM115 (end() closes it)
        self.channel = WorkerChannel(memory, self._socket.fileno())
        # The child inherits these descriptors and nothing else.
        inherited = (other_end.fileno(), shared.fd, self._crash_trace.fileno())
        arguments = ", ".join(map(str, (os.getpid(), *inherited)))
        program = (
            f"import sys; sys.path[:] = {sys.path!r}; "
            f"from pufferenv.external.backends.worker import main; main({arguments})"
        )
        with other_end:
            self._process = subprocess.Popen(
                [sys.executable, "-c", program],
                stdin=subprocess.PIPE,
                pass_fds=inherited,
                start_new_session=True,
                env={"OMP_NUM_THREADS": "1", **os.environ},
            )
        self._kill = weakref.finalize(self, _kill, self._process, os.getpid())

    def send_job(self, job: bytes) -> None:
        """Send the worker its pickled Job."""
        assert self._process.stdin is not None
        try:
            with self._process.stdin as stdin:
                stdin.write(pickle.dumps((self._traceback_location, job)))
        except BrokenPipeError:
            pass  # the worker died; waiting for it reports why

    def send(self, kind: int, begin: int, end: int) -> int:
        """Send a command and return its number."""
        number: int = self.channel.send(kind, begin, end)
        return number

    def death_report(self) -> str | None:
        """Return how the worker ended, with its traceback; None if it runs."""
        code = self._process.poll()
        if code is None:
            return None
        text = bytes(self._traceback).rstrip(b"\0").decode(errors="replace")
        if text:
            return f"in the worker of envs [{self.first}, {self.last}):\n{text}"
        how = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"exited with {code}"
        self._crash_trace.seek(0)
        trace = self._crash_trace.read().decode(errors="replace")
        return f"{self.label} {how} while it ran env {self.channel.current_env}\n{trace}".rstrip()

    def stop(self) -> None:
        """Ask the worker to close its envs and exit; do not wait."""
        if self._process.poll() is None:
            self.send(STOP, 0, 0)

    def end(self) -> None:
        """Wait until the worker exits, and kill it if it does not."""
        try:
            self._process.wait(0 if self.timed_out else CLOSE_SECONDS)
        except subprocess.TimeoutExpired:
            pass
        finally:
            self._kill()
            self._socket.close()
            self._crash_trace.close()


def wait_for_any(commands: Sequence[tuple[WorkerProcess, int]], timeout: float | None) -> None:
    """Wait until one of these commands, each a worker and a number, is done.

    Raise EnvError if a worker died, or if no worker reached another env within `timeout` seconds.
    """
    channels = [worker.channel for worker, _ in commands]
    numbers = [number for _, number in commands]
    timeout_ms = -1 if timeout is None else min(int(timeout * 1000), MAX_WAIT_MS)
    try:
        while True:
            before = [channel.current_env for channel in channels]
            if wait_any(channels, numbers, SPIN_US, timeout_ms):
                return
            if before == [channel.current_env for channel in channels]:
                break
    except EOFError:
        # The socket closes shortly before the OS reports the exit status of the process.
        until = time.monotonic() + CLOSE_SECONDS
        while time.monotonic() < until:
            if reports := [text for worker, _ in commands if (text := worker.death_report())]:
                raise EnvError("\n".join(reports)) from None
            time.sleep(0.001)
        raise EnvError(f"{commands[0][0].label} or another one closed its socket") from None
    for worker, _ in commands:
        worker.timed_out = True
    late = ", ".join(
        f"{worker.label} at env {worker.channel.current_env}" for worker, _ in commands
    )
    raise EnvError(
        f"no answer for {timeout:g} s: {late}. If the env needs longer, give it more time with "
        "wrap(timeout=...) or --vec.timeout"
    )


def _kill(process: subprocess.Popen[bytes], owner: int) -> None:
    """Kill the process group of a worker: the worker, if it runs, and all that its envs started.

    The OS does not reuse a group's number while the group has members.
    """
    if os.getpid() != owner:
        return  # this is a fork of the process that the worker belongs to
    with contextlib.suppress(ProcessLookupError, PermissionError):  # macOS: only zombies are left
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    if process.stdin is not None:
        process.stdin.close()
