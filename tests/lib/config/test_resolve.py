"""The config of a run: precedence of the layers, their errors, and config.toml."""

import dataclasses

import pytest

from pufferenv import games
from pufferlib.config import flags, toml_file
from pufferlib.config import resolve as config
from pufferlib.config.options import SECTIONS, PolicyOptions, TrainOptions, VecOptions
from pufferlib.config.resolve import Layer
from pufferlib.config.section import ConfigError
from tests.support.games import load_game


@pytest.fixture(scope="module")
def game():
    return games.load("squared")


def resolve(game, *layers):
    return config.resolve("squared", game, [Layer(source, values) for source, values in layers])


def test_later_layers_win_over_earlier_ones_and_over_the_defaults(game):
    made = resolve(
        game,
        ("squared.toml", {"train": {"gamma": 0.5, "seed": 7}, "env": {"size": 5}}),
        ("mine.toml", {"train": {"gamma": 0.6}}),
        ("--", {"train": {"gamma": "0.7"}}),
    )
    assert made.train.gamma == 0.7
    assert made.train.seed == 7
    assert made.env == {"size": 5}
    assert made.train.horizon == TrainOptions().horizon


@pytest.mark.parametrize(
    ("source", "values", "words"),
    [
        ("a.toml", {"train": {"learning_rte": 1}}, ["a.toml", "train.learning_rate"]),
        ("a.toml", {"trian": {}}, ["a.toml", "trian", "train"]),
        ("a.toml", {"learning_rate": 1}, ["a.toml", "train.learning_rate"]),
        ("a.toml", {"env": {"sise": 5}}, ["a.toml", "env.size"]),
        ("a.toml", {"train": {"gamma": 2}}, ["a.toml", "train.gamma=2", "[0, 1]"]),
        ("a.toml", {"train": {"gamma": "x"}}, ["a.toml", "train.gamma='x'", "float"]),
        ("a.toml", {"env": {"size": 5.5}}, ["a.toml", "env.size=5.5", "int"]),
        ("--", {"env": {"size": "2"}}, ["--env.size=2", "[3, 64]"]),
        ("--", {"env": {"size": "big"}}, ["--env.size=big", "whole number"]),
        ("--", {"env": {"siez": "4"}}, ["--env.siez", "--env.size"]),
        ("--", {"env": {"learning_rate": "4"}}, ["did you mean", "--train.learning-rate"]),
        ("--", {"train": {"norm_adv": "perhaps"}}, ["--train.norm_adv=perhaps", "true or false"]),
        ("--", {"policy": {"name": "mpl"}}, ["'mpl'", "mlp, cnn, lstm, mingru"]),
    ],
)
def test_an_error_names_the_place_the_value_and_what_is_legal(game, source, values, words):
    with pytest.raises(ConfigError) as caught:
        resolve(game, (source, values))
    for word in words:
        assert word in str(caught.value)


@pytest.mark.parametrize("text", ["30000000", "30_000_000", "3e7", "30000000.0"])
def test_whole_numbers_may_be_written_as_people_write_them(text):
    option = config.option_tables()["train"]["total_timesteps"]
    assert flags.parse(option, text) == 30_000_000


@pytest.mark.parametrize(("text", "value"), [("true", True), ("On", True), ("0", False)])
def test_switches_take_several_words(text, value):
    assert flags.parse(config.option_tables()["train"]["norm_obs"], text) is value


def test_auto_is_a_word_for_what_the_program_picks_on_flags_and_in_files(game):
    made = resolve(
        game,
        ("mine.toml", {"train": {"threads": "auto"}}),
        ("--", {"vec": {"num_threads": "Auto"}}),
    )
    assert (made.train.threads, made.vec.num_threads) == (0, 0)
    with pytest.raises(ConfigError, match="horizon=auto is not a whole number"):
        resolve(game, ("--", {"train": {"horizon": "auto"}}))


def test_every_option_and_config_field_has_a_table_entry(game):
    known = config.option_tables(game)
    assert list(known) == ["env", "vec", "train", "policy"]
    own = [field.name for field in game.config_fields]
    assert list(known["env"]) == [*own, "pixels", "pixel_channels", "frame_stack"]
    for section, options in SECTIONS.items():
        assert list(known[section]) == [field.name for field in dataclasses.fields(options)]


def test_pixels_are_in_the_config_only_if_they_are_on(game):
    seen = {"pixels": 20, "pixel_channels": 3, "frame_stack": 2}
    assert resolve(game).env == resolve(game, ("--", {"env": {"pixels": "0"}})).env == {"size": 11}
    assert resolve(game, ("a.toml", {"env": seen})).env == {"size": 11, **seen}
    off = resolve(game, ("a.toml", {"env": seen}), ("--", {"env": {"pixels": "0"}}))
    assert off.env == {"size": 11}  # with all that belongs to them
    later = {"pixels": "0", "frame_stack": "2"}
    for layers in (
        [("a.toml", {"env": {"frame_stack": 2}})],
        [("--", {"env": {"pixel_channels": "1"}})],
        [("a.toml", {"env": seen}), ("--", {"env": later})],
    ):
        with pytest.raises(ConfigError, match=r"is for pixels, which are off: give --env.pixels"):
            resolve(game, *layers)
    with pytest.raises(ConfigError, match=r"--env.pixel-channels 2 must be 1 for grey or 3 for"):
        resolve(game, ("--", {"env": {"pixels": "84", "pixel_channels": "2"}}))
    with pytest.raises(ConfigError, match=r"--env.pixels=1025 is outside \[0, 1024\]: side of a"):
        resolve(game, ("--", {"env": {"pixels": "1025"}}))


def test_a_game_that_does_not_draw_has_no_options_of_pixels():
    script = load_game("script")
    assert list(config.option_tables(script)["env"]) == ["agents"]
    assert config.resolve("script", script, []).env == {"agents": 3}
    with pytest.raises(games.NotDrawn, match="script does not draw itself"):
        config.resolve("script", script, [Layer("--", {"env": {"pixels": "84"}})])


def test_config_toml_is_complete_and_gives_the_same_config_again(game, tmp_path):
    made = config.Config(
        "squared",
        {"size": 9},
        VecOptions(num_envs=12),
        TrainOptions(learning_rate=1e-05, total_timesteps=123, norm_obs=True),
        PolicyOptions(path='odd "name"\\with\tall\x7f é.py:Net'),
    )
    path = tmp_path / "config.toml"
    path.write_text(toml_file.to_text(made.asdict()), encoding="utf-8")
    content = toml_file.read(path)
    assert content == made.asdict()
    assert content.pop("game") == "squared"
    assert resolve(game, (str(path), content)) == made


def test_a_config_file_that_is_no_toml_or_not_there_says_so(tmp_path):
    path = tmp_path / "broken.toml"
    path.write_text("[train\n")
    with pytest.raises(ConfigError, match=r"broken\.toml is not TOML.*line 1"):
        toml_file.read(path)
    with pytest.raises(ConfigError, match=r"absent\.toml cannot be read: No such file"):
        toml_file.read(tmp_path / "absent.toml")


def test_a_section_that_is_no_table_says_so(game):
    with pytest.raises(ConfigError, match=r"mine.toml: train=3 must be a table .*: \[train\]"):
        resolve(game, ("mine.toml", {"train": 3}))


@pytest.mark.parametrize(
    ("value", "text"),
    [(2**24, "2^24"), (2**63 - 1, "2^63-1"), (1024, "1_024"), (0.0025, "0.0025"), (True, "true")],
)
def test_values_are_shown_as_a_person_would_write_them(value, text):
    assert flags.format_value(value) == text
