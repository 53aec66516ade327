"""Checkpoint files are written atomically, checked before use, and never unpickled."""

import errno
import os
import pickle
import subprocess
import sys
import textwrap

import pytest
import safetensors.torch
import torch

from pufferenv.engine._engine import ABI
from pufferenv.game_spec import GameSpec
from pufferlib.run import checkpoint
from pufferlib.run.checkpoint import CheckpointError, SaveError
from tests.support.paths import ROOT

UNPICKLED = []  # filled if anything unpickles the canary


class Canary:
    def __reduce__(self):
        return (UNPICKLED.append, ("the pickle was read",))


def net(hidden=4):
    return torch.nn.Sequential(torch.nn.Linear(3, hidden), torch.nn.Linear(hidden, 2))


def note_of(name, **given):
    return checkpoint.compatibility_note(GameSpec.of(name, given))


@pytest.fixture
def saved(tmp_path):
    path = tmp_path / "policy.safetensors"
    module = net()
    checkpoint.save(path, "policy", module.state_dict(), note_of("squared"))
    return path, module


def weights(module):
    return [value.clone() for value in module.state_dict().values()]


def same(a, b):
    return all(torch.equal(x, y) for x, y in zip(a, b, strict=True))


def test_a_policy_comes_back_as_it_was(saved):
    path, module = saved
    other = net()
    note = checkpoint.load_policy(other, path, note_of("squared"))
    assert same(weights(other), weights(module))
    assert note["kind"] == "policy"
    assert (note["format"], note["abi"], note["game"]) == (1, ABI, "squared")


def test_tensors_of_any_kind_come_back_bit_for_bit(tmp_path):
    path = tmp_path / "trainer.safetensors"
    base = torch.arange(12, dtype=torch.float64).view(3, 4)
    tensors = {
        "strided": base.t(),
        "shared": base,
        "scalar": torch.tensor(7.5),
        "bytes": torch.arange(5, dtype=torch.uint8),
        "empty": torch.zeros(0, 3),
    }
    checkpoint.save(path, "trainer", tensors, {"id": "x", "nested": {"a": [1, 2.5, None]}})
    found, note = checkpoint.load(path, "trainer")
    assert found.keys() == tensors.keys()
    for key, tensor in tensors.items():
        assert found[key].dtype == tensor.dtype
        assert torch.equal(found[key], tensor)
    assert note["nested"] == {"a": [1, 2.5, None]}


@pytest.mark.parametrize(
    ("expected", "message"),
    [
        (lambda: note_of("cartpole"), "its game is squared, here it is cartpole"),
        (lambda: note_of("squared", size=5), r"obs_shape is \[11, 11\], here it is \[5, 5\]"),
    ],
)
def test_a_policy_of_another_game_or_other_observations_is_refused(saved, expected, message):
    path, _ = saved
    other = net()
    before = weights(other)
    with pytest.raises(CheckpointError, match=message):
        checkpoint.load_policy(other, path, expected())
    assert same(weights(other), before)


def test_a_policy_of_other_sizes_is_refused_and_nothing_is_touched(saved):
    path, _ = saved
    other = net(hidden=5)
    before = weights(other)
    with pytest.raises(CheckpointError, match=r"0\.weight is 4x3, expected 5x3 \(and 2 more\)"):
        checkpoint.load_policy(other, path, note_of("squared"))
    assert same(weights(other), before)


def test_a_policy_with_other_layers_is_refused(saved):
    path, _ = saved
    with pytest.raises(CheckpointError, match=r"2\.weight is missing"):
        checkpoint.load_policy(
            torch.nn.Sequential(*net(), torch.nn.Linear(2, 2)), path, note_of("squared")
        )


def test_a_file_of_another_kind_is_refused(saved):
    with pytest.raises(CheckpointError, match="is a policy file, not a trainer file"):
        checkpoint.load(saved[0], "trainer")


def test_a_file_of_a_later_format_is_refused(saved, tmp_path, monkeypatch):
    monkeypatch.setattr(checkpoint, "FORMAT", 2)
    checkpoint.save(tmp_path / "new.safetensors", "policy", {}, {})
    monkeypatch.undo()
    with pytest.raises(CheckpointError, match="has format 2, this version reads 1"):
        checkpoint.read_note(tmp_path / "new.safetensors", "policy")


@pytest.mark.parametrize("keep", [0, 4, 40, -1])
def test_a_truncated_file_is_refused(saved, keep):
    path, _ = saved
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(CheckpointError, match=r"empty|truncated|not safetensors"):
        checkpoint.load(path, "policy")


def test_foreign_files_are_named_for_what_they_are(tmp_path):
    path = tmp_path / "policy.safetensors"
    with pytest.raises(CheckpointError, match="does not exist"):
        checkpoint.load(path, "policy")
    path.write_text("hello, this is a text of some length")
    with pytest.raises(CheckpointError, match="it is not safetensors"):
        checkpoint.load(path, "policy")
    path.write_bytes(safetensors.torch.save({"a": torch.zeros(2)}))
    with pytest.raises(CheckpointError, match="was not written by puffer"):
        checkpoint.load(path, "policy")
    with pytest.raises(CheckpointError, match="it is a folder"):
        checkpoint.load(tmp_path, "policy")


@pytest.mark.parametrize("write", [pickle.dump, torch.save])
def test_a_pickle_is_refused_without_being_unpickled(tmp_path, write):
    path = tmp_path / "policy.safetensors"
    with path.open("wb") as file:
        write(Canary(), file)
    with pytest.raises(CheckpointError, match="looks like a pickle"):
        checkpoint.load(path, "policy")
    assert UNPICKLED == []


def test_a_full_disk_leaves_the_old_file_and_no_litter(saved, monkeypatch):
    path, module = saved
    before = path.read_bytes()

    def full(handle):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(SaveError, match="No space left on device; the previous file is unchanged"):
        checkpoint.save(path, "policy", net(50).state_dict(), note_of("squared"))
    monkeypatch.undo()
    assert path.read_bytes() == before
    assert [p.name for p in path.parent.iterdir()] == [path.name]
    checkpoint.load_policy(module, path, note_of("squared"))


def test_a_real_write_that_fails_half_way_leaves_the_old_file(saved):
    path, _ = saved
    before = path.read_bytes()
    program = f"""
        import resource, pathlib
        from pufferlib.run import checkpoint
        resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, 10_000))
        try:
            checkpoint.write_bytes(pathlib.Path({str(path)!r}), bytes(50_000))
        except checkpoint.SaveError as error:
            print(error)
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)],
        capture_output=True,
        text=True,
        cwd=ROOT,
    )
    assert "cannot be written: File too large; the previous file is unchanged" in done.stdout
    assert path.read_bytes() == before
    assert [p.name for p in path.parent.iterdir()] == [path.name]
