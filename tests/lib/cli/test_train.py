"""`puffer train`: real games, real training, and the files of a run."""

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from pufferlib.cli.main import main
from pufferlib.config import options, toml_file
from pufferlib.kernels import _kernels
from pufferlib.ppo.trainer import Trainer
from pufferlib.run.checkpoint import load, read_note
from pufferlib.runtime import thread_count
from pufferlib.runtime.build import describe_build
from pufferlib.runtime.choice import Choice
from tests.support.command import SHORT, TINY, error_of, metrics, puffer
from tests.support.paths import GAME_HEADERS, ROOT


def test_a_runs_config_says_how_many_threads_were_picked(monkeypatch, capsys):
    chosen = Choice(1, "1 was fastest")
    monkeypatch.setattr(thread_count, "choose", lambda given, *rest: chosen if given == 0 else None)
    words = [word for word in SHORT if not word.startswith("--train.threads")]
    assert main(["train", "squared", "--name", "auto", *words]) == 0
    setup = capsys.readouterr().out.splitlines()[2]
    assert "1 torch (1 was fastest)" in setup
    assert f"{_kernels.instruction_set()} kernels, {describe_build()['engine']} engine" in setup
    assert toml_file.read(Path("runs/squared/auto/config.toml"))["train"]["threads"] == 1


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ([], ["normalized: observations"]),
        (["--train.norm-obs=false"], []),
        (
            ["--train.norm-return=true", "--train.reward-clip=1", "--train.target-kl=0.5"],
            ["normalized: observations and returns", "rewards clipped to [-1, 1]", "target KL 0.5"],
        ),
        (
            ["--train.vf-clip-coef=0.2"],
            ["normalized: observations", "value changes clipped to 0.2"],
        ),
    ],
)
def test_a_run_says_what_ppos_paper_does_not_have(words, says, capsys):
    assert main(["train", "squared", "--name", "additions", *SHORT, *words]) == 0
    setup = capsys.readouterr().out.splitlines()[2]
    assert setup.partition("-step batches")[2] == "".join(f", {text}" for text in says)


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
from pufferlib.policy import Output, Policy

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


def test_a_run_folder_that_cannot_be_written_is_said_before_training(capsys, monkeypatch):
    monkeypatch.setattr(Trainer, "update", lambda self: pytest.fail("training began"))
    Path("file").write_text("in the way")
    assert "cannot be created" in error_of(capsys, "train", "squared", *SHORT, "--run-dir", "file")
    assert main(["train", "squared", "--name", "a/b", *SHORT]) == 2


def test_a_logger_that_does_not_start_leaves_the_runs_name_free(capsys, monkeypatch):
    from pufferlib.run import loggers

    def refuse(*args, **more):
        raise ValueError("no network")

    with monkeypatch.context() as patch:
        patch.setattr(loggers, "make", refuse)
        assert "no network" in error_of(capsys, "train", "squared", "--name", "x", *SHORT)
    assert main(["train", "squared", "--name", "x", *SHORT]) == 0


def test_tensorboard_gets_the_metrics():
    events = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    assert main(["train", "squared", "--name", "x", "--tensorboard", *SHORT]) == 0
    found = events.EventAccumulator("runs/squared/x/tensorboard")
    found.Reload()
    last = metrics("runs/squared/x")[-1]
    point = found.Scalars("eval/score")[-1]
    assert (point.step, point.value) == (640, pytest.approx(last["eval/score"]))


def test_rewards_that_are_nan_stop_the_run(capsys):
    game = str(GAME_HEADERS / "nan_reward.h")
    assert main(["train", game, "--name", "x", *SHORT]) == 1
    assert "training diverged: loss is nan" in capsys.readouterr().out


def test_a_rule_that_a_game_breaks_is_named_where_debug_is_asked_for(capsys):
    game = str(GAME_HEADERS / "double_kill.h")
    error = error_of(capsys, "train", game, "--vec.debug", "true", *SHORT, code=1)
    assert "double_kill kills a dead agent: env 0, agent 1, step 4" in error
