"""Files of tensors: safetensors with a JSON note in the header. Pickles are never loaded.

The note states the file's `kind` and `format`, and the game and config that it fits. A file is
checked completely before any tensor is loaded. It is written under a temporary name and then
renamed, so that a full disk or a kill leaves the previous file unchanged.
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
from pufferlib.config.flags import flag_name

if TYPE_CHECKING:
    from pufferenv.game_spec import GameSpec

FORMAT = 1
NOTE = "pufferlib"  # key of the note in the header


class CheckpointError(ValueError):
    """A file is damaged, of another kind, or does not fit this run."""


class SaveError(OSError):
    """A file could not be written; the previous one is unchanged."""


def write_bytes(path: Path, content: bytes) -> None:
    """Write `content` to `path` atomically. Raise SaveError with the reason."""
    part = path.with_name(f".{path.name}.part")  # in the same folder, so that renaming it is atomic
    try:
        with part.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(part, path)
    except OSError as error:
        kept = "; the previous file is unchanged" if path.exists() else ""
        why = error.strerror or str(error)
        raise SaveError(f"{path} cannot be written: {why}{kept}") from error
    finally:
        with contextlib.suppress(OSError):
            part.unlink(missing_ok=True)
    _sync_folder(path.parent)


def save(
    path: Path, kind: str, tensors: Mapping[str, torch.Tensor], note: Mapping[str, Any]
) -> None:
    """Write tensors and a JSON-serializable note to a file of this kind (`policy`, `trainer`)."""
    header = {NOTE: json.dumps({"kind": kind, "format": FORMAT, "abi": ABI, **note})}
    copies = {
        key: value.detach().to("cpu", copy=True).contiguous() for key, value in tensors.items()
    }
    write_bytes(path, to_bytes(copies, header))


def read_note(path: Path, kind: str) -> dict[str, Any]:
    """Return the note of a file without reading tensors. Raise CheckpointError for another kind."""
    return _open(path, kind)[0]


def load(path: Path, kind: str) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    """Return the tensors, on the CPU, and the note. Raise CheckpointError for another kind."""
    note, _ = _open(path, kind)
    with safe_open(path, framework="pt") as file:
        return {key: file.get_tensor(key) for key in file.keys()}, note  # noqa: SIM118


def compatibility_note(spec: "GameSpec") -> dict[str, Any]:
    """Return the observations and actions that a policy for this game and config must match.

    `pixels` is among them only if the policy sees pixels.
    """
    return {
        "game": spec.name,
        "obs_shape": list(spec.obs_shape),
        "obs_dtype": spec.obs_dtype.name,
        "heads": [[head.name, head.n] for head in spec.heads],
        "axes": [[axis.name, axis.low, axis.high] for axis in spec.axes],
        **({"pixels": spec.pixels} if spec.pixels else {}),
    }


def check_compatible(path: Path, note: Mapping[str, Any], expected: Mapping[str, Any]) -> None:
    """Raise CheckpointError unless the note has all `expected` values; the error names both."""
    if note.get("game") == expected.get("game"):
        _check_pixels(path, note.get("pixels"), expected.get("pixels"))
    for key, want in expected.items():
        if note.get(key) != want:
            raise CheckpointError(
                f"{path} is for another game or config: its {key} is "
                f"{_plain(note.get(key))}, here it is {_plain(want)}"
            )


def _check_pixels(path: Path, seen: Any, here: Any) -> None:
    """Raise CheckpointError for a policy that sees other pixels, or sees pixels and should not."""
    if seen == here:
        return
    flags = " ".join(f"{flag_name('env', k)} {v}" for k, v in seen.items()) if seen else ""
    was = f"sees pixels ({flags})" if seen else "sees the game's own observation, not pixels"
    how = "give these flags" if seen else f"give {flag_name('env', 'pixels')} 0"
    if here and seen:
        others = " ".join(f"{flag_name('env', k)} {v}" for k, v in here.items())
        how = f"here they are {others}: {how}"
    raise CheckpointError(f"the policy of {path} {was}; {how}")


def check_tensors(
    path: Path, tensors: Mapping[str, torch.Tensor], expected: Mapping[str, torch.Tensor]
) -> None:
    """Raise CheckpointError unless keys and shapes match; the error counts the differences."""
    wrong = [f"{key} is missing" for key in expected if key not in tensors]
    wrong += [f"{key} is not in this policy" for key in tensors if key not in expected]
    wrong += [
        f"{key} is {_sizes(tensors[key])}, expected {_sizes(expected[key])}"
        for key in expected
        if key in tensors and tensors[key].shape != expected[key].shape
    ]
    if wrong:
        more = f" (and {len(wrong) - 1} more)" if len(wrong) > 1 else ""
        raise CheckpointError(f"{path} does not fit this policy: {wrong[0]}{more}")


def load_policy(module: torch.nn.Module, path: Path, expected: Mapping[str, Any]) -> dict[str, Any]:
    """Check the file against `expected` and the module, then load it; return the file's note."""
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
        raise CheckpointError(f"{path} is not a {kind} file: {_diagnosis(path, error)}") from None
    try:
        note = json.loads(header[NOTE])
        found, version = note["kind"], note["format"]
    except (KeyError, TypeError, ValueError):
        raise CheckpointError(
            f"{path} is a safetensors file, but was not written by puffer: its header has no "
            "note of its purpose"
        ) from None
    if found != kind:
        raise CheckpointError(f"{path} is a {found} file, not a {kind} file")
    if version != FORMAT:
        raise CheckpointError(f"{path} has format {version}, this version reads {FORMAT}")
    return note, keys


def _diagnosis(path: Path, error: Exception) -> str:
    """Describe what a file that safetensors rejects appears to be."""
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
        return "it looks like a pickle (torch.save), which is never read because that may run code"
    if start[8:9] == b"{":
        return f"it is truncated or damaged ({size} bytes: {error})"
    return "it is not safetensors"


def _sizes(tensor: torch.Tensor) -> str:
    return "x".join(map(str, tensor.shape)) or "a number"


def _plain(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _sync_folder(folder: Path) -> None:
    """Make a rename durable, on systems that can sync a folder."""
    with contextlib.suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
