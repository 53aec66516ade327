"""`puffer plot`: pictures, tables, notes and errors."""

import sys
from pathlib import Path

import pytest

from pufferlib.cli.main import main
from tests.support.command import SHORT, error_of
from tests.support.run_folders import write_run


@pytest.fixture
def runs():
    """Make two seeds of cartpole and a run of squared."""
    for seed in (1, 2):
        write_run(Path(f"runs/cartpole/{seed}"), [1, 2 * seed], train={"seed": seed})
    write_run(Path("runs/squared/x"), [0.5], game="squared")


def test_a_run_that_was_trained_is_drawn_and_tabulated(capsys):
    assert main(["train", "squared", "--name", "x", *SHORT]) == 0
    capsys.readouterr()
    assert main(["plot", "squared"]) == 0
    assert capsys.readouterr().out == "wrote plot.png: 1 run\n"
    assert main(["plot", "squared", "--metric", "eval/score", "--table"]) == 0
    captured = capsys.readouterr()
    head, _, line = captured.out.splitlines()
    assert head.startswith("| game | runs | seeds | metric | final mean [95 %] |")
    assert line.startswith("| squared | x | 1 | eval/score | ") and " | 640 | 0:0" in line
    assert not captured.err


def test_a_picture_is_replaced_and_the_command_says_so(runs, capsys):
    assert main(["plot", "runs/cartpole", "squared", "--output", "a.svg", "--x", "steps"]) == 0
    assert capsys.readouterr().out == "wrote a.svg: 3 runs\n"
    first = Path("a.svg").read_text()
    assert "2 seeds</text>" in first and "squared</text>" in first
    assert main(["plot", "cartpole", "--output", "a.svg"]) == 0
    assert capsys.readouterr().out == "replaced a.svg: 1 run\n"
    assert "squared" not in Path("a.svg").read_text()


def test_a_table_alone_needs_no_matplotlib_and_writes_no_file(runs, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    assert main(["plot", "cartpole", "--all", "--table"]) == 0
    assert capsys.readouterr().out.splitlines()[2] == (
        "| cartpole | all | 2 | env/score | 3 [2, 4] | 4 | 2k | 0:20 | 100 |"
    )
    assert not Path("plot.png").exists()
    error = error_of(capsys, "plot", "cartpole", "--table", "--output", "x.png")
    assert "pip install 'pufferenv[plot]'" in error


def test_a_table_and_a_picture_can_be_had_together(runs, capsys):
    assert main(["plot", "cartpole", "--table", "--output", "x.png"]) == 0
    captured = capsys.readouterr()
    assert captured.out.startswith("| game |")
    assert captured.err == "wrote x.png: 1 run\n"


def test_several_metrics_are_rows(runs, capsys):
    words = ["--metric", "env/score", "--metric", "env/episodes"]
    assert main(["plot", "cartpole", "--table", "--output", "x.svg", *words]) == 0
    assert [line.split(" | ")[3] for line in capsys.readouterr().out.splitlines()[2:]] == [
        "env/score",
        "env/episodes",
    ]
    text = Path("x.svg").read_text()
    assert "score in training</text>" in text and "episodes in training</text>" in text


def test_what_is_left_out_is_noted(runs, capsys):
    write_run(Path("runs/cartpole/3"), [], train={"seed": 3})
    write_run(Path("runs/cartpole/4"), [1], train={"seed": 4}, metric="eval/score")
    with open("runs/cartpole/1/metrics.jsonl", "a") as file:
        file.write('{"agent_steps": 3')
    assert main(["plot", "runs/cartpole", "--table"]) == 0
    captured = capsys.readouterr()
    assert "| cartpole | all | 2 | env/score |" in captured.out
    assert captured.err.splitlines() == [
        "puffer: note: runs/cartpole/1: 1 damaged line of metrics.jsonl left out",
        "puffer: note: runs/cartpole/3 has no metrics yet; a run logs its first after one update",
        "puffer: note: runs/cartpole/4 has not logged env/score",
    ]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "plot which runs? Give folders of runs or games: puffer plot RUN_OR_GAME"),
        (["nope"], "nope: no such run; did you mean"),
        (["cartpole", "--metric", "env/scor"], "did you mean env/score?"),
        (["cartpole", "--output", "x.pdf"], "must end in .png or .svg"),
        (["cartpole", "--output", "no/x.png"], "there is no folder no"),
        (["cartpole", "--x", "epochs"], "invalid choice: 'epochs'"),
        (["cartpole", "--smooth", "4"], "--smooth 4 must be an odd number of points"),
        (["cartpole", "--smooth", "0"], "--smooth 0 must be an odd number of points"),
        (["cartpole", "--split-by", "train.thread"], "did you mean train.threads?"),
        (["cartpole", "--train.seed", "1"], "puffer plot takes no options"),
        (["cartpole", "--tabel"], "did you mean --table?"),
    ],
)
def test_bad_input_says_what_is_legal(runs, capsys, words, message):
    assert message in error_of(capsys, "plot", *words)
    assert not list(Path().glob("*.*"))


def test_a_run_in_which_no_episode_ended_has_no_curve_of_its_own(capsys):
    write_run(Path("runs/cartpole/x"), [None])
    error = error_of(capsys, "plot", "cartpole")
    assert "no episode has ended in these runs" in error and "--metric loss/loss" in error


def test_a_folder_that_cannot_be_written_leaves_the_old_picture(runs, capsys, monkeypatch):
    Path("x.png").write_bytes(b"old")

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("pufferlib.run.checkpoint.os.replace", full)
    error = error_of(capsys, "plot", "cartpole", "--output", "x.png", code=1)
    assert "x.png cannot be written: No space left on device; the previous file" in error
    assert Path("x.png").read_bytes() == b"old"
    assert [path.name for path in Path().glob("*.png")] == ["x.png"]


def test_no_flag_is_suggested_that_there_is_not(capsys):
    assert "--targets: no such flag" in (error := error_of(capsys, "plot", "--targets"))
    assert "did you mean --targets?" not in error


def test_help_needs_no_run(capsys):
    assert main(["plot", "--help"]) == 0
    assert "--split-by KEY" in capsys.readouterr().out
