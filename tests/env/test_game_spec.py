"""GameSpec: a game bound to one config, from which envs, policies and checkpoints read shapes."""

import gymnasium.spaces as sp
import numpy as np
import pytest

import pufferenv
from pufferenv import RowEnv, games
from pufferenv.game_spec import GameSpec
from tests.support.games import load_game


def test_shapes_are_those_of_the_config():
    spec = GameSpec.of("squared", {"size": 7})
    assert (spec.name, spec.config, spec.env_agents) == ("squared", {"size": 7}, 1)
    assert (spec.obs_shape, spec.obs_dtype) == ((7, 7), np.uint8)
    assert [head.n for head in spec.heads] == [5]
    assert spec.axes == () and spec.low.shape == (0,)
    assert spec.packed == spec.game.pack({"size": 7})
    assert spec.layout.shape == (7, 7)


def test_spaces_are_those_of_one_agent():
    squared, probe = GameSpec.of("squared"), GameSpec.of("probe")
    assert squared.observation_space == sp.Box(0, 255, (11, 11), np.uint8)
    assert squared.action_space == sp.Discrete(5)
    assert probe.action_space["discrete"] == sp.MultiDiscrete([3, 5])
    assert probe.action_space["continuous"] == sp.Box(-1, 1, (1,), np.float32)


def test_a_bound_game_stands_wherever_a_game_does():
    spec = GameSpec.of("squared", {"size": 5})
    assert GameSpec.of(spec) is spec
    with RowEnv(spec, 2, horizon=4) as rows:
        assert rows.game_spec is spec
        assert rows.obs_shape == (5, 5)
    env = pufferenv.make(spec, 2)
    assert env.single_observation_space == spec.observation_space
    env.close()


def test_a_second_config_is_refused():
    spec = GameSpec.of("squared", {"size": 5})
    with pytest.raises(ValueError, match="squared: size given with a GameSpec"):
        pufferenv.make(spec, 2, size=7)
    with pytest.raises(ValueError, match="is not a debug object"):
        GameSpec.of(spec, debug=True)


def test_values_are_checked_once_by_of_and_not_by_the_constructor():
    with pytest.raises(ValueError, match=r"size=2 is outside \[3, 64\]"):
        GameSpec.of("squared", {"size": 2})
    assert GameSpec(games.load("squared"), {"size": 5}).obs_shape == (5, 5)
    assert GameSpec.of(load_game("rogue")).config == {}
