"""Replays on the command line: `puffer eval --record`, `puffer replay`, the replays of a run."""

import json
import shlex
from pathlib import Path

import pytest

from pufferlib.cli.main import main
from pufferlib.run.replay import Replay
from tests.support.command import SHORT, error_of
from tests.support.paths import GAME_HEADERS

RANKS = ("best", "median", "worst")


@pytest.fixture
def trained():
    assert main(["train", "squared", "--name", "x", *SHORT]) == 0
    return Path("runs/squared/x")


def test_the_best_median_and_worst_episode_of_a_runs_evaluation_are_kept(trained, capsys):
    capsys.readouterr()
    assert main(["eval", "squared", "--episodes", "9", "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert sorted(p.name for p in (trained / "replays").iterdir()) == [f"{r}.replay" for r in RANKS]
    found = {rank: Replay.read(trained / "replays" / f"{rank}.replay") for rank in RANKS}
    scores = [found[rank].log["score"] for rank in RANKS]
    assert scores == sorted(scores, reverse=True)
    assert scores[0] == result["fields"]["score"]["max"]
    assert scores[2] == result["fields"]["score"]["min"]
    assert {replay.policy for replay in found.values()} == {"x"}
    for rank in RANKS:
        assert main(["replay", str(trained / "replays" / f"{rank}.replay")]) == 0
        out = capsys.readouterr().out
        assert "repeated to the bit" in out and "played by x" in out


def test_training_keeps_none(trained):
    assert not (trained / "replays").exists()


def test_random_actions_and_other_folders_leave_a_run_alone(trained, capsys):
    assert main(["eval", "squared", "--policy", "random", "--episodes", "3"]) == 0
    assert not (trained / "replays").exists()
    assert main(["eval", "squared", "--episodes", "3", "--record", "mine/"]) == 0
    assert not (trained / "replays").exists()
    assert sorted(p.name for p in Path("mine").iterdir()) == [f"{rank}.replay" for rank in RANKS]
    assert "puffer replay mine/best.replay" in capsys.readouterr().out


def test_of_two_policies_of_one_run_the_replays_of_the_first_are_kept(trained, capsys):
    capsys.readouterr()
    words = ["--compare", str(trained), str(trained / "policy.safetensors"), "--episodes", "2"]
    assert main(["eval", *words]) == 0
    assert capsys.readouterr().out.count("replays in ") == 1
    assert {Replay.read(trained / "replays" / f"{rank}.replay").policy for rank in RANKS} == {"x"}


def test_record_keeps_the_first_episode_in_a_file(capsys):
    words = ["eval", "breakout", "--policy", "random", "--episodes", "5", "--record", "a.replay"]
    assert main([*words, "--seed", "4"]) == 0
    assert "wrote a.replay: score" in capsys.readouterr().out
    replay = Replay.read("a.replay")
    assert (replay.env, replay.episode, replay.start, replay.policy) == (0, 0, 0, "random")
    assert Path("a.replay").stat().st_size < 1000
    assert main(["replay", "a.replay", "--json"]) == 0
    about = json.loads(capsys.readouterr().out)
    assert about["repeated"] is True and about["log"] == replay.log
    assert about["bytes"] == Path("a.replay").stat().st_size


def test_what_is_watched_is_recorded_alike(capsys):
    words = ["eval", "squared", "--policy", "random", "--episodes", "3", "--num-envs", "1"]
    assert main([*words, "--record", "a.replay"]) == 0
    assert main([*words, "--record", "b.replay", "--output", "b.gif"]) == 0
    assert Path("a.replay").read_bytes() == Path("b.replay").read_bytes()


@pytest.mark.parametrize("suffix", ["gif", "png"])
def test_a_replay_is_drawn_into_a_file(suffix, capsys):
    pytest.importorskip("PIL", reason="Pillow writes pictures; the extra `render` has it")
    from PIL import Image

    main(["eval", "squared", "--policy", "random", "--episodes", "4", "--num-envs", "1",
          "--record", "all/"])  # fmt: skip
    last = max((Replay.read(f"all/{rank}.replay") for rank in RANKS), key=lambda r: r.start)
    name = next(r for r in RANKS if Replay.read(f"all/{r}.replay").start == last.start)
    file = f"all/{name}.replay"
    assert main(["replay", file, "--output", f"a.{suffix}", "--size", "128"]) == 0
    assert "repeated to the bit" in capsys.readouterr().out
    picture = Image.open(f"a.{suffix}")
    assert picture.size[0] == 128
    if suffix == "gif":
        total = sum(_duration(picture, i) for i in range(picture.n_frames))
        shown = (last.steps - last.start + 1) / 6 * 1000  # squared has a pace of 6
        assert abs(total - shown) < 1300  # the end is seen for a second longer


def test_a_file_of_the_whole_replay_ends_with_the_recorded_episode(capsys):
    words = ["eval", "squared", "--policy", "random", "--episodes", "3", "--num-envs", "1"]
    assert main([*words, "--record", "all/"]) == 0
    replays = {rank: Replay.read(f"all/{rank}.replay") for rank in RANKS}
    rank, replay = max(replays.items(), key=lambda item: item[1].episode)
    assert replay.episode > 0
    assert main(["replay", f"all/{rank}.replay", "--whole", "--output", "a.mp4"]) == 0
    # The frame before each episode, those of the steps, and the ends, which stay for a second.
    frames = replay.episode + 1 + replay.steps + (replay.episode + 1) * 5
    assert f", {frames} frames, " in capsys.readouterr().out


def _duration(picture, index):
    picture.seek(index)
    return picture.info["duration"]


def test_a_replay_without_a_display_says_so_and_writes_a_file(monkeypatch, capsys):
    main(["eval", "squared", "--policy", "random", "--episodes", "1", "--record", "a.replay"])
    for name in ("DISPLAY", "WAYLAND_DISPLAY", "SDL_VIDEODRIVER"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("sys.platform", "linux")
    assert main(["replay", "a.replay", "--render", "human"]) == 0
    assert "squared.gif is written instead" in capsys.readouterr().err
    assert Path("squared.gif").is_file()


def test_a_replay_that_differs_fails_and_says_where(tmp_path, capsys):
    text = (Path(__file__).parents[3] / "ocean" / "breakout.h").read_text()
    (tmp_path / "one").mkdir()
    (tmp_path / "two").mkdir()
    one, two = tmp_path / "one" / "breakout.h", tmp_path / "two" / "breakout.h"
    one.write_text(text)
    two.write_text(text.replace("PADDLE_SPEED = 0.3f", "PADDLE_SPEED = 0.31f"))
    assert (
        main(["eval", str(one), "--policy", "random", "--episodes", "1", "--record", "a.replay"])
        == 0
    )
    error = error_of(capsys, "replay", "a.replay", "--game", str(two))
    assert "another version of breakout" in error and "--any-version" in error
    assert main(["replay", "a.replay", "--game", str(two), "--any-version"]) == 1
    assert "not repeated: something else was observed in steps 1 to 100" in capsys.readouterr().out
    assert main(["replay", "a.replay", "--game", str(one)]) == 0


def test_a_game_from_outside_is_named_by_its_user_alone(capsys):
    header = str(GAME_HEADERS / "multihead.h")
    assert (
        main(["eval", header, "--policy", "random", "--episodes", "1", "--record", "a.replay"]) == 0
    )
    hint = capsys.readouterr().out.partition("to see it: puffer ")[2].splitlines()[0]
    assert shlex.split(hint) == ["replay", "a.replay", "--game", header]
    error = error_of(capsys, "replay", "a.replay")
    assert "of multihead, which is none of the games here" in error
    assert "--game path/to/multihead.h" in error
    assert main(["replay", "a.replay", "--game", header]) == 0
    assert main(["replay", "a.replay", "--game", header, "--output", "a.gif"]) == 2
    assert "multihead does not draw itself" in capsys.readouterr().err
    assert "the replay is of multihead, not of squared" in error_of(
        capsys, "replay", "a.replay", "--game", "squared"
    )


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["replay"], "replay what? Give a file that --record wrote"),
        (["replay", "none.replay"], "none.replay cannot be read: No such file"),
        (["replay", "bad.replay"], "bad.replay is not a replay that can be played: it was not"),
        (["replay", "bad.replay", "--env.size", "5"], "--env.size: a replay has the config that"),
        (["replay", "bad.replay", "--size", "300"], "--size is about what is drawn"),
        (["eval", "squared", "--policy", "random", "--record", "a.txt"], "ending with .replay"),
        (["eval", "squared", "--policy", "random", "--record", "no/a.replay"], "no folder no"),
        (["eval", "gym:CartPole-v1", "--policy", "random", "--record", "a.replay"],
         "games written in C only"),
        (["eval", "squared", "--compare", "random", "--record", "a.replay"],
         "is for one evaluation"),
    ],
)  # fmt: skip
def test_bad_input_is_refused(words, message, capsys):
    Path("bad.replay").write_bytes(b"GIF89a" * 10)
    assert message in error_of(capsys, *words)
    assert not Path("a.replay").exists()


def test_a_run_whose_folder_cannot_be_written_is_evaluated_all_the_same(trained, capsys):
    (trained / "replays").write_text("a file is in the way")
    assert main(["eval", "squared", "--episodes", "3"]) == 0
    streams = capsys.readouterr()
    assert "warning: no replays are kept" in streams.err and "score" in streams.out
