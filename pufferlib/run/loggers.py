"""Loggers that get metrics, and clips of the policy: TensorBoard and Weights & Biases.

A new logger is one class and one row of LOGGERS at the end of this file. The command line creates
its flag and its help from that row. A logger's package is imported only when the logger is used.
"""

import importlib
import os
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple, Protocol

CLIP = "eval/clip"  # the name of clips among the metrics


class LoggerError(ValueError):
    """A requested logger is not installed; the message says how to install it."""


class Logger(Protocol):
    """Receives flat metrics, `group/name` to a number; each set has `agent_steps`."""

    def log(self, metrics: Mapping[str, Any]) -> None:
        """Record the numbers at their `agent_steps`."""

    def log_clip(self, file: Path, agent_steps: int) -> None:
        """Record a clip of the policy, a GIF in the run's folder (clips.py)."""

    def close(self) -> None:
        """Flush buffered metrics."""


class TensorBoard:
    """Writes event files to `tensorboard/` in the run's folder."""

    def __init__(self, folder: Path, config: Mapping[str, Any]) -> None:
        module = importlib.import_module("torch.utils.tensorboard")
        self._writer = module.SummaryWriter(str(folder / "tensorboard"))

    def log(self, metrics: Mapping[str, Any]) -> None:
        """Record the numbers at their `agent_steps`."""
        for key, value in metrics.items():
            if isinstance(value, (int, float)):
                self._writer.add_scalar(key, value, metrics["agent_steps"])

    def log_clip(self, file: Path, agent_steps: int) -> None:
        """Record a clip as an image, which TensorBoard's page plays.

        add_video would need moviepy to encode frames, which are encoded already.
        """
        summaries = importlib.import_module("tensorboard.compat.proto.summary_pb2")
        content = file.read_bytes()
        image = summaries.Summary.Image(
            width=int.from_bytes(content[6:8], "little"),  # as the header of a GIF has them
            height=int.from_bytes(content[8:10], "little"),
            colorspace=3,  # RGB
            encoded_image_string=content,
        )
        value = summaries.Summary.Value(tag=CLIP, image=image)
        self._writer.file_writer.add_summary(summaries.Summary(value=[value]), agent_steps)

    def close(self) -> None:
        """Flush buffered metrics."""
        self._writer.close()


class Wandb:
    """Logs under the run's name to the project WANDB_PROJECT, by default `pufferenv`."""

    def __init__(self, folder: Path, config: Mapping[str, Any]) -> None:
        module = self._module = importlib.import_module("wandb")
        project = os.environ.get("WANDB_PROJECT", "pufferenv")
        name = f"{folder.parent.name}/{folder.name}"
        self._run = module.init(project=project, name=name, config=dict(config), dir=str(folder))

    def log(self, metrics: Mapping[str, Any]) -> None:
        """Record the numbers at their `agent_steps`."""
        self._run.log(dict(metrics), step=metrics["agent_steps"])

    def log_clip(self, file: Path, agent_steps: int) -> None:
        """Record a clip as a video."""
        self._run.log({CLIP: self._module.Video(str(file), format="gif")}, step=agent_steps)

    def close(self) -> None:
        """Flush buffered metrics."""
        self._run.finish()


class LoggerEntry(NamedTuple):
    """One row of LOGGERS."""

    make: Callable[[Path, Mapping[str, Any]], Logger]  # (folder of the run, config) -> logger
    title: str  # as the help names it
    module: str  # must be importable
    install: str  # argument of `pip install` for the module


# The key is the flag: `puffer train GAME --wandb`.
LOGGERS: dict[str, LoggerEntry] = {
    "tensorboard": LoggerEntry(
        TensorBoard, "TensorBoard", "torch.utils.tensorboard", "pufferenv[tensorboard]"
    ),
    "wandb": LoggerEntry(Wandb, "Weights & Biases", "wandb", "pufferenv[wandb]"),
}


def check(names: Iterable[str]) -> None:
    """Raise LoggerError unless all of these loggers are installed."""
    for name in names:
        entry = LOGGERS[name]
        try:
            importlib.import_module(entry.module)
        except ImportError as error:
            raise LoggerError(
                f"--{name}: {name} is not installed ({error}); run `pip install '{entry.install}'`"
            ) from None


def make(names: Iterable[str], folder: Path, config: Mapping[str, Any]) -> list[Logger]:
    """Start these loggers for a run in `folder`. Raise LoggerError if one is not installed."""
    names = tuple(names)
    check(names)
    return [LOGGERS[name].make(folder, config) for name in names]
