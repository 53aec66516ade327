"""Loggers: one row of the table gives the flag, its help and the check that it is installed."""

import json
import sys
import types
from pathlib import Path

import numpy as np
import pytest

from pufferenv.drawing.video import VideoWriter
from pufferlib.cli.main import main
from pufferlib.run import loggers
from pufferlib.run.loggers import LoggerEntry, LoggerError

TINY = ["--vec.num-envs=8", "--vec.num-threads=1", "--train.horizon=8", "--train.minibatch-size=0"]
SHORT = [
    *TINY,
    "--train.threads=1",
    "--train.precision=float32",
    "--train.total-timesteps=128",
    "--train.eval-interval=0",
]


class RecordingLogger:
    """A logger that stores what it receives."""

    def __init__(self, folder, config):
        self.folder, self.config, self.logged, self.closed = folder, config, [], 0
        self.clips = []
        made.append(self)

    def log(self, metrics):
        self.logged.append(dict(metrics))

    def log_clip(self, file, agent_steps):
        self.clips.append((file, agent_steps))

    def close(self):
        self.closed += 1


made = []


@pytest.fixture(autouse=True)
def empty_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    made.clear()


@pytest.fixture
def row(monkeypatch):
    entry = LoggerEntry(RecordingLogger, "a list in memory", "json", "memory-logger")
    monkeypatch.setitem(loggers.LOGGERS, "in-memory", entry)
    return entry


def test_a_row_makes_the_flag_and_its_help_and_the_logger_gets_all_that_the_run_logs(row, capsys):
    assert main(["train", "--help"]) == 0
    assert "also log to a list in memory" in capsys.readouterr().out
    assert main(["train", "squared", "--name", "x", "--in-memory", *SHORT]) == 0
    (logger,) = made
    lines = Path("runs/squared/x/metrics.jsonl").read_text().splitlines()
    assert logger.logged == [json.loads(line) for line in lines]
    assert logger.folder == Path("runs/squared/x")
    assert logger.config["game"] == "squared"
    assert logger.closed == 1


def test_without_its_flag_a_logger_is_not_made(row):
    assert main(["train", "squared", *SHORT]) == 0
    assert made == []


def test_a_logger_whose_module_is_missing_names_its_flag_and_what_to_install(monkeypatch):
    entry = LoggerEntry(RecordingLogger, "nowhere", "no_such_module", "some-package")
    monkeypatch.setitem(loggers.LOGGERS, "nowhere", entry)
    with pytest.raises(LoggerError, match=r"--nowhere.*`pip install 'some-package'`"):
        loggers.make(["nowhere"], Path(), {})
    assert made == []


@pytest.mark.parametrize("name", list(loggers.LOGGERS))
def test_every_row_imports_its_module_and_can_log(name, tmp_path, monkeypatch):
    """A stand-in replaces the package, so that nothing is installed or contacted."""
    entry, calls = loggers.LOGGERS[name], []

    def record(*args, **more):
        calls.append((args, more))

    writer = types.SimpleNamespace(add_scalar=record, log=record, close=record, finish=record)
    module = types.SimpleNamespace(SummaryWriter=lambda *a: writer, init=lambda **more: writer)
    monkeypatch.setitem(sys.modules, entry.module, module)
    (logger,) = loggers.make([name], tmp_path, {"game": "squared"})
    logger.log({"agent_steps": 64, "loss/loss": 0.5})
    assert calls
    logger.close()


def test_wandb_gets_a_clip_as_a_video_of_its_file(tmp_path, monkeypatch):
    """A stand-in replaces the package."""
    logged = []
    run = types.SimpleNamespace(log=lambda data, step: logged.append((data, step)))
    module = types.SimpleNamespace(
        init=lambda **more: run, Video=lambda file, format: ("video", file, format)
    )
    monkeypatch.setitem(sys.modules, "wandb", module)
    (logger,) = loggers.make(["wandb"], tmp_path, {})
    logger.log_clip(tmp_path / "x.gif", 64)
    assert logged == [({"eval/clip": ("video", str(tmp_path / "x.gif"), "gif")}, 64)]


def test_tensorboard_gets_a_clip_as_an_image_that_its_page_plays(tmp_path):
    accumulator = pytest.importorskip(
        "tensorboard.backend.event_processing.event_accumulator",
        reason="tensorboard is not installed",
    )
    file = tmp_path / "x.gif"
    with VideoWriter(file, 20, 12, 15) as writer:
        for shade in (0, 100, 200):
            writer.add(np.full((12, 20, 3), shade, np.uint8))
    (logger,) = loggers.make(["tensorboard"], tmp_path, {})
    logger.log_clip(file, 64)
    logger.close()
    events = accumulator.EventAccumulator(str(tmp_path / "tensorboard"))
    events.Reload()
    (image,) = events.Images("eval/clip")
    assert (image.step, image.width, image.height) == (64, 20, 12)
    assert image.encoded_image_string == file.read_bytes()
