"""Where metrics go besides metrics.jsonl: TensorBoard and Weights & Biases, imported on demand."""

import importlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

TENSORBOARD = ("torch.utils.tensorboard", "tensorboard")  # module, extra of this package
WANDB = ("wandb", "wandb")


class LoggerError(ValueError):
    """A logger that was asked for and is not installed; the message says how to install it."""


class Logger(Protocol):
    """Takes flat metrics, `group/name` to a number, each with `agent_steps`."""

    def log(self, metrics: Mapping[str, Any]) -> None:
        """Record the numbers at their `agent_steps`."""

    def close(self) -> None:
        """Write what is still in memory."""


class TensorBoard:
    """Event files in the run folder's `tensorboard/`."""

    def __init__(self, folder: Path) -> None:
        module = _import(*TENSORBOARD)
        self._writer = module.SummaryWriter(str(folder / "tensorboard"))

    def log(self, metrics: Mapping[str, Any]) -> None:
        """Record the numbers at their `agent_steps`."""
        for key, value in metrics.items():
            if isinstance(value, (int, float)):
                self._writer.add_scalar(key, value, metrics["agent_steps"])

    def close(self) -> None:
        """Write what is still in memory."""
        self._writer.close()


class Wandb:
    """A Weights & Biases run in project `pufferenv`, named as the run; WANDB_* variables hold."""

    def __init__(self, folder: Path, config: Mapping[str, Any]) -> None:
        module = _import(*WANDB)
        project = os.environ.get("WANDB_PROJECT", "pufferenv")
        name = f"{folder.parent.name}/{folder.name}"
        self._run = module.init(project=project, name=name, config=dict(config), dir=str(folder))

    def log(self, metrics: Mapping[str, Any]) -> None:
        """Record the numbers at their `agent_steps`."""
        self._run.log(dict(metrics), step=metrics["agent_steps"])

    def close(self) -> None:
        """Write what is still in memory."""
        self._run.finish()


def check(*, tensorboard: bool, wandb: bool) -> None:
    """Raise LoggerError where one that is asked for is not installed."""
    if tensorboard:
        _import(*TENSORBOARD)
    if wandb:
        _import(*WANDB)


def make(
    folder: Path, config: Mapping[str, Any], *, tensorboard: bool, wandb: bool
) -> list[Logger]:
    """Return the loggers asked for. Raise LoggerError where one is not installed."""
    loggers: list[Logger] = []
    if tensorboard:
        loggers.append(TensorBoard(folder))
    if wandb:
        loggers.append(Wandb(folder, config))
    return loggers


def _import(module: str, extra: str) -> Any:
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise LoggerError(
            f"--{extra}: {extra} is not installed ({error}); pip install 'pufferenv[{extra}]'"
        ) from None
