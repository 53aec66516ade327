"""The folder of one run, `runs/GAME/RUN/`, and how runs are found again.

    config.toml             the whole config; `puffer train --config` runs it again
    metrics.jsonl           one object per log
    policy.safetensors      the last policy
    best.safetensors        the best policy by evaluation
    state.json              where the run stands; names the file of tensors that belongs to it
    trainer-N.safetensors   what training goes on from: weights, optimizer, random streams

state.json is replaced last and by one move, so at every moment it stands beside the tensors that it
names: a kill or a full disk between two files leaves the checkpoint before.
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

from pufferlib.config import toml_file
from pufferlib.config.resolve import is_external
from pufferlib.run.checkpoint import FORMAT, CheckpointError, SaveError, load, save, write_bytes

if TYPE_CHECKING:
    import torch


class RunError(ValueError):
    """A run that cannot be made or found; the message says what to give instead."""


class RunDirectory:
    """One run's folder. Make one with `create` or `find`."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._metrics: io.FileIO | None = None

    @classmethod
    def create(
        cls, root: str | Path, game: str, name: str | None, settings: Mapping[str, Any]
    ) -> "RunDirectory":
        """Make the folder of a new run, with its config; an old run is never written over.

        Raise RunError if the name is taken or nothing can be written there; no folder is left then.
        """
        if name is not None and (not name or name != Path(name).name or name.startswith(".")):
            raise RunError(f"--name {name!r} must be one folder's name, such as 'wide-net'")
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
    def find(cls, spec: str, root: str | Path) -> "RunDirectory":
        """Return the run at this path, or a game's newest run that has a policy."""
        path = Path(spec)
        if (path / "config.toml").is_file():
            return cls(path)
        if is_external(spec):
            return cls._newest(spec, Path(root) / folder_name(spec))
        if path.is_file() and path.suffix != ".h":
            raise RunError(f"{spec} is a file; give the run's folder")
        if path.name != spec and path.suffix != ".h":
            raise RunError(f"{spec} is no run's folder: there is no config.toml in it")
        return cls._newest(spec, Path(root) / path.stem)

    @classmethod
    def _newest(cls, spec: str, folder: Path) -> "RunDirectory":
        runs = [p.parent for p in folder.glob("*/policy.safetensors")]
        if not runs:
            raise RunError(
                f"{spec} is neither a run's folder nor a game with a trained run in "
                f"{folder}; train one: puffer train {spec}"
            )
        return cls(max(runs, key=lambda run: (run / "policy.safetensors").stat().st_mtime_ns))

    @property
    def last_policy(self) -> Path:
        """File of the policy that was saved last."""
        return self.path / "policy.safetensors"

    @property
    def best_policy(self) -> Path:
        """File of the policy that evaluated best; it may not be there yet."""
        return self.path / "best.safetensors"

    def read_config(self) -> dict[str, Any]:
        """Return the content of config.toml."""
        return toml_file.read(self.path / "config.toml")

    def update_config(self, settings: Mapping[str, Any]) -> None:
        """Make this the content of config.toml, if it is another. Raise SaveError."""
        content = toml_file.to_text(settings).encode()
        if content != (self.path / "config.toml").read_bytes():
            write_bytes(self.path / "config.toml", content)

    def log(self, metrics: Mapping[str, Any]) -> None:
        """Add one line to metrics.jsonl, at once; NaN becomes null. Raise SaveError."""
        line = {
            key: None if isinstance(value, float) and not math.isfinite(value) else value
            for key, value in metrics.items()
        }
        try:
            self._open_metrics().write(json.dumps(line).encode() + b"\n")
        except OSError as error:
            raise SaveError(f"{self.path}/metrics.jsonl: {error.strerror or error}") from error

    def save(self, tensors: "Mapping[str, torch.Tensor]", meta: Mapping[str, Any]) -> None:
        """Save what training goes on from, with a JSON-able `meta`; the old one goes last."""
        belongs = uuid.uuid4().hex
        old = sorted(self.path.glob("trainer-*.safetensors"))
        number = 1 + max((int(p.stem.partition("-")[2]) for p in old), default=0)
        file = self.path / f"trainer-{number}.safetensors"
        save(file, "trainer", tensors, {"id": belongs})
        state = {"format": FORMAT, "tensors": file.name, "id": belongs, **meta}
        try:
            write_bytes(self.path / "state.json", json.dumps(state, indent=1).encode())
        except SaveError:
            file.unlink(missing_ok=True)
            raise
        for path in old:
            with contextlib.suppress(OSError):
                path.unlink()

    def load(self) -> "tuple[dict[str, torch.Tensor], dict[str, Any]]":
        """Return what `save` saved. Raise CheckpointError unless both files are there and whole."""
        path = self.path / "state.json"
        try:
            state = json.loads(path.read_bytes())
            version, name, belongs = state["format"], state["tensors"], state["id"]
        except FileNotFoundError:
            raise CheckpointError(
                f"{self.path} has no checkpoint to resume: no state.json"
            ) from None
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise CheckpointError(f"{path} is damaged or no state of a run: {error}") from None
        if version != FORMAT:
            raise CheckpointError(f"{path} is of format {version}, this version reads {FORMAT}")
        if name != Path(str(name)).name:
            raise CheckpointError(f"{path} names a file of another folder: {name}")
        tensors, note = load(self.path / name, "trainer")
        if note.get("id") != belongs:
            raise CheckpointError(
                f"{path} and {name} do not belong together: one of them was copied from another "
                f"run or another time"
            )
        return tensors, state

    def drop_metrics_after(self, agent_steps: int) -> None:
        """Cut metrics.jsonl back to what was logged up to `agent_steps`, where training goes on."""
        path = self.path / "metrics.jsonl"
        lines = path.read_bytes().split(b"\n") if path.exists() else []
        kept = [line + b"\n" for line in lines if 0 <= _steps(line) <= agent_steps]
        write_bytes(path, b"".join(kept))

    def remove(self) -> None:
        """Delete the folder, so that its name is free again."""
        self.close()
        shutil.rmtree(self.path, ignore_errors=True)

    def close(self) -> None:
        """Close metrics.jsonl; twice is fine."""
        if self._metrics is not None:
            self._metrics.close()
            self._metrics = None

    def _open_metrics(self) -> io.FileIO:
        if self._metrics is None:
            self._metrics = io.FileIO(self.path / "metrics.jsonl", "a")  # no buffer: line by line
        return self._metrics


def folder_name(game: str) -> str:
    """Return the folder of a game's runs: its name, without what a path or a shell would read."""
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
                    f"run folder {path} cannot be made: a file is in its place"
                ) from None
        except OSError as error:
            raise RunError(f"run folder {path} cannot be made: {error.strerror}") from None
    raise RunError(
        f"run {parent / str(name)} is there already: give another --name, "
        f"or go on with it: puffer train --resume {parent / str(name)}"
    )


def _steps(line: bytes) -> int:
    """Return the `agent_steps` of a line of metrics.jsonl; -1: a kill left only a part of it."""
    try:
        return int(json.loads(line)["agent_steps"])
    except (ValueError, KeyError, TypeError):
        return -1
