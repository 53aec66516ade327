"""The directory of one run, `runs/GAME/RUN/`, and the search for existing runs.

    config.toml             the complete config; `puffer train --config` starts the same run again
    metrics.jsonl           one JSON object per log
    policy.safetensors      the last policy
    best.safetensors        the policy with the best evaluation
    state.json              counters and scores, and the name of the file of tensors beside it
    trainer-N.safetensors   the state to resume from: weights, optimizer, random streams
    videos/STEPS.gif        clips of the policy during training, if there are any

A checkpoint writes a new trainer file, then replaces state.json atomically. So state.json always
names a complete file: if the process is killed or the disk is full between the two, the previous
checkpoint remains valid.
"""

import contextlib
import io
import json
import math
import re
import shutil
import time
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pufferenv.toolchain import targets
from pufferlib.config import toml_file
from pufferlib.config.resolve import is_external
from pufferlib.run.checkpoint import FORMAT, CheckpointError, SaveError, load, save, write_bytes

if TYPE_CHECKING:
    import torch


class RunError(ValueError):
    """A run cannot be created or found; the message suggests what to do."""


class RunDirectory:
    """The directory of one run. Use `create` for a new one and `find` for an existing one."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._metrics: io.FileIO | None = None

    @classmethod
    def create(
        cls, root: str | Path, game: str, name: str | None, settings: Mapping[str, Any]
    ) -> "RunDirectory":
        """Create the directory of a new run and write its config; never overwrite an old run.

        Raise RunError if the name is taken or invalid, or if the directory cannot be written; then
        no directory is left behind.
        """
        if name is not None and (not name or name != Path(name).name or name.startswith(".")):
            raise RunError(f"--name {name!r} must be the name of one folder, such as 'wide-net'")
        path = _new_folder(Path(root) / folder_name(game), name)
        run = cls(path)
        try:
            write_bytes(path / "config.toml", toml_file.to_text(settings).encode())
            run._open_metrics()
        except OSError as error:
            run.remove()
            raise RunError(f"run folder {path} cannot be written: {error}") from None
        return run

    @classmethod
    def find(cls, target: str, root: str | Path) -> "RunDirectory":
        """Return the run at this path, or the newest run of this game that has saved a policy."""
        path = Path(target)
        if (path / "config.toml").is_file():
            return cls(path)
        if is_external(target):
            return cls._newest(target, Path(root) / folder_name(target))
        if path.is_file() and path.suffix != ".h":
            raise RunError(f"{target} is a file; give the folder of the run")
        if path.name != target and path.suffix != ".h":
            raise RunError(f"{target} is not a run's folder: it has no config.toml")
        return cls._newest(target, Path(root) / path.stem)

    @classmethod
    def _newest(cls, target: str, folder: Path) -> "RunDirectory":
        runs = [p.parent for p in folder.glob("*/policy.safetensors")]
        if not runs:
            if not is_external(target):
                targets.header_of(target)  # raises for an unknown game, with the nearest
            raise RunError(
                f"{target} is neither a run's folder nor a game with a trained run in "
                f"{folder}; to train one: puffer train {target}"
            )
        return cls(max(runs, key=lambda run: (run / "policy.safetensors").stat().st_mtime_ns))

    @property
    def last_policy(self) -> Path:
        """Return the file of the policy that was saved last."""
        return self.path / "policy.safetensors"

    @property
    def best_policy(self) -> Path:
        """Return the file of the policy with the best evaluation; it may not exist yet."""
        return self.path / "best.safetensors"

    def read_config(self) -> dict[str, Any]:
        """Return the content of config.toml."""
        return toml_file.read(self.path / "config.toml")

    def update_config(self, settings: Mapping[str, Any]) -> None:
        """Write config.toml if its content changed. Raise SaveError."""
        content = toml_file.to_text(settings).encode()
        if content != (self.path / "config.toml").read_bytes():
            write_bytes(self.path / "config.toml", content)

    def log(self, metrics: Mapping[str, Any]) -> None:
        """Append a line to metrics.jsonl, unbuffered; NaN and inf become null. Raise SaveError."""
        line = {
            key: None if isinstance(value, float) and not math.isfinite(value) else value
            for key, value in metrics.items()
        }
        try:
            self._open_metrics().write(json.dumps(line).encode() + b"\n")
        except OSError as error:
            raise SaveError(f"{self.path}/metrics.jsonl: {error.strerror or error}") from error

    def save(self, tensors: "Mapping[str, torch.Tensor]", meta: Mapping[str, Any]) -> None:
        """Save a checkpoint of tensors and a JSON-serializable `meta`; delete the previous one."""
        checkpoint_id = uuid.uuid4().hex  # in both files
        old = sorted(self.path.glob("trainer-*.safetensors"))
        number = 1 + max((int(p.stem.partition("-")[2]) for p in old), default=0)
        file = self.path / f"trainer-{number}.safetensors"
        save(file, "trainer", tensors, {"id": checkpoint_id})
        state = {"format": FORMAT, "tensors": file.name, "id": checkpoint_id, **meta}
        try:
            write_bytes(self.path / "state.json", json.dumps(state, indent=1).encode())
        except SaveError:
            file.unlink(missing_ok=True)
            raise
        for path in old:
            with contextlib.suppress(OSError):
                path.unlink()

    def load(self) -> "tuple[dict[str, torch.Tensor], dict[str, Any]]":
        """Return the last checkpoint. Raise CheckpointError unless both its files are valid."""
        path = self.path / "state.json"
        try:
            state = json.loads(path.read_bytes())
            version, name, checkpoint_id = state["format"], state["tensors"], state["id"]
        except FileNotFoundError:
            raise CheckpointError(
                f"{self.path} has no checkpoint to resume: state.json is missing"
            ) from None
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise CheckpointError(f"{path} is damaged or not the state of a run: {error}") from None
        if version != FORMAT:
            raise CheckpointError(f"{path} has format {version}, this version reads {FORMAT}")
        if name != Path(str(name)).name:
            raise CheckpointError(f"{path} names a file in another folder: {name}")
        tensors, note = load(self.path / name, "trainer")
        if note.get("id") != checkpoint_id:
            raise CheckpointError(
                f"{path} and {name} belong to different checkpoints: one of them was copied from "
                "another run or another time"
            )
        return tensors, state

    def drop_metrics_after(self, agent_steps: int) -> None:
        """Remove incomplete lines of metrics.jsonl and those logged after `agent_steps`."""
        path = self.path / "metrics.jsonl"
        lines = path.read_bytes().split(b"\n") if path.exists() else []
        kept = [line + b"\n" for line in lines if 0 <= _steps(line) <= agent_steps]
        write_bytes(path, b"".join(kept))

    def remove(self) -> None:
        """Delete the directory, so that its name is free again."""
        self.close()
        shutil.rmtree(self.path, ignore_errors=True)

    def close(self) -> None:
        """Close metrics.jsonl. May be called twice."""
        if self._metrics is not None:
            self._metrics.close()
            self._metrics = None

    def _open_metrics(self) -> io.FileIO:
        if self._metrics is None:
            # FileIO is unbuffered, so each line reaches the file immediately.
            self._metrics = io.FileIO(self.path / "metrics.jsonl", "a")
        return self._metrics


def folder_name(game: str) -> str:
    """Return a game's name with `-` for characters that a path or a shell would interpret."""
    return re.sub(r"[^\w.-]+", "-", game)


def _new_folder(parent: Path, name: str | None) -> Path:
    stamp = time.strftime("%Y-%m-%d_%H-%M-%S")
    tries = [name] if name else [stamp, *(f"{stamp}_{n}" for n in range(2, 1000))]
    for last in tries:
        path = parent / last
        try:
            path.mkdir(parents=True)
            return path
        except FileExistsError:
            if not path.is_dir():
                raise RunError(
                    f"run folder {path} cannot be created: a file has its name"
                ) from None
        except OSError as error:
            raise RunError(f"run folder {path} cannot be created: {error.strerror}") from None
    raise RunError(
        f"run {parent / str(name)} already exists: give another --name, "
        f"or resume it: puffer train --resume {parent / str(name)}"
    )


def _steps(line: bytes) -> int:
    """Return the `agent_steps` of a line of metrics.jsonl, -1 for an incomplete line."""
    try:
        return int(json.loads(line)["agent_steps"])
    except (ValueError, KeyError, TypeError):
        return -1
