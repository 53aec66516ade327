"""What a worker process runs: takes commands from its line, until it is told to stop.

Started by backends.Processes with one socket, the shared memory and a file for the traces of
crashes; what it plays comes pickled on its standard input. An error's traceback goes into shared
memory, and the worker ends.
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

from pufferenv.engine._engine import ROWS
from pufferenv.external._external import Mailbox, WorkerChannel, watch
from pufferenv.external.backends.shared_memory import Place, mapped
from pufferenv.external.description import EnvDescription, make_runner

STOP, READY, RESET, STEP = range(4)
SEEDED, MASKED = 1, 2  # of a reset: which of the two arrays counts
SPIN_US = 20  # how long to look for a command before sleeping
TEXT_BYTES = 1 << 16  # of an error's traceback


class Job(NamedTuple):
    """Everything that one worker is told. Envs [first, last) are its."""

    description: EnvDescription
    make: Callable[[], Any]
    first: int
    last: int
    mode: int
    arrays: dict[str, Place]  # the Mailbox's, and seeds (E,), mask (E,)
    line: Place


def main(parent: int, socket: int, memory: int, trace: int) -> None:
    """Play. The numbers are the parent's process id, and descriptors."""
    for fd in (socket, memory, trace):
        os.set_inheritable(fd, False)
    watch(socket, parent)
    faulthandler.enable(trace)
    with open(0, "rb") as given:
        told = given.read()
    sys.stdin = os.fdopen(os.open(os.devnull, os.O_RDONLY))  # an env that reads finds the end
    place, pickled = pickle.loads(told)
    text = mapped(memory, place)
    try:
        play(pickle.loads(pickled), memory, socket)
    except BaseException:
        said = traceback.format_exc().encode(errors="replace")[-TEXT_BYTES:]
        text[: len(said)] = np.frombuffer(said, np.uint8)
        os._exit(1)


def play(job: Job, memory: int, socket: int) -> None:
    """Make the envs, then do what comes, until STOP or until the parent is gone."""
    line = WorkerChannel(mapped(memory, job.line), socket)
    arrays = {name: mapped(memory, place) for name, place in job.arrays.items()}
    seeds, mask = arrays.pop("seeds"), arrays.pop("mask")
    arrays["at"] = line.place()
    mailbox = Mailbox(arrays, job.mode == ROWS)
    runner = make_runner(job.description, job.make, mailbox, job.first, job.last, job.mode)
    while (command := line.take(SPIN_US)) is not None:
        kind, begin, end = command
        if kind == STEP:
            runner.step(begin, end)
        elif kind == RESET:
            given = seeds if begin & SEEDED else None, mask if begin & MASKED else None
            runner.reset(job.first, job.last, *given)
        elif kind == STOP:
            runner.close()
        line.finish()  # READY asks for no more than this
        if kind == STOP:
            return
