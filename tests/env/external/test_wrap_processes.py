"""Worker processes: an error names a worker that ended and why; workers end with their parent."""

from __future__ import annotations

import ctypes
import functools
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import pufferlib
from pufferenv.external.backends import processes
from pufferenv.external.backends.shared_memory import SharedMemory, map_array
from pufferenv.external.game import EnvError, ExternalGame
from pufferenv.game_spec import GameSpec
from pufferenv.vector_env import PufferVectorEnv
from tests.support.external_envs import RECORDED, RecordingEnv, first_seeds
from tests.support.paths import ROOT

MAX_END_SECONDS = 3  # time limit for a process to end


class Fatal(RecordingEnv):
    """Ends its process in its third step in the way `how`; a file in `notes` has its process id."""

    def __init__(self, how, notes=None):
        super().__init__(end=0.0)
        self.how = how
        if notes:
            Path(notes, f"{os.getpid()}").touch()

    def step(self, action):
        result = super().step(action)
        if self.seen[3] == 3:
            if self.how == "exit":
                os._exit(7)
            elif self.how == "segfault":
                ctypes.string_at(0)
            elif self.how == "kill":
                os.kill(os.getpid(), signal.SIGKILL)
            elif self.how == "hang":
                time.sleep(1000)
        return result


def three_steps(env):
    env.reset(seed=1)
    for _ in range(3):
        env.step(np.zeros(env.num_envs, np.int64))


@pytest.mark.parametrize(
    ("how", "words"),
    [
        ("exit", r"Fatal: the worker of envs \[1, 2\) exited with 7 while it ran env 1"),
        (
            "segfault",
            r"Fatal: the worker of envs \[1, 2\) was killed by SIGSEGV while it ran env 1",
        ),
        ("kill", r"Fatal: the worker of envs \[1, 2\) was killed by SIGKILL while it ran env 1"),
    ],
)
def test_a_worker_that_dies_is_an_error_that_names_it(how, words):
    class Second(Fatal):
        def reset(self, *, seed=None, options=None):
            seen, info = super().reset(seed=seed)
            self.how = how if seed == second else None
            return seen, info

    second = int(first_seeds(1, 2)[1])
    make = functools.partial(Second, None)
    env = pufferlib.wrap(make, 2, backend="processes", num_workers=2, name="Fatal")
    with pytest.raises(EnvError, match=words) as caught:
        three_steps(env)
    if how == "segfault":  # the message has the line of the crash
        assert "in string_at" in str(caught.value)
        assert "test_wrap_processes.py" in str(caught.value)
    env.close()


def test_a_worker_that_does_not_answer_is_an_error_after_its_time():
    make = functools.partial(Fatal, "hang")
    env = pufferlib.wrap(make, 2, backend="processes", num_workers=1, timeout=0.5)
    env.reset()
    with pytest.raises(EnvError, match=r"no answer for 0.5 s: Fatal: .* \[0, 2\) at env 0"):
        for _ in range(3):
            env.step(np.zeros(2, np.int64))
    env.close()


class Sleepy(RecordingEnv):
    """Takes 0.3 s to be made, reset and stepped."""

    def __init__(self):
        super().__init__(end=0.0)
        time.sleep(0.3)

    def reset(self, **given):
        time.sleep(0.3)
        return super().reset(**given)

    def step(self, action):
        time.sleep(0.3)
        return super().step(action)


def test_a_worker_that_comes_from_env_to_env_is_waited_for():
    """The timeout applies to each env; four envs may together take longer."""
    env = pufferlib.wrap(Sleepy, 4, backend="processes", num_workers=1, timeout=0.8)
    env.reset(seed=1)
    obs, *_ = env.step(np.zeros(4, np.int64))
    assert obs[:, 3].tolist() == [1, 1, 1, 1]
    env.close()


def test_an_env_that_is_never_made_is_an_error_after_its_time(monkeypatch):
    monkeypatch.setattr(processes, "START_SECONDS", 1.0)
    here = os.getpid()

    def make():
        if os.getpid() != here:
            time.sleep(1000)
        return RecordingEnv()

    env = pufferlib.wrap(make, 2, backend="processes", num_workers=1, timeout=1)
    with pytest.raises(EnvError, match=r"no answer for 2 s: .* at env 0\. If the env needs"):
        env.reset()
    env.close()


def test_a_worker_has_a_time_unless_told_otherwise():
    assert pufferlib.wrap(RecordingEnv).game.timeout == 300
    assert pufferlib.wrap(RecordingEnv, timeout=None).game.timeout is None
    for timeout in (0, -1, float("nan")):
        with pytest.raises(ValueError, match="must be above 0 seconds, or None for no limit"):
            pufferlib.wrap(RecordingEnv, timeout=timeout)


def test_an_env_that_cannot_be_made_is_told_with_its_traceback():
    here = os.getpid()

    def make():
        if os.getpid() != here:
            raise OSError("no display")
        return RecordingEnv()

    env = pufferlib.wrap(make, 2, backend="processes", num_workers=2)
    with pytest.raises(EnvError, match=r"in the worker of envs \[0, 1\)(.|\n)*OSError: no display"):
        env.reset()


def test_closing_ends_the_workers(tmp_path):
    make = functools.partial(Fatal, None, tmp_path)
    env = pufferlib.wrap(make, 4, backend="processes", num_workers=2)
    env.reset()
    workers = [number for number in pids(tmp_path) if number != os.getpid()]
    assert len(workers) == 2
    env.close()
    env.close()
    assert gone(workers)


class Starter(RecordingEnv):
    """In a worker, starts a process that it never ends; a file in `notes` has its id."""

    def __init__(self, notes, parent):
        super().__init__(end=0.0)
        if os.getpid() != parent:
            child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(1000)"])
            Path(notes, f"{child.pid}").touch()


def test_what_envs_started_ends_with_their_workers(tmp_path):
    make = functools.partial(Starter, tmp_path, os.getpid())
    env = pufferlib.wrap(make, 2, backend="processes", num_workers=2)
    env.reset()
    started = pids(tmp_path)
    assert len(started) == 2
    env.close()  # the workers end without being killed
    assert gone(started)


PROGRAM = """
import os, signal, sys, time
import numpy as np
import pufferlib
from tests.env.external.test_wrap_processes import Fatal

signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's `&` leaves it ignored
how, notes = sys.argv[1:]
env = pufferlib.wrap(lambda: Fatal(how, notes), 4, backend="processes", num_workers=2)
env.reset()
print("ready", flush=True)
if how == "raise":
    raise ValueError("of the program")
if how == "leave":
    sys.exit(0)
while True:
    env.step(np.zeros(4, np.int64))
"""


def pids(notes):
    return [int(path.name) for path in notes.iterdir()]


def gone(numbers):
    """Return whether all these processes end within MAX_END_SECONDS."""
    until = time.monotonic() + MAX_END_SECONDS
    while time.monotonic() < until:
        if not any(alive(number) for number in numbers):
            return True
        time.sleep(0.01)
    return False


def alive(number):
    try:
        status = Path(f"/proc/{number}/stat").read_text()
    except OSError:
        if Path("/proc/self").exists():
            return False
        try:
            os.kill(number, 0)
        except ProcessLookupError:
            return False
        return True
    return (
        status.rpartition(")")[2].split()[0] != "Z"
    )  # Z: a zombie, which its parent has not waited for


@pytest.mark.parametrize("how", ["raise", "leave", "interrupt", "kill", "kill while it hangs"])
def test_nothing_is_left_behind_however_a_program_ends(how, tmp_path):
    behaviour = {"kill while it hangs": "hang", "kill": "go on", "interrupt": "go on"}.get(how, how)
    before = set(os.listdir("/dev/shm")) if os.path.isdir("/dev/shm") else set()
    program = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, behaviour, str(tmp_path)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert program.stdout is not None
    assert program.stdout.readline() == "ready\n"
    workers = [number for number in pids(tmp_path) if number != program.pid]
    assert len(workers) == 2
    time.sleep(0.1)  # into the steps
    if how == "interrupt":
        program.send_signal(signal.SIGINT)
    elif how.startswith("kill"):
        program.kill()
    _, errors = program.communicate(timeout=MAX_END_SECONDS)
    assert gone(workers)
    if os.path.isdir("/dev/shm"):
        assert set(os.listdir("/dev/shm")) <= before
    if how == "interrupt":
        assert errors.count("Traceback") == 1  # the program's own, not a worker's
        assert "KeyboardInterrupt" in errors


def test_an_array_of_shared_memory_is_the_same_from_its_descriptor():
    shared = SharedMemory()
    first = shared.array((3, 5), np.dtype("f4"))
    second = shared.array((70_000,), np.dtype("u1"))
    seen = map_array(shared.fd, shared.locate(second))
    second[-1] = 9
    assert seen[-1] == 9
    assert not first.any()
    location = shared.locate(first)
    shared.close()
    first[:] = 1  # stays valid
    assert location.shape == (3, 5)
    with pytest.raises(MemoryError, match="GiB of shared memory"):
        SharedMemory().array((2**61,), np.dtype("u1"))


@pytest.mark.parametrize("backend", ["serial", "threads", "processes"])
def test_observations_are_written_to_memory_of_the_caller(backend):
    """Worker processes cannot reach it: there observations go through the mailbox."""

    def play(**buffers):
        RECORDED.clear()
        game = ExternalGame(RecordingEnv, backend=backend, num_workers=2)
        env = PufferVectorEnv(
            GameSpec.of(game),
            4,
            num_threads=1,
            seed=None,
            autoreset_mode="same_step",
            copy=False,
            buffers=buffers,
        )
        played = [env.reset(seed=1)[0].copy()]
        for _ in range(20):
            played.append(env.step(np.ones(4, np.int64))[0].copy())
        env.close()
        return played

    given = np.full((4, 4), np.nan, np.float32)
    wanted, found = play(), play(observations=given)
    np.testing.assert_array_equal(found, wanted)
    np.testing.assert_array_equal(given, wanted[-1])


def test_range_that_finishes_while_it_is_looked_at_is_not_waited_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class FinishesAtTheSecondLook:
        looks = 0

        def reached(self, number: int) -> bool:
            self.looks += 1
            return self.looks > 1

    waited: list[int] = []
    monkeypatch.setattr(
        processes, "wait_for_any", lambda commands, timeout: waited.append(len(commands))
    )
    backend: Any = processes.Processes.__new__(processes.Processes)
    backend.setup = SimpleNamespace(timeout=None)
    workers = [SimpleNamespace(channel=FinishesAtTheSecondLook()) for _ in range(2)]
    backend._in_flight = {(0, 1): [(workers[0], 1)], (1, 2): [(workers[1], 1)]}
    backend.wait_any([(0, 1), (1, 2)])
    # Without a command to wait for, the wait would last until the timeout.
    assert waited == [2]
