"""Run directories are never overwritten, are found again, and are always consistent."""

import json
import os

import pytest
import torch

from pufferlib.run import checkpoint
from pufferlib.run.checkpoint import CheckpointError, SaveError
from pufferlib.run.directory import RunDirectory, RunError

SETTINGS = {"game": "squared", "env": {"size": 11}}


def new(tmp_path, name=None):
    return RunDirectory.create(tmp_path, "squared", name, SETTINGS)


def state(value):
    return {"weight": torch.full((3,), float(value))}


def test_a_new_run_has_its_config_and_a_place_for_metrics(tmp_path):
    run = new(tmp_path, "first")
    assert run.path == tmp_path / "squared" / "first"
    assert run.read_config() == SETTINGS
    run.log({"agent_steps": 1, "loss/loss": float("nan"), "env/score": 2.5})
    lines = (
        (run.path / "metrics.jsonl").read_text().splitlines()
    )  # before close: nothing is buffered
    assert [json.loads(line) for line in lines] == [
        {"agent_steps": 1, "loss/loss": None, "env/score": 2.5}
    ]
    run.close()
    run.close()


def test_a_run_is_never_written_over(tmp_path):
    new(tmp_path, "first")
    with pytest.raises(RunError, match="already exists: give another --name"):
        new(tmp_path, "first")


def test_runs_without_a_name_get_folders_of_their_own(tmp_path):
    assert len({new(tmp_path).path for _ in range(3)}) == 3


@pytest.mark.parametrize("name", ["", "a/b", "..", ".hidden", "/tmp"])
def test_a_name_must_be_one_folders_name(tmp_path, name):
    with pytest.raises(RunError, match="must be the name of one folder"):
        new(tmp_path, name)


def test_a_run_folder_that_cannot_be_made_says_why(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(RunError, match=r"run folder .*file/squared/x cannot be created: Not a dir"):
        RunDirectory.create(tmp_path / "file", "squared", "x", SETTINGS)
    (tmp_path / "squared").mkdir()
    (tmp_path / "squared" / "x").write_text("in the way")
    with pytest.raises(RunError, match="a file has its name"):
        new(tmp_path, "x")


@pytest.mark.parametrize("file", ["config.toml", "metrics.jsonl"])
def test_a_run_whose_first_files_cannot_be_written_leaves_its_name_free(
    tmp_path, monkeypatch, file
):
    def full(*args):
        raise SaveError("No space left on device")

    with monkeypatch.context() as patch:
        if file == "config.toml":
            patch.setattr("pufferlib.run.directory.write_bytes", full)
        else:
            patch.setattr(RunDirectory, "_open_metrics", full)
        with pytest.raises(RunError, match="cannot be written: No space left"):
            new(tmp_path, "x")
    new(tmp_path, "x").close()


@pytest.mark.skipif(not os.path.isdir("/proc/self"), reason="needs Linux's /proc")
def test_a_run_folder_on_a_file_system_that_takes_no_files_says_why():
    with pytest.raises(RunError, match="cannot be created"):
        RunDirectory.create("/proc", "squared", "x", SETTINGS)


def test_a_run_is_found_by_path_and_the_newest_by_game(tmp_path):
    runs = [new(tmp_path, name) for name in ("b", "a", "c")]
    for age, run in enumerate(runs[:2]):
        run.last_policy.write_bytes(b"")
        os.utime(run.last_policy, (1000 + age, 1000 + age))
    assert RunDirectory.find(str(runs[0].path), tmp_path).path == runs[0].path
    assert RunDirectory.find("squared", tmp_path).path == runs[1].path  # c has no policy yet
    with pytest.raises(RunError, match="train one: puffer train snake"):
        RunDirectory.find("snake", tmp_path)
    with pytest.raises(ValueError, match="unknown game 'snack': did you mean 'snake'"):
        RunDirectory.find("snack", tmp_path)


def test_what_was_saved_last_is_loaded_and_only_that_is_kept(tmp_path):
    run = new(tmp_path)
    for value in (1, 2, 3):
        run.save(state(value), {"agent_steps": value})
        tensors, meta = run.load()
        assert torch.equal(tensors["weight"], state(value)["weight"])
        assert meta["agent_steps"] == value
        assert len(list(run.path.glob("trainer-*"))) == 1


def test_without_a_checkpoint_there_is_nothing_to_resume(tmp_path):
    with pytest.raises(CheckpointError, match="has no checkpoint to resume"):
        new(tmp_path).load()


@pytest.mark.parametrize("which", ["trainer", "state"])
def test_a_save_that_fails_anywhere_leaves_the_checkpoint_before(tmp_path, monkeypatch, which):
    run = new(tmp_path)
    run.save(state(1), {"agent_steps": 1})
    write = checkpoint.write_bytes

    def full(path, content):
        if path.name.startswith(which):
            raise SaveError(f"{path}: No space left on device")
        write(path, content)

    monkeypatch.setattr("pufferlib.run.checkpoint.write_bytes", full)
    monkeypatch.setattr("pufferlib.run.directory.write_bytes", full)
    with pytest.raises(SaveError):
        run.save(state(2), {"agent_steps": 2})
    monkeypatch.undo()
    tensors, meta = run.load()
    assert torch.equal(tensors["weight"], state(1)["weight"])
    assert meta["agent_steps"] == 1
    assert len(list(run.path.glob("trainer-*"))) == 1


def test_a_kill_between_the_two_files_leaves_the_checkpoint_before(tmp_path, monkeypatch):
    run = new(tmp_path)
    run.save(state(1), {"agent_steps": 1})

    def kill(path, content):
        raise KeyboardInterrupt  # stands for SIGKILL: nothing is cleaned up

    monkeypatch.setattr("pufferlib.run.directory.write_bytes", kill)
    with pytest.raises(KeyboardInterrupt):
        run.save(state(2), {"agent_steps": 2})
    monkeypatch.undo()
    assert run.load()[1]["agent_steps"] == 1
    run.save(state(3), {"agent_steps": 3})
    assert run.load()[1]["agent_steps"] == 3
    assert len(list(run.path.glob("trainer-*"))) == 1


def test_files_of_two_checkpoints_do_not_pass_for_one(tmp_path):
    run, other = new(tmp_path), new(tmp_path)
    for each in (run, other):
        each.save(state(1), {"agent_steps": 1})
    (run.path / "state.json").write_bytes((other.path / "state.json").read_bytes())
    with pytest.raises(CheckpointError, match="belong to different checkpoints"):
        run.load()


@pytest.mark.parametrize("content", ["", "{", "[]", "{}", '{"format": 9, "tensors": 1, "id": 1}'])
def test_a_damaged_state_is_refused(tmp_path, content):
    run = new(tmp_path)
    run.save(state(1), {})
    (run.path / "state.json").write_text(content)
    with pytest.raises(CheckpointError, match=r"damaged|format 9"):
        run.load()


def test_a_state_that_names_a_file_elsewhere_is_refused(tmp_path):
    run = new(tmp_path)
    run.save(state(1), {})
    path = run.path / "state.json"
    found = json.loads(path.read_text())
    path.write_text(json.dumps({**found, "tensors": "../" + found["tensors"]}))
    with pytest.raises(CheckpointError, match="names a file in another folder"):
        run.load()


def test_metrics_behind_the_checkpoint_and_half_lines_are_dropped_on_resume(tmp_path):
    run = new(tmp_path)
    for steps in (10, 20, 30):
        run.log({"agent_steps": steps})
    run.close()
    path = run.path / "metrics.jsonl"
    with path.open("a") as file:
        file.write('{"agent_steps": 1')
    run.drop_metrics_after(20)
    run.log({"agent_steps": 25})
    assert [json.loads(line)["agent_steps"] for line in path.read_text().splitlines()] == [
        10,
        20,
        25,
    ]
    run.close()
