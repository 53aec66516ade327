"""`puffer play`: which policy plays, what is printed and recorded, and what is refused."""

from pathlib import Path

import pytest

from pufferenv.drawing import window
from pufferlib.cli.main import main
from pufferlib.run.replay import Replay
from tests.support.command import SHORT, error_of
from tests.support.paths import GAME_HEADERS

pytest.importorskip("pygame", reason="pygame opens the window; the extra `render` has it")
FAST = ["--speed", "64", "--episodes", "2"]


@pytest.fixture(autouse=True)
def dummy(monkeypatch):
    monkeypatch.setenv("SDL_VIDEODRIVER", "dummy")


def test_without_a_run_a_person_plays_alone_and_logs_are_printed(capsys):
    words = ["play", "squared", *FAST, "--seed", "3", "--record", "mine.replay"]
    assert main([*words, "--env.size", "4"]) == 0
    out = capsys.readouterr().out
    assert "episode 1: score 0" in out and "episode 2: score 0" in out and "episode 3" not in out
    assert "wrote mine.replay" in out
    replay = Replay.read("mine.replay")
    assert replay.policy == "a person" and not replay.choices.any() and replay.config == {"size": 4}
    assert main(["replay", "mine.replay"]) == 0
    assert "played by a person" in capsys.readouterr().out


def test_the_best_policy_of_the_newest_run_plays_if_there_is_one(capsys):
    assert main(["train", "squared", "--name", "x", *SHORT]) == 0
    for words in (["squared"], ["runs/squared/x"], ["squared", "--policy", "last"]):
        assert main(["play", *words, *FAST, "--seed", "1", "--record", "a.replay"]) == 0
        replay = Replay.read("a.replay")
        assert replay.policy == "x" and replay.choices.any()
    assert main(["play", "squared", "--policy", "none", *FAST, "--record", "b.replay"]) == 0
    assert not Replay.read("b.replay").choices.any()
    assert main(["play", "squared", "--policy", "random", *FAST, "--record", "c.replay"]) == 0
    assert Replay.read("c.replay").choices.any()


def test_two_games_without_a_seed_differ():
    for name in ("a", "b"):
        assert main(["play", "squared", *FAST, "--record", f"{name}.replay"]) == 0
    assert Replay.read("a.replay").seed != Replay.read("b.replay").seed


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "play what? Give a game or a run's folder"),
        (["squared", "--episodes", "0"], "--episodes 0 is outside [1"),
        (["squared", "--speed", "1000"], "--speed 1000 is outside"),
        (["squared", "--size", "9"], "--size 9 is outside [64"),
        (["squared", "--record", "a.gif"], "must be a file ending with .replay"),
        (["squared", "--record", "no/a.replay"], "there is no folder no"),
        (
            ["squared", "--policy", "nope"],
            "nope is neither a file nor one of best, last, random, none",
        ),
        (["squared", "--policy", "none", "--greedy"], "--policy none has none"),
        (["squared", "--render", "terminal"], "--render terminal needs a terminal"),
        (["squard"], "squared"),
        ([str(GAME_HEADERS / "continuous.h")], "continuous does not draw itself"),
    ],
)
def test_bad_input_is_refused(words, message, capsys):
    assert main(["play", *words]) == 2
    streams = capsys.readouterr()
    assert message in streams.err and "Traceback" not in streams.err and not streams.out
    assert not list(Path().glob("*.replay"))


def test_without_a_display_it_is_said_what_can_be_done(monkeypatch, capsys):
    for name in ("DISPLAY", "WAYLAND_DISPLAY", "SDL_VIDEODRIVER"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("sys.platform", "linux")
    error = error_of(capsys, "play", "squared")
    assert (
        "there is no display" in error and "--render terminal" in error and "eval --output" in error
    )


def test_without_pygame_the_extra_is_named(monkeypatch, capsys):
    def missing():
        raise ImportError("a window needs pygame: run `pip install 'pufferenv[render]'`")

    monkeypatch.setattr(window, "load_pygame", missing)
    assert main(["play", "squared"]) == 1
    assert "pufferenv[render]" in capsys.readouterr().err


def test_a_wrong_row_of_keys_is_named(tmp_path, capsys):
    text = (Path(__file__).parents[3] / "ocean" / "squared.h").read_text()
    header = tmp_path / "squared.h"
    header.write_text(text.replace('"left a"', '"lefty a"'))
    assert '"lefty a"' in header.read_text()
    error = error_of(capsys, "play", str(header))
    assert "squared: row 4 of PUF_KEYS" in error or "of PUF_KEYS, X(move" in error
    assert "there is no key 'lefty'; did you mean 'left'?" in error
