"""Files that hold tensors: safetensors with a JSON note in the header; nothing is ever unpickled.

Every file says what it is (`kind`, `format`) and what it fits. It is checked in full before a
single tensor goes anywhere, and written beside its place and then moved there, so that a full disk
or a kill leaves the earlier file as it was.
"""

import contextlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as to_bytes

from pufferenv.engine._engine import ABI

if TYPE_CHECKING:
    from pufferenv.game_spec import GameSpec

FORMAT = 1
NOTE = "pufferlib"  # the header's one entry: a JSON object


class CheckpointError(ValueError):
    """A file that is not the checkpoint that was asked for."""


class SaveError(OSError):
    """A file that could not be written; the earlier one is as it was."""


def write_bytes(path: Path, content: bytes) -> None:
    """Put `content` at `path`, whole or not at all. Raise SaveError with the reason."""
    part = path.with_name(f".{path.name}.part")  # in the same folder, so that the move is atomic
    try:
        with part.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(part, path)
    except OSError as error:
        kept = "; the earlier file is as it was" if path.exists() else ""
        why = error.strerror or str(error)
        raise SaveError(f"{path} cannot be written: {why}{kept}") from error
    finally:
        with contextlib.suppress(OSError):
            part.unlink(missing_ok=True)
    _sync_folder(path.parent)


def save(
    path: Path, kind: str, tensors: Mapping[str, torch.Tensor], note: Mapping[str, Any]
) -> None:
    """Write tensors and a JSON-able note as a file of this kind (`policy`, `trainer`)."""
    header = {NOTE: json.dumps({"kind": kind, "format": FORMAT, "abi": ABI, **note})}
    copies = {
        key: value.detach().to("cpu", copy=True).contiguous() for key, value in tensors.items()
    }
    write_bytes(path, to_bytes(copies, header))


def read_note(path: Path, kind: str) -> dict[str, Any]:
    """Return the note of a file of this kind, no tensor read. Raise CheckpointError otherwise."""
    return _open(path, kind)[0]


def load(path: Path, kind: str) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    """Return all tensors, on the CPU, and the note. Raise CheckpointError for any other file."""
    note, _ = _open(path, kind)
    with safe_open(path, framework="pt") as file:
        return {key: file.get_tensor(key) for key in file.keys()}, note  # noqa: SIM118


def compatibility_note(spec: "GameSpec") -> dict[str, Any]:
    """Say what a policy for this game and packed config sees and does, for `check_compatible`."""
    return {
        "game": spec.name,
        "obs_shape": list(spec.obs_shape),
        "obs_dtype": spec.obs_dtype.name,
        "heads": [[head.name, head.n] for head in spec.heads],
        "axes": [[axis.name, axis.low, axis.high] for axis in spec.axes],
    }


def check_compatible(path: Path, note: Mapping[str, Any], expected: Mapping[str, Any]) -> None:
    """Raise CheckpointError, naming both, where the note differs from what is expected of it."""
    for key, want in expected.items():
        if note.get(key) != want:
            raise CheckpointError(
                f"{path} is for another game or config: its {key} is "
                f"{_plain(note.get(key))}, here it is {_plain(want)}"
            )


def check_tensors(
    path: Path, tensors: Mapping[str, torch.Tensor], expected: Mapping[str, torch.Tensor]
) -> None:
    """Raise CheckpointError unless keys and shapes are those expected, all differences counted."""
    wrong = [f"{key} is missing" for key in expected if key not in tensors]
    wrong += [f"{key} is unknown here" for key in tensors if key not in expected]
    wrong += [
        f"{key} is {_sizes(tensors[key])}, expected {_sizes(expected[key])}"
        for key in expected
        if key in tensors and tensors[key].shape != expected[key].shape
    ]
    if wrong:
        more = f" (and {len(wrong) - 1} more)" if len(wrong) > 1 else ""
        raise CheckpointError(f"{path} is of other sizes than this policy: {wrong[0]}{more}")


def load_policy(module: torch.nn.Module, path: Path, expected: Mapping[str, Any]) -> dict[str, Any]:
    """Check game, shapes, keys and sizes, then fill the module in place; return the file's note."""
    tensors, note = load(path, "policy")
    check_compatible(path, note, expected)
    check_tensors(path, tensors, module.state_dict())
    module.load_state_dict(tensors)
    return note


def _open(path: Path, kind: str) -> tuple[dict[str, Any], list[str]]:
    try:
        with safe_open(path, framework="pt") as file:
            header, keys = file.metadata() or {}, list(file.keys())
    except FileNotFoundError:
        raise CheckpointError(f"{path} does not exist") from None
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"{path} is no {kind} file: {_foreign(path, error)}") from None
    try:
        note = json.loads(header[NOTE])
        found, version = note["kind"], note["format"]
    except (KeyError, TypeError, ValueError):
        raise CheckpointError(
            f"{path} is a safetensors file, but was not written by puffer: its header says not "
            f"what it is for"
        ) from None
    if found != kind:
        raise CheckpointError(f"{path} is a {found} file, not a {kind} file")
    if version != FORMAT:
        raise CheckpointError(f"{path} is of format {version}, this version reads {FORMAT}")
    return note, keys


def _foreign(path: Path, error: Exception) -> str:
    """Say what a file that safetensors refuses looks like."""
    if path.is_dir():
        return "it is a folder"
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            start = file.read(16)
    except OSError as broken:
        return str(broken.strerror)
    if not size:
        return "it is empty"
    if start[:4] == b"PK\x03\x04" or (start[0] == 0x80 and 2 <= start[1] <= 5):
        return "it looks like a pickle (torch.save); those are never read, for reading runs code"
    if start[8:9] == b"{":
        return f"it is cut short or damaged ({size} bytes: {error})"
    return "it is not safetensors"


def _sizes(tensor: torch.Tensor) -> str:
    return "x".join(map(str, tensor.shape)) or "a number"


def _plain(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _sync_folder(folder: Path) -> None:
    """Make a rename durable, where the OS has folders that can be synced."""
    with contextlib.suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
