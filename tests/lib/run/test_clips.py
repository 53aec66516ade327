"""Clips during training: what they show, where they go, and that they change no training."""

import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.numpy import load_file

from pufferenv.drawing._drawing import DisplayListError
from pufferenv.game_spec import GameSpec
from pufferlib.cli.main import main
from pufferlib.config.options import PolicyOptions
from pufferlib.policies.base import PolicySpec
from pufferlib.policies.factory import make_policy
from pufferlib.run import clips, loggers
from pufferlib.run.clips import ClipRecorder
from pufferlib.run.loggers import LoggerEntry
from tests.support.checkouts import my_game
from tests.support.command import SHORT, error_of
from tests.support.paths import GAME_HEADERS

CLIPS = ["--train.video-interval", "1e-9"]


@pytest.fixture(autouse=True)
def empty_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(clips, "MAX_SHARE", 1e9)  # a clip is due after every update


class Kept:
    """A logger that keeps the clips that it gets."""

    made: list["Kept"] = []  # noqa: RUF012

    def __init__(self, folder, config):
        self.clips = []
        self.made.append(self)

    def log(self, metrics):
        pass

    def log_clip(self, file, agent_steps):
        self.clips.append((file, agent_steps, file.read_bytes()))

    def close(self):
        pass


def test_clips_of_a_run_are_in_its_folder_and_in_its_loggers(monkeypatch, capsys):
    monkeypatch.setitem(loggers.LOGGERS, "kept", LoggerEntry(Kept, "a list", "json", "nothing"))
    Kept.made.clear()
    assert main(["train", "squared", "--name", "x", "--kept", *SHORT, *CLIPS]) == 0
    assert "clips of it: runs/squared/x/videos" in capsys.readouterr().out
    files = sorted(Path("runs/squared/x/videos").iterdir())
    assert len(files) == 10  # one per update: 640 steps, 64 in each
    assert [file.name for file in files][:2] == ["000000000064.gif", "000000000128.gif"]
    (logger,) = Kept.made
    assert logger.clips == [(f, int(f.stem), f.read_bytes()) for f in files]


def test_training_is_the_same_with_clips_and_without():
    for name, more in (("with", CLIPS), ("without", [])):
        assert main(["train", "squared", "--name", name, *SHORT, *more]) == 0
    one, two = (
        load_file(f"runs/squared/{name}/policy.safetensors") for name in ("with", "without")
    )
    assert one.keys() == two.keys()
    assert all(np.array_equal(one[key], two[key]) for key in one)
    assert not Path("runs/squared/without/videos").exists()


def test_a_clip_shows_the_first_episode_up_to_its_end_and_no_longer_than_ten_seconds(tmp_path):
    for game, seconds in (("squared", None), ("probe", clips.SECONDS)):
        spec = GameSpec.of(game, {"steps": 10_000} if game == "probe" else {})
        recorder = ClipRecorder(spec, tmp_path, interval=1, seed=1)
        file = recorder.record(None, 7)
        with Image.open(file) as clip:
            assert clip.width == clips.WIDTH
            delays = []
            for i in range(clip.n_frames):
                clip.seek(i)
                delays.append(clip.info["duration"] / 1000)
        if seconds:
            assert sum(delays) == pytest.approx(seconds, abs=0.02)
        else:
            assert 1 < sum(delays) < clips.SECONDS  # out of time, off the grid, or at the target
            assert delays[-1] >= 1  # the last frame stays


def test_a_clip_shows_the_policy_always_in_the_same_episode(tmp_path):
    spec = GameSpec.of("cartpole")
    policies = [
        make_policy(PolicyOptions(hidden_size=8), PolicySpec.of(spec), seed=n) for n in (1, 2)
    ]
    with torch.no_grad():  # far from random, so that they play differently
        for parameter in (p for policy in policies for p in policy.parameters()):
            parameter *= 8
    recorder = ClipRecorder(spec, tmp_path, interval=1, seed=1)
    clip, other = (recorder.record(policy, 7).read_bytes() for policy in policies)
    assert clip != other
    assert recorder.record(policies[0], 500).read_bytes() == clip


def test_clips_of_a_python_env_in_worker_processes_show_its_own_frames(monkeypatch):
    monkeypatch.setattr(clips, "MAX_SHARE", 0.03)
    words = ["gym:CartPole-v1", "--name", "x", *SHORT, "--vec.backend", "processes"]
    assert main(["train", *words, "--train.video-interval", "1e9"]) == 0
    (file,) = Path("runs/gym-CartPole-v1/x/videos").iterdir()  # the one at the end
    with Image.open(file) as clip:
        assert clip.size == (600, 400) and clip.n_frames > 5


def test_clips_of_a_game_that_is_faster_than_any_file_last_as_long_as_it_does(tmp_path):
    header = my_game(tmp_path, ("#define PUF_PACE(c) 6", "#define PUF_PACE(c) 500"))
    file = ClipRecorder(GameSpec.of(header), tmp_path, interval=1, seed=1).record(None, 7)
    with Image.open(file) as clip:
        assert clip.n_frames < 8  # of an episode of up to 33 steps
        assert clip.info["duration"] >= 20


def test_the_oldest_clips_are_removed(tmp_path, monkeypatch):
    monkeypatch.setattr(clips, "MOST_CLIPS", 2)
    recorder = ClipRecorder(GameSpec.of("squared"), tmp_path, interval=1, seed=1)
    for steps in (5, 10, 1000):
        recorder.record(None, steps)
    names = sorted(file.name for file in (tmp_path / "videos").iterdir())
    assert names == ["000000000010.gif", "000000001000.gif"]


def test_a_clip_is_due_after_the_interval_or_longer_if_clips_are_slow(tmp_path, monkeypatch):
    now = [100.0]
    monkeypatch.setattr(clips.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(clips, "MAX_SHARE", 0.03)
    monkeypatch.setattr(clips, "watch", lambda *_, **__: now.__setitem__(0, now[0] + 3))
    recorder = ClipRecorder(GameSpec.of("squared"), tmp_path, interval=10, seed=1)
    assert not recorder.due
    now[0] = 110
    assert recorder.due
    recorder.record(None, 5)  # takes 3 seconds, of 100
    now[0] = 212
    assert not recorder.due
    now[0] = 213.1
    assert recorder.due


@pytest.mark.parametrize("error", [OSError(28, "No space left"), DisplayListError("x is NaN")])
def test_a_clip_that_cannot_be_made_is_reported_and_training_goes_on(error, monkeypatch, capsys):
    def fail(*_, **__):
        raise error

    monkeypatch.setattr(clips, "watch", fail)
    assert main(["train", "squared", "--name", "x", *SHORT, *CLIPS]) == 0
    out = capsys.readouterr().out
    assert "no clip of step 64: " in out
    assert "done: 640 steps" in out


def test_what_is_missing_for_clips_is_named_before_there_is_a_run(monkeypatch, capsys):
    assert main(["train", str(GAME_HEADERS / "masked.h"), *SHORT, *CLIPS]) == 2
    assert "masked does not draw itself: its header has no env_draw" in capsys.readouterr().err
    monkeypatch.setitem(sys.modules, "PIL", None)
    error = error_of(capsys, "train", "squared", *SHORT, *CLIPS, code=1)
    assert "needs pillow" in error and "pip install 'pufferenv[render]'" in error
    assert not list(Path().glob("runs/*/*"))
