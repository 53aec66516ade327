"""The command line end to end: real games, real training, and what bad input gets."""

import json
import os
import pickle
import re
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from pufferlib.cli.configure import split_settings
from pufferlib.cli.main import main
from pufferlib.config import options, toml_file
from pufferlib.config.flags import flag_name
from pufferlib.ppo.trainer import Trainer, TrainingDiverged
from pufferlib.run.checkpoint import SaveError, load, read_note
from pufferlib.runtime import thread_count
from pufferlib.runtime.choice import Choice
from tests.support.paths import GAME_HEADERS, ROOT

TINY = [
    "--vec.num-envs=8",
    "--vec.num-threads=1",
    "--train.horizon=8",
    "--train.minibatch-size=0",
    "--train.threads=1",
    "--train.precision=float32",  # auto is measured: two runs may differ
    "--policy.hidden-size=8",
    "--train.eval-episodes=4",
]
SHORT = [*TINY, "--train.total-timesteps", "640"]


@pytest.fixture(autouse=True)
def empty_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("PUFFER_DEBUG", raising=False)
    return tmp_path


def puffer(*words, **more):
    """Start the command in a process of its own, its output piped."""
    env = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1"}
    command = [sys.executable, "-m", "pufferlib", *words]
    pipe = subprocess.PIPE
    return subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True, env=env, **more)


def metrics(run):
    lines = (Path(run) / "metrics.jsonl").read_text().splitlines()
    return [json.loads(line) for line in lines]


def error_of(capsys, *words, code=2):
    assert main(list(words)) == code
    error = capsys.readouterr().err
    assert "Traceback" not in error
    assert error.startswith("puffer: ")
    assert len(error.splitlines()) <= 4
    return error


# --- training ----------------------------------------------------------------------------------


def test_modules_in_the_current_folder_are_found_behind_all_others(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    elsewhere = [path for path in sys.path if path not in ("", str(tmp_path))]
    monkeypatch.setattr(sys, "path", list(elsewhere))
    assert main(["games"]) == main(["games"]) == 0
    assert sys.path == [*elsewhere, str(tmp_path)]


def test_a_runs_config_says_how_many_threads_were_picked(monkeypatch, capsys):
    chosen = Choice(1, "1 was fastest")
    monkeypatch.setattr(thread_count, "choose", lambda given, *rest: chosen if given == 0 else None)
    words = [word for word in SHORT if not word.startswith("--train.threads")]
    assert main(["train", "squared", "--name", "auto", *words]) == 0
    assert "1 torch (1 was fastest)" in capsys.readouterr().out
    assert toml_file.read(Path("runs/squared/auto/config.toml"))["train"]["threads"] == 1


def test_a_run_leaves_config_metrics_policies_and_a_checkpoint(capsys):
    assert main(["train", "squared", "--name", "first", *SHORT]) == 0
    run = Path("runs/squared/first")
    names = {path.name for path in run.iterdir()}
    assert names == {
        "config.toml",
        "metrics.jsonl",
        "policy.safetensors",
        "best.safetensors",
        "state.json",
        "trainer-2.safetensors",
    }
    last = metrics(run)[-1]
    assert last["agent_steps"] == 640
    assert {"uptime", "sps", "env/score", "eval/score", "loss/loss", "time/env"} <= last.keys()
    note = read_note(run / "policy.safetensors", "policy")
    assert (note["game"], note["agent_steps"]) == ("squared", 640)
    assert note["score"] == last["eval/score"]
    assert "puffer eval runs/squared/first" in capsys.readouterr().out


def test_config_toml_runs_again_to_the_same_config_and_the_same_weights():
    words = ["--train.learning-rate", "0.01", "--env.size=7", "--train.eval_interval", "0"]
    assert main(["train", "squared", "--name", "first", *SHORT, *words]) == 0
    first = Path("runs/squared/first")
    assert main(["train", "--config", str(first / "config.toml"), "--name", "second"]) == 0
    second = Path("runs/squared/second")
    assert (first / "config.toml").read_text() == (second / "config.toml").read_text()
    assert toml_file.read(second / "config.toml")["env"] == {"size": 7}
    one, two = (load(run / "policy.safetensors", "policy")[0] for run in (first, second))
    assert all(np.array_equal(one[key], two[key]) for key in one)


def test_flags_win_over_the_config_file_and_it_over_defaults():
    Path("mine.toml").write_text("[train]\ngamma = 0.5\nseed = 9\n[env]\nsize = 5\n")
    words = ["--config", "mine.toml", "--train.gamma", "0.6", "--name", "x"]
    assert main(["train", "squared", *SHORT, *words]) == 0
    made = toml_file.read("runs/squared/x/config.toml")
    assert made["train"]["gamma"] == 0.6
    assert made["train"]["seed"] == 9
    assert made["env"]["size"] == 5
    assert made["train"]["clip_coef"] == options.TrainOptions().clip_coef


def test_a_game_outside_the_package_is_trained_by_its_path_and_its_run_works_anywhere(
    tmp_path, monkeypatch, capsys
):
    source = (ROOT / "ocean" / "squared.h").read_text()
    Path("own.h").write_text(source.replace('PUF_NAME "squared"', 'PUF_NAME "own"'))
    Path("own.toml").write_text("[env]\nsize = 4\n")
    monkeypatch.setenv("PUFFER_CACHE", str(tmp_path / "cache"))
    assert main(["train", "./own.h", "--name", "x", *SHORT]) == 0
    made = toml_file.read("runs/own/x/config.toml")
    assert made["game"] == str(tmp_path / "own.h")
    assert made["env"] == {"size": 4}
    monkeypatch.chdir("/")
    capsys.readouterr()
    run = str(tmp_path / "runs" / "own" / "x")
    assert main(["eval", run, "--episodes", "3", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["episodes"] == 3


OWN_NETWORK = """
import torch
from pufferlib.ops.output import Output
from pufferlib.policies.base import Policy

class Mine(Policy):
    def __init__(self, spec, options):
        super().__init__(spec)
        self.body = torch.nn.LazyLinear(spec.num_choices + 1)
        self.body(torch.zeros(1, *spec.obs_shape).flatten(1))

    def forward(self, obs, state=None):
        out = self.body(obs.flatten(1).float())
        return Output(out[:, 1:], None, None, out[:, 0]), None
"""


def test_a_run_of_an_own_network_works_anywhere_and_after_its_file_moved(
    tmp_path, monkeypatch, capsys
):
    Path("my.py").write_text(OWN_NETWORK)
    assert main(["train", "squared", "--name", "x", *SHORT, "--policy.path", "my.py:Mine"]) == 0
    run = tmp_path / "runs" / "squared" / "x"
    assert toml_file.read(run / "config.toml")["policy"]["path"] == f"{tmp_path}/my.py:Mine"
    monkeypatch.chdir("/")
    assert main(["eval", str(run), "--episodes", "2"]) == 0
    play = ["eval", "squared", "--episodes", "2", "--policy", str(run / "policy.safetensors")]
    capsys.readouterr()
    error = error_of(capsys, *play)
    advice = shlex.split(error[error.index("--policy.path") :])
    assert main([*play, *advice]) == 0
    (tmp_path / "code").mkdir()
    (tmp_path / "my.py").rename(tmp_path / "code" / "my.py")
    moved = ["--policy.path", f"{tmp_path}/code/my.py:Mine"]
    assert main([*play, *moved]) == 0
    assert main(["eval", str(run), "--episodes", "2", *moved]) == 0


def test_a_game_whose_config_is_named_as_our_arguments_is_trained_evaluated_and_measured(capsys):
    game = str(GAME_HEADERS / "namesake.h")
    words = ["--env.horizon", "5", "--env.seed", "7"]
    assert main(["train", game, "--name", "x", *SHORT, *words]) == 0
    capsys.readouterr()
    assert main(["eval", "runs/namesake/x", "--episodes", "3", "--json"]) == 0
    fields = json.loads(capsys.readouterr().out)["fields"]
    assert (fields["length"]["mean"], fields["seed"]["mean"]) == (5, 7)
    assert main(["bench", "env", game, *TINY, *words, "--seconds", "0.01"]) == 0


def test_evaluation_does_not_change_what_is_learned():
    for name, interval in (("with", "0.0001"), ("without", "0")):
        words = ["--name", name, "--train.eval-interval", interval]
        assert main(["train", "squared", *SHORT, *words]) == 0
    one, two = (
        load(Path(f"runs/squared/{name}/policy.safetensors"), "policy")[0]
        for name in ("with", "without")
    )
    assert all(np.array_equal(one[key], two[key]) for key in one)


def test_the_best_policy_is_that_of_the_best_evaluation(monkeypatch):
    from pufferlib.run import session
    from pufferlib.run.evaluate import Evaluation, Stats

    scores = iter([1.0, 5.0, 2.0, *[3.0] * 100])

    def fake(*args, **more):
        score = next(scores)
        return Evaluation(4, 0, 100, 0.0, {"score": Stats(score, 0, score, score)})

    monkeypatch.setattr(session, "evaluate", fake)
    assert main(["train", "squared", "--name", "x", *SHORT, "--train.eval-interval=1e-9"]) == 0
    best = read_note(Path("runs/squared/x/best.safetensors"), "policy")
    assert (best["score"], best["agent_steps"]) == (5.0, 128)


def test_piped_output_is_plain_lines_and_metrics_are_whole():
    process = puffer("train", "squared", "--name", "x", *SHORT)
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    assert "\x1b" not in out
    lines = [line for line in out.splitlines() if line.startswith("steps ")]
    assert lines
    assert re.match(r"steps \d+/640  sps [\d.]+k?  env/score .*loss .*left", lines[-1])


def test_a_terminal_gets_the_dashboard_and_is_restored():
    pty = pytest.importorskip("pty")
    main_end, end = pty.openpty()
    env = {**os.environ, "PYTHONPATH": str(ROOT), "TERM": "xterm", "COLUMNS": "80", "LINES": "24"}
    command = [sys.executable, "-m", "pufferlib", "train", "squared", *SHORT]
    process = subprocess.Popen(command, stdin=end, stdout=end, stderr=end, env=env)
    os.close(end)
    shown = b""
    while True:
        try:
            part = os.read(main_end, 65536)
        except OSError:  # Linux: the other end is closed
            break
        if not part:
            break
        shown += part
    os.close(main_end)
    assert process.wait(60) == 0, shown
    assert shown.count(b"\x1b[?1049h") == shown.count(b"\x1b[?1049l") == 1
    assert b"Where the time goes" in shown
    assert b"puffer eval runs/squared/" in shown.rpartition(b"\x1b[?1049l")[2]


# --- stopping and going on -----------------------------------------------------------------------


def wait_for_steps(process):
    """Read a run's output up to its second line of metrics."""
    seen = 0
    for line in process.stdout:
        seen += line.startswith("steps ")
        if seen == 2:
            return
    raise AssertionError(process.stderr.read())


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
    first = process.stdout.readline(), process.stdout.readline()
    assert f"resumed at step {state['agent_steps']:,}; all envs begin new episodes" in first[1]
    assert f"{state['lost_steps']:,} steps in rows that were not full are lost" in first[1]
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


def stop_after(monkeypatch, updates, error=None, number=signal.SIGINT):
    """Have training signalled in update number `updates`, or fail with `error` after it."""
    real, left = Trainer.update, [updates]

    def update(self):
        left[0] -= 1
        if left[0] < 0 and error:
            raise error
        if left[0] == 0 and not error:
            os.kill(os.getpid(), number)
        return real(self)

    monkeypatch.setattr(Trainer, "update", update)


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


def test_rewards_that_are_nan_stop_the_run(capsys):
    game = str(GAME_HEADERS / "nan_reward.h")
    assert main(["train", game, "--name", "x", *SHORT]) == 1
    assert "training diverged: loss is nan" in capsys.readouterr().out


def test_a_rule_that_a_game_breaks_is_named_where_debug_is_asked_for(capsys):
    game = str(GAME_HEADERS / "double_kill.h")
    error = error_of(capsys, "train", game, "--vec.debug", "true", *SHORT, code=1)
    assert "double_kill kills a dead agent: env 0, agent 1, step 4" in error


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


# --- evaluating ----------------------------------------------------------------------------------


@pytest.fixture
def trained():
    assert main(["train", "squared", "--name", "x", *SHORT]) == 0
    return Path("runs/squared/x")


def test_eval_takes_a_run_or_the_newest_of_a_game_and_prints_a_table_or_json(trained, capsys):
    capsys.readouterr()
    assert main(["eval", "squared", "--episodes", "10"]) == 0
    table = capsys.readouterr().out
    assert "squared: 10 episodes" in table
    assert re.search(r"score\s*│", table)
    assert str(trained / "best.safetensors") in table
    results = []
    for _ in range(2):
        words = ["--episodes", "10", "--policy", "last", "--json", "--seed", "3"]
        assert main(["eval", str(trained), *words]) == 0
        results.append(json.loads(capsys.readouterr().out))
    assert results[0]["policy"] == str(trained / "last.safetensors").replace("last.", "policy.")
    assert results[0]["fields"] == results[1]["fields"]
    assert set(results[0]["fields"]["score"]) == {"mean", "std", "min", "max"}


def test_eval_takes_the_header_of_a_game_from_outside_and_a_policy_file_of_it(capsys):
    header = str(GAME_HEADERS / "namesake.h")
    assert main(["train", header, "--name", "x", *SHORT]) == 0
    file = "runs/namesake/x/policy.safetensors"
    for words in ([header], ["namesake", "--policy", file], [header, "--policy", file]):
        assert main(["eval", *words, "--episodes", "2"]) == 0
    error = error_of(capsys, "eval", "namesake", "--policy", "nope")
    assert "--policy nope is neither best, last nor a file" in error


def test_eval_refuses_a_policy_of_another_game_or_size(trained, capsys):
    file = str(trained / "policy.safetensors")
    error = error_of(capsys, "eval", "cartpole", "--policy", file)
    assert "its game is squared, here it is cartpole" in error
    error = error_of(capsys, "eval", "squared", "--policy", file, "--env.size", "5")
    assert "obs_shape is [11, 11], here it is [5, 5]" in error


def test_eval_refuses_pickles_and_files_that_are_cut_short(trained, capsys):
    file = trained / "best.safetensors"
    whole = file.read_bytes()
    file.write_bytes(whole[: len(whole) // 2])
    assert "truncated or damaged" in error_of(capsys, "eval", str(trained))
    file.write_bytes(pickle.dumps({"weights": 1}))
    assert "looks like a pickle" in error_of(capsys, "eval", str(trained))


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


# --- bad input -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "parts"),
    [
        (["trian"], ["invalid choice", "train"]),
        (["train"], ["which game?", "squared"]),
        (["train", "sqared"], ["sqared", "squared"]),
        (["train", "squared", "--train.learning-rte", "1"], ["did you mean --train.learning-rate"]),
        (["train", "squared", "--train.lr", "1"], ["did you mean --train.learning-rate"]),
        (["train", "squared", "--lr", "1"], ["did you mean --train.learning-rate"]),
        (["train", "squared", "--train.lr-finl", "1"], ["did you mean --train.lr-final"]),
        (["train", "squared", "--learning-rate", "1"], ["did you mean --train.learning-rate"]),
        (["train", "squared", "--tensorbord"], ["did you mean --tensorboard"]),
        (["train", "squared", "--env.size", "2"], ["env.size=2", "[3, 64]"]),
        (["train", "squared", "--train.gamma"], ["gamma=true", "a number"]),
        (["train", "squared", "cartpole"], ["'cartpole'"]),
        (["train", "squared", "--config", "absent.toml"], ["absent.toml", "No such file"]),
        (["train", "squared", *TINY, "--train.batch-size", "9"], ["batch_size=9", "horizon=8"]),
        (["train", "--resume", "runs/none"], ["runs/none"]),
        (["train", "--resume", "x", "--train.gamma", "1"], ["--resume continues"]),
        (["eval"], ["puffer eval RUN_OR_GAME"]),
        (["eval", "squared"], ["train one: puffer train squared"]),
        (["eval", "squared", "--episodes", "0"], ["--episodes 0"]),
        (["bench", "env"], ["puffer bench env|train GAME"]),
        (["bench", "env", "squared", "--seconds", "-1"], ["--seconds -1"]),
    ],
)
def test_bad_input_gets_a_clear_line_and_exit_code_2(capsys, words, parts):
    error = error_of(capsys, *words)
    for part in parts:
        assert part in error


def test_an_unknown_key_in_a_config_file_names_the_file_and_the_nearest_key(capsys):
    Path("mine.toml").write_text("[train]\nlearning_rte = 1\n")
    error = error_of(capsys, "train", "squared", "--config", "mine.toml")
    assert "mine.toml: train.learning_rte" in error
    assert "did you mean train.learning_rate?" in error
    assert not Path("runs").exists()


def test_a_run_folder_that_cannot_be_written_is_said_before_training(capsys, monkeypatch):
    monkeypatch.setattr(Trainer, "update", lambda self: pytest.fail("training began"))
    Path("file").write_text("in the way")
    assert "cannot be created" in error_of(capsys, "train", "squared", *SHORT, "--run-dir", "file")
    assert main(["train", "squared", "--name", "a/b", *SHORT]) == 2


def test_a_logger_that_is_not_installed_says_what_to_install(capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "wandb", None)
    error = error_of(capsys, "train", "squared", "--wandb", *SHORT)
    assert "pip install 'pufferenv[wandb]'" in error
    assert not Path("runs").exists()


def test_a_logger_that_does_not_start_leaves_the_runs_name_free(capsys, monkeypatch):
    from pufferlib.run import loggers

    def refuse(*args, **more):
        raise ValueError("no network")

    with monkeypatch.context() as patch:
        patch.setattr(loggers, "make", refuse)
        assert "no network" in error_of(capsys, "train", "squared", "--name", "x", *SHORT)
    assert main(["train", "squared", "--name", "x", *SHORT]) == 0


def test_too_little_memory_is_said_in_one_line(capsys, monkeypatch):
    def refuse(*args, **more):
        raise OSError("Cannot allocate memory")

    monkeypatch.setattr("pufferenv.engine.arrays.mmap.mmap", refuse)
    words = ["--vec.num-envs", "16384", "--train.horizon", "8"]
    error = error_of(capsys, "train", "squared", *SHORT, *words, code=1)
    assert re.search(r"GiB of memory.* num_envs.* horizon", error)
    assert "--traceback" not in error


def test_a_traceback_is_shown_only_where_asked_for(capsys):
    assert main(["--traceback", "train", "sqared"]) == 2
    assert "Traceback" in capsys.readouterr().err


def test_tensorboard_gets_the_metrics():
    events = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    assert main(["train", "squared", "--name", "x", "--tensorboard", *SHORT]) == 0
    found = events.EventAccumulator("runs/squared/x/tensorboard")
    found.Reload()
    last = metrics("runs/squared/x")[-1]
    point = found.Scalars("eval/score")[-1]
    assert (point.step, point.value) == (640, pytest.approx(last["eval/score"]))


# --- help, games, bench --------------------------------------------------------------------------


def test_help_does_not_import_torch():
    program = (
        "import sys, pufferlib.cli.main as c; c.main(['--help']); c.main(['games', 'squared']); "
        "c.main(['train', 'squared', '--help']); print('torch' in sys.modules)"
    )
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, env=env)
    assert done.stdout.splitlines()[-1] == "False", done.stderr


def test_help_of_a_game_shows_every_option_with_the_games_own_default(
    tmp_path, monkeypatch, capsys
):
    Path("squared.h").write_text((ROOT / "ocean" / "squared.h").read_text())
    Path("squared.toml").write_text("[train]\ngamma = 0.125\n")
    monkeypatch.setenv("COLUMNS", "120")
    monkeypatch.setenv("PUFFER_CACHE", str(tmp_path / "cache"))
    assert main(["train", "./squared.h", "--help"]) == 0
    output = capsys.readouterr().out
    for section, known in options.SECTIONS.items():
        for option in known.options():
            assert flag_name(section, option.name) in output
    assert re.search(r"--env.size +11 +3 \.\. 64 +side", output)
    assert re.search(r"--train.gamma +0.125 +0 \.\. 1 +discount", output)
    assert re.search(r"--policy.name +auto +auto\|mlp\|cnn\|lstm\|mingru", output)


def test_settings_are_split_off_with_hyphens_or_underscores_and_either_form():
    words = ["train", "--train.learning-rate", "-1", "--env.a_b=x=y", "x", "--run_dir", "d_e"]
    settings, rest = split_settings([*words, "--train.norm-obs", "--name", "n"])
    assert settings == {"train": {"learning_rate": "-1", "norm_obs": "true"}, "env": {"a_b": "x=y"}}
    assert rest == ["train", "x", "--run-dir", "d_e", "--name", "n"]


def test_games_are_listed_and_one_is_described(capsys):
    assert main(["games"]) == 0
    assert re.search(r"^squared +\S", capsys.readouterr().out, re.MULTILINE)
    assert main(["games", "squared"]) == 0
    output = capsys.readouterr().out
    assert "--env.size 11 in 3 .. 64" in output
    assert "move, 5 choices" in output


def test_bench_env_prints_rates_compiler_and_flags(capsys):
    words = ["--seconds", "0.05", "--vec.num-envs", "4", "--vec.num-threads", "2"]
    assert main(["bench", "env", "probe", *words, "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert list(report["steps_per_second"]) == ["1 thread", "2 threads"]
    assert all(rate > 0 for rate in report["steps_per_second"].values())
    assert {"compiler", "flags", "machine"} <= report.keys()
    assert main(["bench", "env", "squared", *words]) == 0
    assert re.search(r"compiler +\w+", capsys.readouterr().out)


def test_bench_trains_parts_add_up_to_the_whole(capsys):
    assert main(["bench", "train", "squared", *TINY, "--seconds", "0.2", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    seconds = report["seconds"]
    parts = [value for key, value in seconds.items() if key not in ("sum", "clock")]
    assert sum(parts) == pytest.approx(seconds["sum"])
    assert seconds["sum"] == pytest.approx(seconds["clock"], rel=0.02)
    reached = report["steps_per_second"] / report["roofline"]
    assert report["reached"] == pytest.approx(reached)
    assert sum(report["gemm_seconds"].values()) == pytest.approx(reached * seconds["clock"])
    assert not Path("runs").exists()


def test_a_pufferlib_of_another_make_beside_this_one_is_said(monkeypatch, capsys):
    monkeypatch.setattr("pufferenv.conflict", lambda: "pufferlib 3.0 is installed beside pufferenv")
    assert main(["games"]) == 0
    assert "warning: pufferlib 3.0 is installed beside" in capsys.readouterr().err
