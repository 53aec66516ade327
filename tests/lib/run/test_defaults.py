"""The defaults that suit a task: its kind, their order among the layers, the lines about them."""

import functools

import gymnasium
import numpy as np
import pytest
from gymnasium.spaces import Box, Dict, Discrete

from pufferenv import games
from pufferenv.external.game import ExternalGame
from pufferenv.game_spec import GameSpec
from pufferlib.cli.configure import configure
from pufferlib.cli.main import main
from pufferlib.config import kinds
from pufferlib.config.options import TrainOptions
from pufferlib.run.choices import describe
from pufferlib.run.defaults import defaults, kind_of
from tests.support.command import SHORT, error_of
from tests.support.games import load_game

NUMBERS, MAP = Box(-1, 1, (3,)), Box(0, 255, (7, 7, 3), np.uint8)
SCREEN = Box(0, 255, (4, 84, 84), np.uint8)


class Spaces(gymnasium.Env):
    """An env of which only the spaces matter."""

    def __init__(self, observation_space, action_space):
        self.observation_space, self.action_space = observation_space, action_space


@pytest.mark.parametrize(
    ("observed", "acts", "network", "name", "norm_obs"),
    [
        (NUMBERS, Discrete(2), "auto", "python.numbers", True),
        (Discrete(9), Discrete(2), "mlp", "python.numbers", False),
        (NUMBERS, Box(-1, 1, (2,)), "auto", "python.continuous", True),
        (NUMBERS, Dict(a=Discrete(2), b=Box(-1, 1, ())), "auto", "python.continuous", True),
        (NUMBERS, Discrete(2), "lstm", "python.recurrent", True),
        (NUMBERS, Box(-1, 1, (2,)), "mingru", "python.recurrent", True),
        (MAP, Discrete(2), "lstm", "python.map", True),
        (SCREEN, Box(-1, 1, (2,)), "auto", "python.screen", False),
        (Dict(a=MAP, b=SCREEN), Discrete(2), "auto", "python.screen", True),
    ],
)
def test_the_kind_of_a_python_env_follows_from_its_spaces(observed, acts, network, name, norm_obs):
    game = ExternalGame(functools.partial(Spaces, observed, acts))
    kind = kind_of(GameSpec.of(game), network)
    assert kind.name == name and kind.settings["train"]["norm_obs"] is norm_obs
    assert defaults(game, network) == kind.settings


@pytest.mark.parametrize(
    ("game", "config", "network", "name"),
    [
        ("breakout", {}, "auto", "c.numbers"),
        ("squared", {}, "mlp", "c.grid"),
        ("squared", {}, "lstm", "c.recurrent"),
        ("squared", {"pixels": 36}, "lstm", "c.pixels"),
        (load_game("continuous"), {}, "auto", "c.continuous"),
    ],
)
def test_the_kind_of_a_game_follows_from_its_header_and_its_config(game, config, network, name):
    assert kind_of(GameSpec.of(game, config), network).name == name


def with_table(monkeypatch, kind, **sections):
    """Replace the tables by one of a kind of either family."""
    families = {family: {"all": {}, kind: sections} for family in ("c", "python")}
    monkeypatch.setattr(kinds, "tables", lambda: families)


def test_a_rule_reads_the_limit_of_an_envs_episodes(monkeypatch):
    with_table(monkeypatch, "numbers", train={"gamma": "twice-the-limit"})
    for limit, gamma in ((None, 0.999), ("25", 0.98)):
        given = {"env": {"max_episode_steps": limit}} if limit else {}
        assert configure("gym:CartPole-v1", None, given)[0].train.gamma == gamma


def test_the_games_file_overrides_its_kind_and_is_overridden(monkeypatch):
    train = {"gamma": 0.5, "horizon": 8, "learning_rate": 0.125}
    with_table(monkeypatch, "grid", train=train, vec={"num_envs": 4})
    made = configure("squared", None, {"train": {"learning_rate": "0.25"}})[0].train
    assert games.defaults("squared")["train"]["gamma"] == 0.95
    assert (made.gamma, made.horizon, made.learning_rate) == (0.95, 32, 0.25)
    config, _ = configure("squared", None, {}, game_defaults=False)
    assert (config.train.gamma, config.train.horizon, config.vec.num_envs) == (0.5, 8, 4)
    assert config.train.norm_obs is False  # the option's default


def test_the_kind_of_pixels_overrides_the_games_file(monkeypatch):
    with_table(monkeypatch, "pixels", train={"horizon": 8})
    made = configure("squared", None, {"env": {"pixels": "36"}})[0].train
    assert (made.horizon, made.gamma) == (8, 0.95)


def test_an_illegal_value_of_a_table_names_the_table(monkeypatch):
    with_table(monkeypatch, "grid", train={"gama": 0.5})
    with pytest.raises(ValueError, match=r"kinds\.toml: c\.grid: train\.gama: no such key"):
        configure("squared", None, {})


def test_only_a_minibatch_that_is_not_given_is_made_to_fit(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    few = {"vec": {"num_envs": "2"}}
    assert games.defaults("squared")["train"]["minibatch_size"] == 2048
    assert configure("squared", None, few)[0].train.minibatch_size == 64
    several = configure("tag", None, few)[0].train  # of 16 agents per env
    assert several.minibatch_size == min(games.defaults("tag")["train"]["minibatch_size"], 1024)
    with_table(monkeypatch, "numbers", train={"minibatch_size": 256, "horizon": 16})
    assert configure("gym:CartPole-v1", None, few)[0].train.minibatch_size == 32
    monkeypatch.undo()
    monkeypatch.chdir(tmp_path)
    given = {**few, "train": {"minibatch_size": "2048"}}
    assert configure("squared", None, given)[0].train.minibatch_size == 2048
    error = error_of(
        capsys, "train", "squared", "--vec.num-envs=2", "--train.minibatch-size", "2048"
    )
    assert "train.minibatch_size=2048 must be" in error and "nearest legal: 64" in error


def test_a_run_without_the_games_own_defaults_says_so_and_has_none(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    of_kind = "settings: [c.grid] of pufferlib/config/kinds.toml, because it observes bytes, "
    of_kind += "overridden by"
    own = games.defaults("squared")["train"]["learning_rate"]
    default = TrainOptions().learning_rate  # which the kind does not change
    assert "learning_rate" not in kinds.tables()["c"]["grid"]["train"] and own != default
    for name, words, sources, rate in (
        ("with", [], f"{of_kind} squared.toml, then flags; ", own),
        ("without", ["--no-game-defaults"], f"{of_kind} flags; ", default),
    ):
        assert main(["train", "squared", *SHORT, "--name", name, *words]) == 0
        first, settings = capsys.readouterr().out.splitlines()[:2]
        assert first == "squared observes 11 x 11 bytes and takes one of 5 actions; policy mlp"
        assert settings.startswith(sources) and f"learning rate {rate:g}, " in settings
    assert main(["train", "squared", "--no-game-defaults", "--help"]) == 0
    assert f"--train.learning-rate        {default:g} " in capsys.readouterr().out
    error = error_of(capsys, "train", "--resume", "runs/squared/with", "--no-game-defaults")
    assert "--resume continues a run under its own name and config" in error


def test_lines_about_a_game_with_choices_and_axes():
    make = functools.partial(Spaces, NUMBERS, Dict(a=Discrete(2), b=Discrete(5), c=Box(-1, 1, ())))
    config, _ = configure("gym:CartPole-v1", None, {})
    first, *_ = describe(config, GameSpec.of(ExternalGame(make)))
    assert "observes 3 numbers and takes one of 2 x 5 actions and acts on 1 axis, in" in first


def test_the_second_line_says_how_training_differs_from_usual_ppo():
    ends = ", 8 epochs", ", 10 epochs of shuffled steps, advantages as they are"
    for name, end in zip(("gym:CartPole-v1", "gym:Pendulum-v1"), ends, strict=True):
        _, settings, *_ = describe(*configure(name, None, {}))
        assert settings.endswith(end)
