"""The output of a run: a dashboard that fits any terminal, plain lines elsewhere."""

import io

import pytest
from rich.console import Console

from pufferlib.run import dashboard, formatting
from pufferlib.run.dashboard import LiveDisplay, PlainDisplay
from pufferlib.runtime.timer import SECTIONS

METRICS = {
    "agent_steps": 12_600_000,
    "uptime": 100.0,
    "sps": 108_000.0,
    "learning_rate": 0.002,
    "env/episodes": 312.0,
    "env/score": 421.25,
    "eval/score": 512.0,
    "loss/loss": 0.0123,
    "loss/entropy": 1.05,
    "rows/density": 1.0,
    "rows/carried": 0.125,
    "rows/age": 0.1875,
    "rows/live": 412.5,
    "rows/open": 1024,
    "rows/abandoned": 3,
    "rows/full": 7,
    "rows/dropped": 5121,
    "time/env": 1.0,
    "time/forward": 2.0,
    "time/loss_backward": 5.0,
}


def live(width, height, title="runs/breakout/first", setup="cpu, 2 threads"):
    console = Console(file=io.StringIO(), force_terminal=True, width=width, height=height)
    display = LiveDisplay(console, title, setup, 30_000_000)
    return console, display


def picture(display, width, height):
    plain = Console(file=io.StringIO(), width=width, height=height, force_terminal=False)
    display.console = plain
    plain.print(display.render(), end="")
    return plain.file.getvalue().splitlines()


def test_the_dashboard_shows_progress_game_losses_rows_and_time():
    _, display = live(80, 24)
    display.update(METRICS)
    display.message("something to know")
    text = "\n".join(picture(display, 80, 24))
    display.close()
    for words in (
        "runs/breakout/first",
        "cpu, 2 threads",
        "42%  12.6M of 30M steps  108k/s  2:41 left",
        "Evaluation",
        "something to know",
    ):
        assert words in text
    lines = text.splitlines()
    assert any(line.rstrip(" │").endswith("421.2") and "score" in line for line in lines)
    assert any(line.rstrip(" │").endswith("1.05") and "entropy" in line for line in lines)
    assert any("forward" in line and "25%" in line for line in lines)
    assert any("loss_backward" in line and "62%" in line for line in lines)
    assert any("abandoned" in line and " 3 " in line for line in lines)


def test_rows_are_all_shown_on_a_small_terminal():
    _, display = live(80, 24)
    times = {f"time/{name}": 1.0 for name in SECTIONS}
    display.update({**METRICS, **times})
    display.message("something to know")
    lines = picture(display, 80, 24)
    display.close()
    for name, value in {
        "density": "100%",
        "carried": "12.5%",
        "age": "0.1875",
        "live": "412.5",
        "open": "1024",
        "abandoned": "3",
        "full": "7",
        "dropped": "5121",
    }.items():
        assert any(line.split()[1:3] == [name, value] for line in lines), name


@pytest.mark.parametrize("size", [(80, 24), (200, 60), (66, 12), (40, 10), (24, 5), (10, 3)])
def test_the_dashboard_never_is_larger_than_the_terminal(size):
    width, height = size
    _, display = live(width, height)
    many = {f"env/field_{i}_with_a_long_name": i * 1e9 for i in range(50)}
    display.update({**METRICS, **many})
    lines = picture(display, width, height)
    display.close()
    assert len(lines) <= height
    assert max(map(len, lines)) <= width


def test_a_resized_terminal_gets_a_picture_of_its_size():
    _, display = live(120, 40)
    display.update(METRICS)
    assert max(map(len, picture(display, 120, 40))) == 120
    assert max(map(len, picture(display, 70, 20))) == 70
    display.close()


def test_the_terminal_is_given_back_and_keeps_the_last_picture_and_notes():
    console, display = live(80, 24)
    display.update(METRICS)
    display.message("something to know")
    display.close()
    display.close()
    before, left, after = console.file.getvalue().rpartition("\x1b[?1049l")
    assert "\x1b[?1049h" in before
    assert left
    assert "12.6M" in after
    assert "something to know" in after


def test_plain_lines_have_steps_speed_score_and_loss(capsys):
    chosen = ["it observes numbers"]
    display = dashboard.make("runs/x", "cpu", chosen, 30_000_000, "env/score")
    assert isinstance(display, PlainDisplay)
    display.update(METRICS)
    display.update({"agent_steps": 13_000_000, "sps": 0.0})  # no episode has ended yet
    display.close()
    assert capsys.readouterr().out.splitlines() == [
        "it observes numbers",
        "runs/x  cpu",
        "steps 12.6M/30M  sps 108k  env/score 421.2  eval/score 512  loss 0.0123  left 2:41",
        "steps 13M/30M  sps 0  left ?",
    ]


def test_a_pipe_gets_plain_lines_and_a_terminal_the_dashboard(monkeypatch):
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("FORCE_COLOR", raising=False)
    monkeypatch.delenv("TTY_COMPATIBLE", raising=False)
    assert isinstance(dashboard.make("runs/x", "cpu", [], 10, None), PlainDisplay)


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0"), (950, "950"), (12_345, "12.3k"), (999_999, "1000k"), (4.56e6, "4.56M")],
)
def test_counts_are_short(value, text):
    assert formatting.count(value) == text


@pytest.mark.parametrize(
    ("seconds", "text"), [(None, "?"), (59.6, "1:00"), (161, "2:41"), (3725, "1:02:05")]
)
def test_durations_are_clocks(seconds, text):
    assert formatting.clock(seconds) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [(1024, "1024"), (0.0, "0"), (2e-5, "2e-05"), (1.23456, "1.235"), (1234.56, "1234.6")],
)
def test_measured_values_have_about_four_digits(value, text):
    assert formatting.number(value) == text


@pytest.mark.parametrize(
    ("share", "text"),
    [(1.0, "100%"), (0.99999, "99.9%"), (0.125, "12.5%"), (0.3, "30%"), (0, "0%")],
)
def test_shares_are_percentages_and_only_the_whole_is_100(share, text):
    assert formatting.percent(share) == text
