"""Runs that are stopped, killed or fail, and how they resume."""

import json
import os
import signal
import time
from pathlib import Path

from pufferlib.cli.main import main
from pufferlib.cli.policy_source import choose
from pufferlib.ppo.learner import TrainingDiverged
from pufferlib.ppo.trainer import Trainer
from pufferlib.run.checkpoint import SaveError, read_note
from tests.support.command import SHORT, TINY, error_of, metrics, puffer, stop_after, wait_for_steps


def test_a_stopped_run_saves_says_how_to_go_on_and_goes_on():
    endless = [*TINY, "--train.total-timesteps", "1e12"]
    process = puffer("train", "squared", "--name", "x", *endless)
    wait_for_steps(process)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert err == ""
    assert out.index("stopping after this update") < out.index("stopped after")
    assert "resume it: puffer train --resume runs/squared/x" in out
    before = metrics("runs/squared/x")
    state = json.loads(Path("runs/squared/x/state.json").read_text())["trainer"]
    assert before[-1]["agent_steps"] == state["agent_steps"]

    process = puffer("train", "--resume", "runs/squared/x")
    first = [process.stdout.readline() for _ in range(4)]
    assert first[1].startswith("settings: runs/squared/x/config.toml; discount 0.95, ")
    assert f"resumed at step {state['agent_steps']:,}; all envs begin new episodes" in first[3]
    assert f"{state['lost_steps']:,} steps in rows that were not full are lost" in first[3]
    wait_for_steps(process)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    after = metrics("runs/squared/x")
    assert after[: len(before)] == before
    for key in ("agent_steps", "updates", "uptime"):
        values = [line[key] for line in after]
        assert values == sorted(set(values))


def test_a_second_signal_stops_at_once_and_the_terminal_text_says_what_is_saved(
    monkeypatch, capsys
):
    def slow(self):
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(60)

    monkeypatch.setattr(Trainer, "update", slow)
    before = signal.getsignal(signal.SIGINT)
    assert main(["train", "squared", "--name", "x", *SHORT]) == 130
    assert "stopped after 0 steps, before the first checkpoint" in capsys.readouterr().out
    assert signal.getsignal(signal.SIGINT) is before


def test_a_resumed_run_ends_where_one_run_would_have_ended(monkeypatch, capsys):
    with monkeypatch.context() as patch:
        stop_after(patch, 4, number=signal.SIGTERM)
        assert main(["train", "squared", "--name", "x", *SHORT]) == 130
    run = str(Path("runs/squared/x").resolve())
    error = error_of(capsys, "train", "cartpole", "--resume", run)
    assert f"{run} is a run of squared, not of cartpole" in error
    assert main(["train", "squared", "--resume", run]) == 0
    steps = [line["agent_steps"] for line in metrics(run)]
    assert steps[-1] == 640
    assert steps == sorted(set(steps))
    state = json.loads(Path(run, "state.json").read_text())["trainer"]
    assert state["trained_steps"] + state["lost_steps"] == 640
    assert main(["train", "--resume", run]) == 2
    assert "is complete: 640 of 640 steps" in capsys.readouterr().err


def test_a_run_is_trained_for_longer_and_says_so_in_its_config(capsys):
    assert main(["train", "squared", "--name", "x", *SHORT]) == 0
    run, config = Path("runs/squared/x"), Path("runs/squared/x/config.toml")
    before = config.read_text()
    for words, message in [
        ([], "is complete: 640 of 640 steps"),
        (["--train.total-timesteps", "640"], "give --train.total-timesteps and a larger number"),
        (["--train.total-timesteps", "1280", "--train.gamma", "0.9"], "--resume continues"),
    ]:
        assert message in error_of(capsys, "train", "--resume", str(run), *words)
    assert config.read_text() == before
    assert main(["train", "--resume", str(run), "--train.total-timesteps", "1_280"]) == 0
    assert metrics(run)[-1]["agent_steps"] == 1280
    changed = before.replace("total_timesteps = 640", "total_timesteps = 1280")
    assert config.read_text() == changed != before
    assert "is complete: 1,280 of 1,280 steps" in error_of(capsys, "train", "--resume", str(run))


def test_a_run_keeps_the_defaults_of_options_that_are_newer_than_it(capsys):
    words = ["--name", "x", *SHORT, "--vec.backend", "serial", "--train.shuffle", "rows"]
    assert main(["train", "gym:Pendulum-v1", *words]) == 0
    run = Path("runs/gym-Pendulum-v1/x")
    config = run / "config.toml"
    old = config.read_text().replace('shuffle = "rows"\n', "")
    config.write_text(old)  # as of a version without this option, which trained on rows
    for policy in ("last", "random", str(run / "policy.safetensors")):
        assert choose(str(run), policy, {}, "runs").config.train.shuffle == "rows"
    assert main(["train", "--resume", str(run), "--train.total-timesteps", "1280"]) == 0
    assert 'shuffle = "rows"' in config.read_text()
    settings = f"settings: {run}/config.toml, overridden by flags; "
    assert settings in capsys.readouterr().out


def test_a_resumed_run_keeps_a_best_policy_that_its_checkpoint_knows_nothing_of(monkeypatch):
    from pufferlib.run import session
    from pufferlib.run.evaluate import Evaluation, Stats

    def scoring(scores):
        def fake(*args, **more):
            score = next(scores)
            return Evaluation(4, 0, 100, 0.0, {"score": Stats(score, 0, score, score)})

        return fake

    words = ["--train.eval-interval=1e-9", "--train.checkpoint-interval=1e-9"]
    with monkeypatch.context() as patch:
        patch.setattr(session, "evaluate", scoring(iter([1.0, 2.0, 9.0])))
        real, saves = session.TrainingRun.save, []

        def save(self):
            saves.append(self)
            if len(saves) == 3:
                raise SaveError("stands for a kill after the third evaluation")
            real(self)

        patch.setattr(session.TrainingRun, "save", save)
        assert main(["train", "squared", "--name", "x", *SHORT, *words]) == 1
    best = Path("runs/squared/x/best.safetensors")
    assert json.loads(Path("runs/squared/x/state.json").read_text())["best"] == 2.0
    assert read_note(best, "policy")["score"] == 9.0
    monkeypatch.setattr(session, "evaluate", scoring(iter([3.0] * 100)))
    assert main(["train", "--resume", "runs/squared/x"]) == 0
    assert read_note(best, "policy")["score"] == 9.0
    assert json.loads(Path("runs/squared/x/state.json").read_text())["best"] == 9.0


def test_a_run_that_diverges_keeps_its_checkpoint_and_says_what_happened(monkeypatch, capsys):
    stop_after(monkeypatch, 3, TrainingDiverged("loss is nan in update 4"))
    words = ["--train.checkpoint-interval", "1e-9"]
    assert main(["train", "squared", "--name", "x", *SHORT, *words]) == 1
    out = capsys.readouterr().out
    assert "training diverged: loss is nan in update 4" in out
    assert "the last checkpoint is of step 192" in out
    state = json.loads(Path("runs/squared/x/state.json").read_text())
    assert state["trainer"]["agent_steps"] == 192


def test_a_full_disk_ends_the_run_and_leaves_the_checkpoint_before(monkeypatch, capsys):
    from pufferlib.run import checkpoint

    real, saves = checkpoint.write_bytes, []

    def write(path, content):
        saves.append(path.name)
        if saves.count("policy.safetensors") == 2:
            raise SaveError(f"{path} cannot be written: No space left on device")
        real(path, content)

    words = ["--train.checkpoint-interval", "1e-9", "--train.eval-interval", "0"]
    with monkeypatch.context() as patch:
        patch.setattr(checkpoint, "write_bytes", write)
        assert main(["train", "squared", "--name", "x", *SHORT, *words]) == 1
    output = capsys.readouterr()
    assert "No space left on device" in output.err
    assert "Traceback" not in output.err
    assert main(["eval", "runs/squared/x", "--policy", "last", "--episodes", "2"]) == 0
    assert main(["train", "--resume", "runs/squared/x"]) == 0


def test_resume_refuses_a_checkpoint_of_other_sizes(monkeypatch, capsys):
    with monkeypatch.context() as patch:
        stop_after(patch, 2)
        assert main(["train", "squared", "--name", "x", *SHORT]) == 130
    file = Path("runs/squared/x/config.toml")
    file.write_text(file.read_text().replace("hidden_size = 8", "hidden_size = 16"))
    assert "does not fit its config.toml" in error_of(capsys, "train", "--resume", str(file.parent))
    file.write_text(file.read_text().replace("size = 11", "size = 7"))
    error = error_of(capsys, "train", "--resume", str(file.parent))
    assert "obs_shape is [11, 11], here it is [7, 7]" in error
