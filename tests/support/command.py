"""Run the command line in tests: options of a tiny run, and the printed output."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

from pufferlib.cli.main import main
from pufferlib.ppo.trainer import Trainer
from tests.support.paths import ROOT

TINY = [
    "--vec.num-envs=8",
    "--vec.num-threads=1",
    "--train.horizon=8",
    "--train.minibatch-size=0",
    "--train.threads=1",
    "--train.precision=float32",  # auto is measured: two runs may differ
    "--policy.hidden-size=8",
    "--train.eval-episodes=4",
]
SHORT = [*TINY, "--train.total-timesteps", "640"]


def puffer(*words, **more):
    """Start the command in a new process with piped output."""
    env = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1"}
    command = [sys.executable, "-m", "pufferlib", *words]
    pipe = subprocess.PIPE
    return subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True, env=env, **more)


def metrics(run):
    """Return all lines of a run's metrics.jsonl."""
    lines = (Path(run) / "metrics.jsonl").read_text().splitlines()
    return [json.loads(line) for line in lines]


def error_of(capsys, *words, code=2):
    """Run a command that fails; return its short error message."""
    assert main(list(words)) == code
    error = capsys.readouterr().err
    assert "Traceback" not in error
    assert error.startswith("puffer: ")
    assert len(error.splitlines()) <= 4
    return error


def wait_for_steps(process):
    """Read a run's output up to its second line of metrics."""
    seen = 0
    for line in process.stdout:
        seen += line.startswith("steps ")
        if seen == 2:
            return
    raise AssertionError(process.stderr.read())


def stop_after(monkeypatch, updates, error=None, number=signal.SIGINT):
    """Send a signal in update number `updates`, or raise `error` in the update after it."""
    real, left = Trainer.update, [updates]

    def update(self):
        left[0] -= 1
        if left[0] < 0 and error:
            raise error
        if left[0] == 0 and not error:
            os.kill(os.getpid(), number)
        return real(self)

    monkeypatch.setattr(Trainer, "update", update)
