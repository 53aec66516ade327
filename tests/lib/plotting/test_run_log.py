"""What is read of a run: its config with defaults, its points, lines that are damaged."""

import json

import pytest

from pufferlib.config.options import TrainOptions
from pufferlib.config.section import ConfigError
from pufferlib.plotting.run_log import read
from tests.support.run_folders import write_run


def test_a_curve_has_the_points_in_the_order_of_their_steps(tmp_path):
    log = read(write_run(tmp_path / "x", [1, 2, 3], every=500, sps=50))
    curve = log.curve("env/score")
    assert curve.steps.tolist() == [500, 1000, 1500]
    assert curve.seconds.tolist() == [10, 20, 30]
    assert curve.values.tolist() == [1, 2, 3]
    assert (log.agent_steps, log.seconds) == (1500, 30)
    assert len(log.curve("eval/score").values) == 0

    lines = (tmp_path / "x" / "metrics.jsonl").read_text().splitlines()
    (tmp_path / "x" / "metrics.jsonl").write_text("\n".join(reversed(lines)))
    assert read(tmp_path / "x").curve("env/score").values.tolist() == [1, 2, 3]


def test_what_was_nan_has_no_point(tmp_path):
    log = read(write_run(tmp_path / "x", [1, None, 3]))
    assert log.curve("env/score").steps.tolist() == [1000, 3000]
    assert log.damaged == 0


@pytest.mark.parametrize(
    "damage",
    [
        b'{"agent_steps": 4000, "upt',
        b"\xff\xfe",
        b"[]",
        b"7",
        b'{"agent_steps": null, "uptime": 1.0}',
        b'{"agent_steps": 4000}',
        b'{"agent_steps": Infinity, "uptime": 1.0}',
        b'{"agent_steps": 1' + b"0" * 400 + b', "uptime": 1.0}',
        b"[" * 100_000,
    ],
)
def test_a_damaged_line_is_left_out_and_counted(tmp_path, damage):
    run = write_run(tmp_path / "x", [1, 2, 3])
    with (run / "metrics.jsonl").open("ab") as file:
        file.write(damage)
    log = read(run)
    assert log.damaged == 1
    assert log.curve("env/score").values.tolist() == [1, 2, 3]


def test_a_number_that_no_float_holds_has_no_point(tmp_path):
    run = write_run(tmp_path / "x", [1, 10**400, 3])
    assert read(run).curve("env/score").values.tolist() == [1, 3]


def test_a_run_without_metrics_has_no_lines(tmp_path):
    run = write_run(tmp_path / "x", [])
    assert read(run).lines == []
    (run / "metrics.jsonl").unlink()
    assert read(run).lines == []


def test_options_that_an_older_config_lacks_have_their_defaults(tmp_path):
    log = read(write_run(tmp_path / "x", [1], train={"seed": 7}, env={"max_steps": 200}))
    assert log.config["train.seed"] == 7
    assert log.config["train.learning_rate"] == TrainOptions().learning_rate
    assert log.config["env.max_steps"] == 200
    (tmp_path / "x" / "config.toml").write_text("game = ")
    with pytest.raises(ConfigError, match="is not TOML"):
        read(tmp_path / "x")


@pytest.mark.parametrize(
    ("logged", "main"),
    [
        ({"env/length": 1, "env/score": 2}, "env/score"),
        ({"env/episodes": 3, "env/caught": 1, "env/other": 2}, "env/caught"),
        ({"env/episodes": 3}, None),
        ({"loss/loss": 0.5, "env/caught": None}, None),
    ],
)
def test_the_main_metric_is_the_score_or_the_first_field(tmp_path, logged, main):
    run = write_run(tmp_path / "x", [])
    line = {"agent_steps": 1, "uptime": 1.0, **logged}
    (run / "metrics.jsonl").write_text(json.dumps(line))
    assert read(run).main_metric == main


@pytest.mark.parametrize(
    ("game", "title"),
    [
        ("cartpole", "cartpole"),
        ("/home/me/catch.h", "catch"),
        ("gym:CartPole-v1", "gym:CartPole-v1"),
        ("gym:my.module:Env-v0", "gym:my.module:Env-v0"),
    ],
)
def test_the_title_is_the_games_name(tmp_path, game, title):
    assert read(write_run(tmp_path / "x", [1], game=game)).title == title
