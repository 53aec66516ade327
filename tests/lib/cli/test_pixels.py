"""Runs on pixels: their config, defaults, notes, evaluation, repetition and resumption."""

import json
import re
from pathlib import Path

import pytest

from pufferlib.cli.main import main
from pufferlib.config import kinds, toml_file
from pufferlib.run.checkpoint import load, read_note
from tests.support.command import SHORT, error_of, metrics, stop_after
from tests.support.paths import GAME_HEADERS

SEEN = {"pixels": 36, "pixel_channels": 1, "frame_stack": 2}
PIXELS = ["--env.pixels", "36", "--env.frame-stack", "2", "--policy.conv-filters", "2"]


def train(name, *words, game="squared"):
    assert main(["train", game, "--name", name, *SHORT, *PIXELS, *words]) == 0
    return Path("runs/squared", name)


def weights(run):
    return {k: v.tolist() for k, v in load(run / "policy.safetensors", "policy")[0].items()}


def test_a_run_on_pixels_says_so_everywhere_and_repeats_from_its_config(capsys):
    run = train("first")
    out = capsys.readouterr().out
    assert "squared observes 2 grey pictures of 36 x 36 pixels and takes one of 5 " in out
    assert "settings: squared.toml, overridden by [c.pixels] of pufferlib/config/kinds.toml" in out
    config = toml_file.read(run / "config.toml")
    assert config["env"] == {"size": 11, **SEEN}
    assert config["policy"]["name"] == "cnn"
    for file in ("policy.safetensors", "best.safetensors"):
        note = read_note(run / file, "policy")
        assert (note["pixels"], note["obs_shape"]) == (SEEN, [2, 36, 36])
    assert main(["train", "--config", str(run / "config.toml"), "--name", "again"]) == 0
    assert weights(run) == weights(Path("runs/squared/again"))
    assert toml_file.read(Path("runs/squared/again/config.toml")) == config


def test_a_run_without_pixels_has_no_trace_of_them(capsys):
    assert main(["train", "squared", "--name", "plain", *SHORT]) == 0
    assert "pixels" not in capsys.readouterr().out
    run = Path("runs/squared/plain")
    assert toml_file.read(run / "config.toml")["env"] == {"size": 11}
    assert "pixels" not in read_note(run / "policy.safetensors", "policy")


def test_pixels_bring_defaults_that_a_file_and_flags_override(monkeypatch):
    from pufferlib.cli.configure import configure

    def options(*flags):
        given = {"env": {"pixels": "84"}}
        for section, key, value in flags:
            given.setdefault(section, {})[key] = value
        return configure("breakout", None, given)

    config, spec = options()
    assert spec.pixels == {"pixels": 84, "pixel_channels": 1, "frame_stack": 2}
    for section, values in kinds.tables()["c"]["pixels"].items():
        found = config.asdict()[section]
        assert all(found[key] == values[key] for key in values if key != "norm_obs")
    assert config.train.gamma == 0.999  # breakout.toml's
    assert (config.policy.name, config.train.norm_obs) == ("cnn", False)
    config, _ = options(("env", "pixels", "16"))
    assert config.train.norm_obs  # a network does not scale an image of this size
    config, _ = options(("train", "horizon", "16"), ("policy", "name", "mlp"))
    assert (config.train.horizon, config.policy.name) == (16, "mlp")
    Path("mine.toml").write_text("[env]\npixels = 84\n[train]\nhorizon = 8\n[vec]\nnum_envs = 4\n")
    config, _ = configure("breakout", "mine.toml", {"vec": {"num_envs": "2"}})
    assert (config.train.horizon, config.vec.num_envs) == (8, 2)


def test_eval_plays_a_run_on_the_pixels_that_it_was_trained_on(capsys):
    run = train("x")
    capsys.readouterr()
    assert main(["eval", str(run), "--episodes", "4", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["episodes"] == 4


def test_a_policy_and_a_config_that_see_different_things_are_told_apart(capsys):
    file = str(train("x") / "policy.safetensors")
    for words, says in (
        (["--env.pixels", "0"], "sees pixels (--env.pixels 36 --env.pixel-channels 1 --env.frame-"),
        (["--env.frame-stack", "4"], "here they are --env.pixels 36 --env.pixel-channels 1 --env."),
    ):
        error = error_of(capsys, "eval", "squared", "--policy", file, *words)
        assert f"the policy of {file} sees pixels" in error
        assert says in error
    assert main(["train", "squared", "--name", "plain", *SHORT]) == 0
    plain = "runs/squared/plain/policy.safetensors"
    error = error_of(capsys, "eval", "squared", "--policy", plain, "--env.pixels", "36")
    assert "sees the game's own observation, not pixels; give --env.pixels 0" in error


def test_a_run_on_pixels_is_resumed_on_pixels(monkeypatch, capsys):
    with monkeypatch.context() as patch:
        stop_after(patch, 3)
        words = ["train", "squared", "--name", "x", *SHORT, *PIXELS]
        assert main([*words, "--train.checkpoint-interval", "0"]) == 130
    run = Path("runs/squared/x")
    assert main(["train", "--resume", str(run)]) == 0
    assert metrics(run)[-1]["agent_steps"] == 640
    assert read_note(run / "policy.safetensors", "policy")["pixels"] == SEEN
    assert "squared observes 2 grey pictures" in capsys.readouterr().out


def test_help_and_the_list_of_games_name_the_options(capsys):
    assert main(["train", "breakout", "--help"]) == 0
    text = " ".join(capsys.readouterr().out.split())
    for option in ("--env.pixels", "--env.pixel-channels", "--env.frame-stack"):
        assert f"{option} " in text
    assert re.search(r"with --env.pixels: --env.frame-stack \d+ --vec.num-envs \d+ ", text)
    assert main(["games", "breakout"]) == 0
    assert "--env.frame-stack 1 in 1 .. 16: pictures of the last steps" in capsys.readouterr().out
    assert main(["train", str(GAME_HEADERS / "script.h"), "--help"]) == 0
    assert "--env.pixels" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["squared", "--env.frame-stack=4"], "is for pixels, which are off: give --env.pixels 84"),
        (["squared", "--env.pixels=84", "--env.pixel-channels=2"], "must be 1 for grey or 3 for"),
        (["squared", "--env.pixels=9999"], "--env.pixels=9999 is outside [0, 1024]"),
        (["gym:CartPole-v1", "--env.pixels=84"], "gym:CartPole-v1 is written in Python"),
    ],
)
def test_an_impossible_picture_is_refused(capsys, words, says):
    assert says in error_of(capsys, "train", *words)


def test_a_game_that_does_not_draw_shows_how_to_begin(capsys):
    assert main(["train", str(GAME_HEADERS / "script.h"), "--env.pixels", "84"]) == 2
    error = capsys.readouterr().err
    assert "script does not draw itself" in error
    assert "static void env_draw(const Env *env, PufCanvas *c) {" in error
