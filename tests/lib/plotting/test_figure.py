"""What is drawn: means, bands and labels, and what a reader is told beside them."""

import sys
from pathlib import Path

import numpy as np
import pytest

from pufferlib.plotting.figure import (
    BAND_NOTE,
    Panels,
    PlotError,
    check_output,
    describe,
    drawn,
    notes,
    write,
)
from pufferlib.plotting.groups import group
from pufferlib.plotting.run_log import read
from pufferlib.plotting.statistics import GRID
from tests.support.run_folders import write_run


def panels(*runs, metric="env/score"):
    """Return the rows of panels of these folders of runs."""
    found = group([read(run) for run in runs])
    return [Panels(groups[0].title, metric, groups) for groups in found.values()]


def seeds(tmp_path, *scores, name="run", **more):
    """Write one run for each list of scores; only the seed differs."""
    return [
        write_run(tmp_path / f"{name}-{seed}", each, train={"seed": seed}, **more)
        for seed, each in enumerate(scores, 1)
    ]


def test_one_run_keeps_its_points(tmp_path):
    (row,) = panels(*seeds(tmp_path, [3, 1, 2]))
    item = drawn(row.groups[0], "env/score", "time")
    assert item.x.tolist() == [10, 20, 30]
    assert item.band.mean.tolist() == [3, 1, 2]


def test_several_seeds_are_a_mean_in_a_band_up_to_the_shortest(tmp_path):
    (row,) = panels(*seeds(tmp_path, [0, 10, 20, 30], [2, 6, 10]))
    item = drawn(row.groups[0], "env/score", "steps")
    assert len(item.x) == GRID and (item.x[0], item.x[-1]) == (1000, 3000)
    np.testing.assert_allclose(item.band.mean, np.linspace(1, 15, GRID))
    np.testing.assert_allclose(
        item.band.low, np.minimum(np.linspace(0, 20, GRID), np.linspace(2, 10, GRID))
    )
    (note,) = notes(row, ["steps"])
    assert note == (
        f"the mean of 2 seeds ends at 3,000 steps, because {tmp_path / 'run-2'} ends there; the "
        "longest run has 4,000"
    )


def test_runs_without_a_common_range_are_drawn_alone(tmp_path):
    early = write_run(tmp_path / "a", [1], sps=100, train={"seed": 1})
    late = write_run(tmp_path / "b", [2], sps=50, train={"seed": 2})
    (row,) = panels(early, late)
    assert len(drawn(row.groups[0], "env/score", "time").x) == 0
    assert drawn(row.groups[0], "env/score", "steps").band.mean.tolist() == [1.5]
    (note,) = notes(row, ["steps", "time"])
    assert "2 seeds has no mean over time" in note
    write(tmp_path / "x.svg", [row], "both")


def test_an_svg_has_titles_labels_and_units(tmp_path):
    runs = seeds(tmp_path, [1, 2, 3], [2, 3, 4], every=10**6, sps=10**5)
    fast = write_run(tmp_path / "fast", [5], train={"learning_rate": 0.1}, every=10**6, sps=10**4)
    other = write_run(tmp_path / "_$x$", [1, 2], game="squared", sps=1)
    file = tmp_path / "curves.svg"
    write(file, panels(*runs, fast, other), "both", 3)
    text = file.read_text()
    for label in (
        "cartpole",
        "squared",
        "score in training",
        "(mean of 3 points)",
        "agent steps (millions)",
        "wall time (seconds)",
        "agent steps (thousands)",
        "wall time (minutes)",
        "learning-rate 0.0025 (2 seeds)",
        "learning-rate 0.1 (1 seed)",
        "_$x$ (1 seed)",
        BAND_NOTE,
    ):
        assert f"{label}</text>" in text, label
    assert not list(tmp_path.glob(".*"))
    write(tmp_path / "again.svg", panels(*runs, fast, other), "both", 3)
    assert (tmp_path / "again.svg").read_bytes() == file.read_bytes()


@pytest.mark.parametrize(
    ("x", "here", "missing"), [("steps", "agent", "wall time"), ("time", "wall", "agent")]
)
def test_one_axis_has_one_panel(tmp_path, x, here, missing):
    write(tmp_path / "x.svg", panels(*seeds(tmp_path, [1, 2])), x)
    text = (tmp_path / "x.svg").read_text()
    assert here in text and missing not in text
    assert BAND_NOTE not in text


def test_a_band_and_thin_lines_are_drawn_where_asked_for(tmp_path):
    (row,) = panels(*seeds(tmp_path, [1, 2, 3], [2, 3, 5], [0, 0, 0]))
    counts = []
    for each in (False, True):
        write(tmp_path / "x.svg", [row], "steps", each=each)
        text = (tmp_path / "x.svg").read_text()
        counts.append(text.count("#0072b2"))
        assert text.count("FillBetweenPolyCollection") == 1 or text.count("PolyCollection") == 1
    assert counts[1] - counts[0] == 3


def test_many_groups_have_different_lines(tmp_path):
    runs = [write_run(tmp_path / str(n), [n, n + 1], train={"horizon": n}) for n in range(1, 11)]
    write(tmp_path / "x.svg", panels(*runs), "steps")
    text = (tmp_path / "x.svg").read_text()
    assert all(f"horizon {n} (1 seed)</text>" in text for n in range(1, 11))
    assert "stroke-dasharray" in text


def test_a_png_is_a_picture_of_the_panels_size(tmp_path):
    file = tmp_path / "curves.png"
    write(file, panels(*seeds(tmp_path, [1, 2])), "both")
    content = file.read_bytes()
    assert content[:8] == b"\x89PNG\r\n\x1a\n"
    width, height = (int.from_bytes(content[at : at + 4], "big") for at in (16, 20))
    assert (width, height) == (1560, 510)


@pytest.mark.parametrize(
    ("metric", "label"),
    [
        ("env/score", "score in training"),
        ("eval/length", "length in evaluations"),
        ("loss/entropy", "loss: entropy"),
        ("sps", "sps"),
    ],
)
def test_a_metric_has_a_name_for_people(metric, label):
    assert describe(metric) == label


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("curves.pdf", "must end in .png or .svg"),
        ("curves", "must end in .png or .svg"),
        ("nowhere/curves.png", "there is no folder nowhere"),
    ],
)
def test_an_output_that_cannot_be_written_is_refused(tmp_path, monkeypatch, name, message):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(PlotError, match=message):
        check_output(Path(name))


def test_without_matplotlib_the_error_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(PlotError, match=r"pip install 'pufferenv\[plot\]'.*--table"):
        check_output(Path("x.png"))
