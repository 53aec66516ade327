"""`puffer eval` that draws: windows, terminals, files, comparisons, and flags that are refused."""

import json
import os
import pty
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pufferenv.drawing import window
from pufferlib.cli import printing, rendering
from pufferlib.cli.main import main
from pufferlib.run.evaluate import Evaluation, Stats
from tests.support.command import SHORT, error_of, puffer
from tests.support.paths import GAME_HEADERS, ROOT

RANDOM = ["eval", "squared", "--policy", "random", "--episodes", "3"]


@pytest.fixture
def trained():
    for name in ("a", "b"):
        assert main(["train", "squared", "--name", name, *SHORT]) == 0
    return "runs/squared/a", "runs/squared/b"


def result_of(capsys, *words):
    """Return the JSON that a command prints, without what differs between two calls."""
    capsys.readouterr()
    assert main([*words, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    for one in (found, *found.get("compared", ())):
        one.pop("seconds", None)
    return found


def size_of(path):
    with Image.open(path) as image:
        return image.size, getattr(image, "n_frames", 1)


# --- files ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", [".gif", ".webp", ".mp4", ".png"])
def test_a_file_is_written_and_the_result_is_the_same_and_stays_json(suffix, capsys):
    plain = result_of(capsys, *RANDOM)
    assert result_of(capsys, *RANDOM, "--output", f"x{suffix}") == plain
    assert Path(f"x{suffix}").stat().st_size > 500
    assert not list(Path().glob(".*"))  # no temporary file


def test_the_table_and_a_line_about_the_file_are_printed(capsys):
    assert main([*RANDOM, "--output", "x.gif"]) == 0
    out = capsys.readouterr().out
    assert "squared: 3 episodes" in out
    assert out.splitlines()[-1].startswith("wrote x.gif: 600 x ")


def test_a_file_shows_the_first_episode_and_flags_set_its_length_and_size(capsys):
    lengths = []
    for more in ([], ["--max-frames", "4"], ["--seconds", "3"], ["--render-envs", "2"]):
        words = [*RANDOM, "--output", "x.webp", "--size", "120", *more]
        assert main(words) == 0
        lengths.append(size_of("x.webp"))
    assert [size[0] for size, _ in lengths] == [120] * 4
    first = result_of(capsys, *RANDOM, "--num-envs", "1", "--episodes", "1")["fields"]["length"]
    assert lengths[1][1] == 4
    assert lengths[3][0][1] < lengths[0][0][1]  # two beside each other
    assert first["mean"] < lengths[0][1]


@pytest.mark.parametrize("game", ["breakout", "tag", "squared"])
@pytest.mark.parametrize("envs", [1, 2, 3, 5, 8])
@pytest.mark.parametrize("size", [None, 500])
def test_a_picture_of_several_envs_has_the_width_that_is_asked_for(game, envs, size):
    words = ["eval", game, "--policy", "random", "--episodes", str(envs), "--max-frames", "1"]
    words += ["--output", "x.png", "--render-envs", str(envs)]
    assert main([*words, *(["--size", str(size)] if size else [])]) == 0
    wanted = size or (600 if envs == 1 else rendering.MOST_WIDTH)
    assert wanted - 2 * envs <= size_of("x.png")[0][0] <= wanted
    assert main([*words[:2], "--compare", "random", "random", *words[2:], "--size", "500"]) == 0
    assert 500 - 8 * envs <= size_of("x.png")[0][0] <= 500


def test_speed_and_fps_set_how_many_frames_show_how_many_steps(capsys):
    counts = []
    for more in ([], ["--fps", "12"], ["--speed", "2"], ["--speed", "2", "--fps", "6"]):
        words = [*RANDOM, "--output", "x.mp4", "--seconds", "4", *more]
        assert main(words) == 0
        line = capsys.readouterr().out.splitlines()[-1]
        counts.append(int(line.split(" frames")[0].split()[-1]))
    assert counts == [24, 48, 48, 24]  # the game's pace is 6 steps per second


def test_an_agents_own_view_differs_from_everybodys():
    words = ["eval", "royale", "--policy", "random", "--episodes", "1", "--max-frames", "2"]
    assert main([*words, "--output", "all.png"]) == 0
    assert main([*words, "--output", "one.png", "--agent", "3"]) == 0
    with Image.open("all.png") as everybody, Image.open("one.png") as one:
        assert everybody.size == one.size
        assert (np.asarray(everybody) != np.asarray(one)).mean() > 0.2


def test_python_envs_are_drawn_by_themselves_with_the_same_result(capsys):
    words = ["eval", "gym:CartPole-v1", "--policy", "random", "--episodes", "2"]
    words += ["--vec.backend", "serial"]
    plain = result_of(capsys, *words)
    assert result_of(capsys, *words, "--output", "x.gif") == plain
    assert size_of("x.gif")[0] == (600, 400)
    for flag in ("--size", "--agent"):
        error = error_of(
            capsys, *words, "--output", "x.gif", flag, "0" if flag == "--agent" else "99"
        )
        assert "gym:CartPole-v1 is written in Python and draws itself" in error


def test_what_is_observed_as_pixels_is_drawn_like_any_other():
    words = [*RANDOM, "--size", "120"]
    assert main([*words, "--output", "x.png"]) == 0
    assert main([*words, "--output", "y.png", "--env.pixels", "32"]) == 0
    assert Path("x.png").read_bytes() == Path("y.png").read_bytes()


def test_ctrl_c_leaves_a_complete_file_and_says_so():
    words = ["eval", "breakout", "--policy", "random", "--output", "x.gif"]
    code = (
        "import os, signal, sys\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored in the background\n"
        "from pufferlib.cli.main import main\n"
        "from pufferlib.run import screens\n"
        "real, left = screens.VideoFile.show, [40]\n"
        "def show(self, *args, **more):\n"
        "    left[0] -= 1\n"
        "    if left[0] == 0: os.kill(os.getpid(), signal.SIGINT)\n"
        "    return real(self, *args, **more)\n"
        "screens.VideoFile.show = show\n"
        f"sys.exit(main({words!r}))\n"
    )
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=environment, timeout=120
    )
    assert done.returncode == 130
    assert "interrupted" in done.stderr
    assert "wrote x.gif: 600 x " in done.stdout
    assert 35 <= size_of("x.gif")[1] <= 40
    assert [file.name for file in Path().iterdir()] == ["x.gif"]


# --- windows and terminals -----------------------------------------------------------------------


def test_a_window_shows_the_envs_that_are_evaluated(monkeypatch, capsys):
    monkeypatch.setenv("SDL_VIDEODRIVER", "dummy")
    words = [*RANDOM, "--num-envs", "1"]
    plain = result_of(capsys, *words)
    fast = ["--speed", "64", "--fps", "240"]
    assert result_of(capsys, *RANDOM, "--render", "human", *fast) == plain


def test_without_a_display_a_file_is_written_instead_and_never_over_another(monkeypatch, capsys):
    for name in ("DISPLAY", "WAYLAND_DISPLAY", "SDL_VIDEODRIVER"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(window.sys, "platform", "linux")
    monkeypatch.setattr(window, "has_display", lambda: False)
    plain = result_of(capsys, *RANDOM)
    for name in ("squared.gif", "squared-2.gif"):
        assert main([*RANDOM, "--render", "human", "--json"]) == 0
        out, err = capsys.readouterr()
        assert json.loads(out)["fields"] == plain["fields"]
        assert "there is no display for a window" in err
        assert f"{name} is written instead. To choose a file: --output FILE" in err
        assert f"wrote {name}" in err
        assert size_of(name)[1] > 2
    assert main([*RANDOM, "--render", "human", "--output", "x.gif"]) == 0
    assert "only x.gif is written" in capsys.readouterr().err
    assert sorted(p.name for p in Path().iterdir()) == ["squared-2.gif", "squared.gif", "x.gif"]


def test_a_terminal_shows_the_game_and_then_the_table():
    ours, theirs = pty.openpty()
    words = [*RANDOM, "--render", "terminal", "--speed", "64"]
    environment = os.environ | {
        "PYTHONPATH": str(ROOT),
        "TERM": "xterm-256color",
        "COLORTERM": "truecolor",
    }
    process = subprocess.Popen(
        [sys.executable, "-m", "pufferlib", *words],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        env=environment,
    )
    os.close(theirs)
    written = b""
    while True:
        try:
            part = os.read(ours, 65536)
        except OSError:  # the program has ended
            break
        if not part:
            break
        written += part
    os.close(ours)
    assert process.wait(60) == 0
    shown, _, after = written.partition(b"\x1b[?1049l")
    assert b"\x1b[?1049h" in shown and "▀".encode() in shown
    assert b"random: return" in shown and b"q ends, space pauses" in shown
    assert b"squared: 3 episodes" in after and "▀".encode() not in after


def test_a_terminal_that_is_none_is_an_error_that_names_another_way(capsys):
    process = puffer(*RANDOM, "--render", "terminal")
    out, err = process.communicate(timeout=120)
    assert process.returncode == 2 and out == ""
    assert (
        "neither stdout nor stderr is one: to write a file instead, give --output FILE.gif" in err
    )


# --- comparisons ---------------------------------------------------------------------------------


def test_runs_are_compared_on_the_same_seeds(trained, capsys):
    words = ["--episodes", "4", "--policy", "last"]
    alone = [result_of(capsys, "eval", run, *words) for run in trained]
    both = result_of(capsys, "eval", "--compare", *trained, "random", *words, "--output", "x.gif")
    names = [one.pop("run") for one in both["compared"]]
    assert names == ["a", "b", "random"]
    for one, other in zip(both["compared"], alone, strict=False):
        assert one == {key: other[key] for key in one}
    assert both["compared"][2]["policy"] == "random"
    (width, height), _ = size_of("x.gif")
    assert width > 2 * height  # side by side
    assert main(["eval", trained[0], "--compare", trained[1], *words]) == 0
    table = capsys.readouterr().out
    assert "squared, mean and std" in table and "±" in table
    assert f"a: {trained[0]}/policy.safetensors" in table


def test_a_table_has_the_numbers_of_each_run_below_its_name(capsys):
    def result(mean):
        return Evaluation(3, 0, 10, 1.0, {"score": Stats(mean, 0.5, 0.0, 1.0)})

    printing.print_comparison("g", [("one", "a"), ("two", "b")], [result(1.25), result(7.5)])
    lines = capsys.readouterr().out.splitlines()
    names = next(line for line in lines if "one" in line)
    scores = next(line for line in lines if "score" in line)
    assert names.index("one") < names.index("two")
    assert scores.index("1.25 ± 0.5") < scores.index("7.5 ± 0.5")


def test_a_policy_file_is_compared_and_equal_names_are_told_apart(trained, capsys):
    assert main(["train", "squared", "--name", "a", "--run-dir", "other", *SHORT]) == 0
    file = f"{trained[0]}/policy.safetensors"
    found = result_of(capsys, "eval", "--compare", trained[0], "other/squared/a", file)
    assert [one["run"] for one in found["compared"]] == [trained[0], "other/squared/a", file]


def test_what_cannot_be_compared_names_the_difference(trained, capsys):
    assert main(["train", "squared", "--name", "small", *SHORT, "--env.size", "5"]) == 0
    assert main(["train", "cartpole", "--name", "c", *SHORT]) == 0
    capsys.readouterr()
    error = error_of(capsys, "eval", "--compare", trained[0], "runs/squared/small")
    assert "runs/squared/a plays squared with size=11, and runs/squared/small with size=5" in error
    assert "give --env.size" in error
    error = error_of(capsys, "eval", "--compare", trained[0], "runs/cartpole/c")
    assert "plays squared, and runs/cartpole/c plays cartpole" in error
    error = error_of(capsys, "eval", "--compare", trained[0])
    assert "compare it with what?" in error
    error = error_of(capsys, "eval", "--compare", "random", f"{trained[0]}/policy.safetensors")
    assert "at least one must be a run or a game" in error


# --- flags that are refused ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--output", "x.avi"], "must end in .gif, .webp, .mp4, .png"),
        (["--output", "none/x.gif"], "there is no folder none"),
        (["--output", "x.gif", "--seconds", "0"], "--seconds 0 is outside [0.01, 86400]"),
        (["--output", "x.gif", "--seconds", "nan"], "--seconds nan is outside"),
        (["--output", "x.gif", "--max-frames", "0"], "--max-frames 0 is outside [1, 1e+07]"),
        (["--output", "x.gif", "--fps", "1000"], "--fps 1000 is outside [0.1, 240]"),
        (["--output", "x.gif", "--speed", "0"], "--speed 0 is outside [0.015625, 64]"),
        (["--output", "x.gif", "--size", "5"], "--size 5 is outside [16, 4096]"),
        (["--output", "x.gif", "--agent", "1"], "--agent 1 is outside [0, 0]"),
        (["--output", "x.gif", "--render-envs", "4"], "more than the 3 envs that play"),
        (["--output", "x.gif", "--render-envs", "0"], "--render-envs 0 is outside [1, 256]"),
        (["--fps", "5"], "--fps is about what is drawn: give --render or --output too"),
        (["--render-envs", "2"], "--render-envs is about what is drawn"),
        (["--render", "screen"], "invalid choice: 'screen'"),
        (["--num-envs", "0"], "--num-envs 0 must be at least 1"),
    ],
)
def test_a_flag_that_cannot_be_obeyed_is_refused_before_anything_is_played(words, message, capsys):
    assert message in error_of(capsys, *RANDOM, *words)
    assert list(Path().iterdir()) == []


@pytest.mark.parametrize(
    ("module", "words"),
    [
        ("pygame", ["--render", "human"]),
        ("PIL", ["--output", "x.gif"]),
        ("av", ["--output", "x.mp4"]),
    ],
)
def test_a_missing_package_is_named_with_its_extra(module, words, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, module, None)
    error = error_of(capsys, *RANDOM, *words, code=1)
    assert "which is not installed" in error and "pip install 'pufferenv[render]'" in error


def test_a_game_that_does_not_draw_itself_shows_how_to_begin(capsys):
    words = ["eval", str(GAME_HEADERS / "masked.h"), "--policy", "random", "--output", "x.gif"]
    assert main(words) == 2
    error = capsys.readouterr().err
    assert "masked does not draw itself: its header has no env_draw" in error
    assert "static void env_draw" in error


def test_a_display_that_cannot_be_opened_is_named_with_its_colon(monkeypatch, capsys):
    monkeypatch.delenv("SDL_VIDEODRIVER")
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    monkeypatch.setenv("DISPLAY", ":77")
    assert main([*RANDOM, "--render", "human"]) == 0
    assert "(the display ':77' cannot be opened); squared.gif is" in capsys.readouterr().err
    assert "':77' cannot be opened), so" in error_of(capsys, "play", "squared")


def test_the_name_of_a_fallback_file_is_one_that_a_folder_can_have():
    assert rendering._unused("gym:CartPole-v1").name == "gym-CartPole-v1.gif"
