"""The main function of a worker process, which runs commands from its channel until it is stopped.

worker_process.py starts it with the descriptors of a socket, of the shared memory and of a file for
crash traces. The worker reads its pickled job from standard input. If an env raises, it writes the
traceback into shared memory and exits.
"""

from __future__ import annotations

import faulthandler
import os
import pickle
import sys
import traceback
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from pufferenv.external._external import WorkerChannel, watch
from pufferenv.external.backends.shared_memory import Location, map_array
from pufferenv.external.description import EnvDescription
from pufferenv.external.runners.factory import make_runner

STOP, READY, RESET, STEP = range(4)  # commands; READY is only acknowledged
HAS_SEEDS, HAS_MASK = 1, 2  # flags of RESET: the arrays to use
SPIN_US = 20  # microseconds for which a worker polls for a command before it sleeps
TRACEBACK_BYTES = 1 << 16


class Job(NamedTuple):
    """The job of a worker: make and step envs [first, last)."""

    description: EnvDescription
    make: Callable[[], Any]
    first: int
    last: int
    mode: int  # the engine's
    arrays: dict[str, Location]  # those of a Mailbox, reset_seeds (E,), reset_mask (E,)
    channel: Location


def main(parent: int, socket: int, memory: int, trace: int) -> None:
    """Run the worker. `parent`: a process id; the other arguments are file descriptors."""
    for fd in (socket, memory, trace):
        os.set_inheritable(fd, False)
    watch(socket, parent)
    faulthandler.enable(trace)
    with open(0, "rb") as stdin:
        sent = stdin.read()
    sys.stdin = os.fdopen(os.open(os.devnull, os.O_RDONLY))  # an env that reads input gets EOF
    location, job = pickle.loads(sent)
    report = map_array(memory, location)
    try:
        run(pickle.loads(job), memory, socket)
    except BaseException:
        text = traceback.format_exc().encode(errors="replace")[-TRACEBACK_BYTES:]
        report[: len(text)] = np.frombuffer(text, np.uint8)
        os._exit(1)


def run(job: Job, memory: int, socket: int) -> None:
    """Make the envs, then run commands until STOP or until the parent has ended."""
    channel = WorkerChannel(map_array(memory, job.channel), socket)
    arrays = {name: map_array(memory, location) for name, location in job.arrays.items()}
    seeds, mask = arrays.pop("reset_seeds"), arrays.pop("reset_mask")
    arrays["current_env"] = channel.current_env_view()
    runner = make_runner(job.description, job.make, arrays, job.first, job.last, job.mode)
    while (command := channel.take(SPIN_US)) is not None:
        kind, begin, end = command
        if kind == STEP:
            runner.step(begin, end)
        elif kind == RESET:
            flags = begin
            runner.reset(
                job.first,
                job.last,
                seeds if flags & HAS_SEEDS else None,
                mask if flags & HAS_MASK else None,
            )
        elif kind == STOP:
            runner.close()
        channel.finish()
        if kind == STOP:
            return
