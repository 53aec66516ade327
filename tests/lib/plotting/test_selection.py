"""The runs that words name, and the errors for words that name none."""

import os
from pathlib import Path

import pytest

from pufferlib.plotting.run_log import read
from pufferlib.plotting.selection import check_metric, find, read_all
from pufferlib.run.directory import RunError
from tests.support.run_folders import write_run


@pytest.fixture(autouse=True)
def runs(tmp_path, monkeypatch):
    """Make runs of two games below runs/; cartpole's newest is `b`."""
    monkeypatch.chdir(tmp_path)
    for age, name in ((3, "a"), (1, "b"), (2, "c")):
        run = write_run(Path("runs/cartpole") / name, [1, 2])
        os.utime(run / "metrics.jsonl", (10**9 - age, 10**9 - age))
    write_run(Path("runs/catch/x"), [1], game=str(tmp_path / "catch.h"))
    write_run(Path("runs/gym-CartPole-v1/y"), [1], game="gym:CartPole-v1")


@pytest.mark.parametrize(
    ("targets", "found"),
    [
        (["cartpole"], ["cartpole/b"]),
        (["runs/cartpole/a", "runs/cartpole/a/", "cartpole"], ["cartpole/a", "cartpole/b"]),
        (["runs/cartpole"], ["cartpole/a", "cartpole/b", "cartpole/c"]),
        (["catch.h"], ["catch/x"]),
        (["catch", "gym:CartPole-v1"], ["catch/x", "gym-CartPole-v1/y"]),
    ],
)
def test_a_word_is_a_run_a_folder_of_runs_or_a_game(targets, found):
    assert find(targets, "runs", every=False) == [Path("runs") / path for path in found]


def test_all_runs_of_a_game_are_found():
    found = find(["cartpole", "runs/cartpole/c"], "runs", every=True)
    assert [path.name for path in found] == ["a", "b", "c"]


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("cartpol", "cartpol: no such run; did you mean cartpole?"),
        ("tag", "tag: there is no run of it in runs; to train one: puffer train tag"),
        ("runs/cartpole/aa", "did you mean runs/cartpole/a?"),
        ("runs/cartpole/a/metrics.jsonl", "is a file; give the folder of a run, or a game"),
        ("runs", "runs is neither a run's folder nor a folder of runs"),
        ("gym:CartPole-v0", "did you mean gym-CartPole-v1?"),
    ],
)
def test_a_word_that_names_no_run_gets_the_nearest(target, message):
    with pytest.raises(RunError) as caught:
        find([target], "runs", every=False)
    assert message in str(caught.value)


def test_without_any_run_the_error_says_how_to_make_one():
    with pytest.raises(RunError, match="there is no other in elsewhere; to train one: puffer"):
        find(["cartpol"], "elsewhere", every=False)
    with pytest.raises(RunError, match=r"no run of it in elsewhere; .*: puffer train cartpole"):
        find(["cartpole"], "elsewhere", every=False)


def test_runs_without_metrics_and_damaged_lines_are_noted():
    empty = write_run(Path("runs/cartpole/d"), [])
    with open("runs/cartpole/a/metrics.jsonl", "a") as file:
        file.write("{\n{\n")
    logs, notes = read_all([Path("runs/cartpole/a"), empty])
    assert [log.path.name for log in logs] == ["a"]
    assert notes == [
        "runs/cartpole/a: 2 damaged lines of metrics.jsonl left out",
        "runs/cartpole/d has no metrics yet; a run logs its first after one update",
    ]
    with pytest.raises(RunError, match=r"no run has metrics to plot: runs/cartpole/d has no met"):
        read_all([empty])


@pytest.mark.parametrize(
    ("metric", "near"),
    [("env/scor", "env/score"), ("score", "env/score"), ("eval/score", "env/score")],
)
def test_a_metric_that_no_run_has_gets_the_nearest(metric, near):
    with pytest.raises(RunError) as caught:
        check_metric(metric, [read(Path("runs/cartpole/a"))])
    assert f"did you mean {near}?" in str(caught.value)
    assert str(caught.value).endswith("? The game's own: env/episodes, env/score")
    check_metric("env/score", [read(Path("runs/cartpole/a"))])
