"""Arguments are checked before anything runs: config, seeds, sizes of rows and batches."""

from __future__ import annotations

import warnings
from fractions import Fraction

import numpy as np
import pytest

import pufferenv
from pufferenv import RowEnv, games
from pufferenv.game_config import count, env_seeds, loaded, merged, resolve
from tests.support.games import load_game
from tests.support.paths import GAME_HEADERS

SIDE = r"\[3, 64\]: side of the grid, in cells"


# --- config ------------------------------------------------------------------------------
def test_fields_named_as_arguments_are_given_in_a_mapping_beside_the_others():
    given = {"horizon": 7, "seed": 5, "num_envs": 2, "game": 3, "config": 4}
    game = load_game("namesake")
    with RowEnv(game, 4, horizon=8, seed=1, config=given) as rows:
        assert rows.config == given
        assert (rows.num_envs, rows.horizon) == (4, 8)
    env = pufferenv.make(game, 4, seed=1, config=given)
    assert env.config == given
    env.close()
    env = pufferenv.make("cartpole", 2, config={"max_steps": 9})
    assert env.config == pufferenv.make("cartpole", 2, max_steps=9).config
    assert merged({"a": 1}, {"b": 2}) == {"a": 1, "b": 2}


def test_a_field_given_twice_or_a_config_that_is_no_mapping_is_refused():
    with pytest.raises(ValueError, match="size is given both in config and as an argument"):
        pufferenv.make("squared", 2, config={"size": 5}, size=5)
    with pytest.raises(TypeError, match=r"config=3 is an int; it must be a mapping"):
        RowEnv("squared", 2, horizon=4, config=3)


def test_a_config_is_whole_typed_and_defaults_to_the_headers_table():
    squared, probe = games.load("squared"), games.load("probe")
    assert resolve(squared, {}) == {"size": 11}
    config = resolve(probe, {"agents": np.int64(2), "die": np.float32(0.1), "steps": 7.0, "cut": 1})
    assert list(config) == [field.name for field in probe.config_fields]
    assert [config[key] for key in ("agents", "die", "steps", "cut")] == [2, 0.1, 7, 1.0]
    assert [type(config[key]) for key in ("agents", "die", "steps", "cut")] == [
        int,
        float,
        int,
        float,
    ]


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        (2, ValueError, rf"^squared: size=2 is outside {SIDE}$"),
        (65, ValueError, rf"^squared: size=65 is outside {SIDE}$"),
        (10**30, ValueError, rf"size=10{{30}} is outside {SIDE}"),
        (float("inf"), ValueError, rf"size=inf is outside {SIDE}"),
        (3.5, ValueError, rf"size=3.5 has a fraction; it must be an integer in {SIDE}"),
        (Fraction(7, 2), ValueError, "has a fraction"),
        (float("nan"), ValueError, rf"size=nan is not a number; it must be an integer in {SIDE}"),
        (True, TypeError, rf"size=True is a bool; it must be an integer in {SIDE}"),
        (np.True_, TypeError, r"size=True is a bool_?; it must"),
        ("11", TypeError, rf"size='11' is a str; it must be an integer in {SIDE}"),
        (None, TypeError, "size=None is a NoneType"),
        (1j, TypeError, "size=1j is a complex"),
        ([11], TypeError, r"size=\[11\] is a list"),
    ],
)
def test_a_wrong_value_is_named_with_game_field_range_and_doc(given, error, message):
    with pytest.raises(error, match=message):
        resolve(games.load("squared"), {"size": given})


def test_the_range_of_a_float_field_is_inclusive_and_written_plainly():
    probe = games.load("probe")
    assert resolve(probe, {"die": 1})["die"] == 1.0
    with pytest.raises(
        ValueError, match=r"probe: die=1\.5 is outside \[0, 1\]: chance that a live"
    ):
        resolve(probe, {"die": np.float32(1.5)})
    with pytest.raises(ValueError, match=r"die=-1e-09 is outside \[0, 1\]"):
        resolve(probe, {"die": -1e-9})


def test_an_unknown_key_names_the_nearest_known_one_and_all_others():
    with pytest.raises(ValueError, match=r"probe has no .* 'agent'; did you mean 'agents'\? Keys:"):
        resolve(games.load("probe"), {"agent": 3})
    with pytest.raises(ValueError, match=r"no config key 'qq'; no known key is like it"):
        resolve(games.load("squared"), {"qq": 3})
    with pytest.raises(ValueError, match="The game has no config"):
        resolve(load_game("rogue"), {"size": 3})


def test_what_the_game_itself_refuses_says_why():
    with pytest.raises(ValueError, match="refuses refuses this config: low must be below high"):
        pufferenv.make(load_game("refuses"), 2, low=5, high=5)


def test_a_game_is_a_name_a_path_or_loaded():
    game = loaded("squared")
    assert loaded(game) is game
    assert (
        loaded(GAME_HEADERS / "script.h").name
        == loaded(str(GAME_HEADERS / "script.h")).name
        == "script"
    )
    assert loaded("squared", debug=True).debug
    with pytest.raises(ValueError, match="is not a debug object: give the game's name"):
        loaded(game, debug=True)


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        (0, ValueError, r"num_envs=0 is outside \[1, 2147483647\]: copies"),
        (2**31, ValueError, r"num_envs=2147483648 is outside"),
        (1.0, TypeError, r"num_envs=1\.0 must be an integer in \[1, 2147483647\]: copies"),
        (True, TypeError, "num_envs=True must be an integer"),
    ],
)
def test_a_count_is_an_integer_from_one_on(given, error, message):
    assert count("num_envs", np.int32(5), "copies") == 5
    with pytest.raises(error, match=message):
        count("num_envs", given, "copies")


def test_seeds_are_one_int_or_one_per_env():
    np.testing.assert_array_equal(env_seeds(7, 3), env_seeds(np.uint8(7), 5)[:3])
    each = env_seeds([7, 8, 7], 3)
    assert each[0] == each[2] == env_seeds(7, 1)[0] != each[1]
    np.testing.assert_array_equal(each, env_seeds(np.array([7, 8, 7]), 3))
    with pytest.raises(ValueError, match="seed has 2 entries; it must have one per env: 3"):
        env_seeds([1, 2], 3)
    with pytest.raises(ValueError, match=r"seed=-1 is outside \[0, 2\*\*64\)"):
        env_seeds(-1, 3)
    with pytest.raises(TypeError, match=r"seed\[1\]=None must be an integer"):
        env_seeds([1, None], 2)
    with pytest.raises(TypeError, match="seed='7' must be an integer"):
        env_seeds("7", 3)


# --- rows and batches ----------------------------------------------------------------------
def test_a_row_env_says_its_sizes_and_its_games():
    with RowEnv("probe", 3, horizon=8, batch_rows=24, agents=4, seed=1) as env:
        assert (env.num_envs, env.env_agents, env.num_agents) == (3, 4, 12)
        assert (env.horizon, env.batch_rows, env.num_rows) == (8, 24, 48)
        assert (env.obs_shape, env.obs_dtype) == ((4,), np.float32)
        assert [head.n for head in env.heads] == [3, 5]
        assert [axis.name for axis in env.axes] == ["push"]
        assert (env.low.tolist(), env.high.tolist()) == ([-1], [1])
        assert env.config["agents"] == 4
        assert env.arrays["pool_observation"].shape == (48, 8, 4)
        assert env.arrays["final_slot"].shape == (24,)
        first = env.arrays["pool_observation"].copy()
        env.arrays["action"][:] = 0
        env.arrays["axis"][:] = 0
        env.step()
        assert env.log()["episodes"][0] == 0
        env.reset(seed=1)
        np.testing.assert_array_equal(env.arrays["pool_observation"][:12, 0], first[:12, 0])
    with pytest.raises(RuntimeError, match="closed"):
        env.step()
    env.close()


@pytest.mark.parametrize("batch_rows", [6, 9, 4, 5, 2, 12, 1, 7])
def test_the_warning_counts_the_full_rows_that_wait_through_an_update(batch_rows):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        env = RowEnv("squared", 6, horizon=2, batch_rows=batch_rows)
    waited = 0
    for _ in range(2 * 40):
        env.arrays["action"][:] = 0
        env.arrays["bootstrap_slot"][:] = -1
        env.engine.clear_finals()
        env.step()
        while env.engine.num_full >= batch_rows:
            env.engine.release()
            waited = max(waited, env.engine.num_full)
    if waited == 0:
        assert not caught
    else:
        [warning] = caught
        assert f"up to {waited} full rows wait" in str(warning.message)
        assert warning.filename == __file__


def test_the_warning_names_the_batches_that_leave_no_row_waiting():
    with pytest.warns(UserWarning, match=r"batch_rows=20 is not a multiple of the 8 agents"):
        RowEnv("probe", 2, horizon=4, batch_rows=20, agents=4)
    with pytest.warns(UserWarning, match=r"No rows wait with batch_rows=16 or 24$"):
        RowEnv("squared", 8, horizon=4, batch_rows=20)
    with pytest.warns(
        UserWarning, match=r"No rows wait with batch_rows=8$"
    ):  # more agents than rows
        RowEnv("squared", 8, horizon=4, batch_rows=4)


@pytest.mark.parametrize(
    ("sizes", "error", "message"),
    [
        ({"horizon": 0}, ValueError, r"horizon=0 is outside .* slots of one row"),
        ({"horizon": 2.5}, TypeError, r"horizon=2\.5 must be an integer"),
        ({"batch_rows": 0}, ValueError, r"batch_rows=0 is outside .* full rows of one batch"),
        (
            {"batch_rows": 2**31 - 1},
            ValueError,
            r"batch_rows=2147483647 with 4 agents needs 2147483655 rows.* batch_rows=2147483639$",
        ),
        ({"num_envs": -4}, ValueError, "num_envs=-4 is outside"),
        ({"num_envs": 2**30}, ValueError, r"needs 2147483649 rows.* At most num_envs=1073741823"),
        ({"num_threads": 0}, ValueError, "num_threads=0 is outside"),
        ({"seed": -1}, ValueError, "seed=-1 is outside"),
        ({"size": 2}, ValueError, "squared: size=2 is outside"),
    ],
)
def test_impossible_sizes_name_the_numbers_and_the_nearest_legal_ones(sizes, error, message):
    with pytest.raises(error, match=message):
        RowEnv("squared", **{"num_envs": 4, "horizon": 4, **sizes})
