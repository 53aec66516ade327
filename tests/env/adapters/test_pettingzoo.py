"""PettingZoo's ParallelEnv: its own tests on every game; lives, ids and seeds."""

from __future__ import annotations

import warnings
from types import SimpleNamespace

import numpy as np
import pytest

pytest.importorskip("pettingzoo", reason="pip install 'pufferenv[pettingzoo]'")

from gymnasium.error import ResetNeeded
from gymnasium.utils.env_checker import data_equivalence
from pettingzoo import test as theirs

import pufferenv
from pufferenv import games
from pufferenv.adapters import pettingzoo
from pufferenv.adapters.pettingzoo import parallel_env
from tests.env.engine.test_vector_env import LIVELY
from tests.env.toolchain.test_packaging import python
from tests.support.games import load_game

SHORT = LIVELY["probe"] | {"respawn": 0.3, "flash": 0.2}  # short lives
GAMES = [pytest.param(name, {}, id=name) for name in games.names()]
GAMES += [pytest.param("probe", SHORT, id="probe-short"), ("snake", {"snakes": 2})]
every_game = pytest.mark.parametrize(("game", "config"), GAMES)


def seeded(env):
    """Seed the action spaces of all agents, including those that have not entered yet."""
    for place in range(env.unwrapped.num_places):
        env.action_space(f"agent_{place}").seed(place)
    return env


def legal(env, infos):
    """Return random legal actions for all live agents."""
    return {
        name: env.action_space(name).sample(infos[name].get("action_mask")) for name in env.agents
    }


def is_step_limit(field):
    return field.name in ("steps", "max_steps") and field.min <= 4


# --- PettingZoo's own tests ----------------------------------------------------------------------
@pytest.fixture
def only_known_warnings():
    """Turn all warnings of PettingZoo into errors, except these."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for text in (
            ".*does not have possible_agents defined",  # the number of lives is unknown
            "No agents present",  # the episode is over
            ".*observation space value is -?infinity",  # floats have no bounds
            "Observation numpy array is all zeros",  # observations of dead agents
            "The observation contains negative numbers and is in the shape of a graphical",  # int8
            "Action space for each agent probably should be",  # games with several heads, or axes
            "Environment has not defined a render",
        ):
            warnings.filterwarnings("ignore", text)
        yield


@every_game
@pytest.mark.usefixtures("only_known_warnings")
def test_pettingzoos_tests_pass(game, config):
    theirs.parallel_api_test(parallel_env(game, **config), 1000)
    theirs.parallel_seed_test(lambda: parallel_env(game, **config))
    theirs.api_test(pettingzoo.env(game, **config), 1000)
    theirs.seed_test(lambda: seeded(pettingzoo.env(game, **config)))


@pytest.mark.parametrize("game", ["royale", "tag"])
@pytest.mark.usefixtures("only_known_warnings")
def test_where_lives_are_bounded_the_possible_agents_are_known_and_all_tests_pass(game):
    env = parallel_env(game, lives=1)
    assert env.possible_agents == [f"agent_{place}" for place in range(env.num_places)]
    theirs.parallel_api_test(env, 1000)
    theirs.api_test(pettingzoo.env(game, lives=1), 1000)


def test_an_episode_has_as_many_steps_as_its_config_says():
    tested = []
    for name in games.names():
        lengths = [field.name for field in games.load(name).config_fields if is_step_limit(field)]
        if lengths and len(parallel_env(name).reset()[0]) == parallel_env(name).num_places:

            def make(of, max_cycles, name=name, field=lengths[0]):
                return of(name, lives=1, **{field: max_cycles})

            module = SimpleNamespace(
                parallel_env=lambda max_cycles: make(parallel_env, max_cycles),
                env=lambda max_cycles: make(pettingzoo.env, max_cycles),
            )
            theirs.max_cycles_test(module)
            tested.append(name)
    assert {"snake", "royale", "probe"} <= {*tested}


# --- lives and ids -------------------------------------------------------------------------------
def test_deaths_cuts_and_new_lives_by_hand():
    env = parallel_env(load_game("script"), agents=3, seed=1)
    seen, infos = env.reset()
    assert env.agents == list(seen) == list(infos) == ["agent_0", "agent_1", "agent_2"]
    stay, respawn, cut, die = ([fate, 0, 0] for fate in (0, 3, 2, 1))
    seen, rewards, terminated, truncated, infos = env.step(
        {"agent_0": stay, "agent_1": respawn, "agent_2": cut}
    )
    assert env.agents == ["agent_0", "agent_1_life_2"]
    assert {name: obs[1:].tolist() for name, obs in seen.items()} == {
        "agent_0": [0, 1, 1],
        "agent_1": [0, 0, 0],  # dead
        "agent_2": [2, 1, 1],  # its last observation
        "agent_1_life_2": [1, 2, 0],
    }
    assert rewards == {"agent_0": 0, "agent_1": 1000, "agent_2": 2000, "agent_1_life_2": 0}
    assert [name for name, over in terminated.items() if over] == ["agent_1"]
    assert [name for name, over in truncated.items() if over] == ["agent_2"]
    assert infos == {name: {} for name in seen}
    seen, rewards, terminated, truncated, infos = env.step(
        {"agent_0": [0, 2, 0], "agent_1_life_2": die}  # and the episode is truncated
    )
    assert env.agents == []
    assert rewards == {"agent_0": 1, "agent_1_life_2": 1000}
    assert terminated == {"agent_0": False, "agent_1_life_2": True}
    assert truncated == {"agent_0": True, "agent_1_life_2": False}
    assert infos == {name: {"length": 2.0} for name in seen}
    assert seen["agent_0"][1:].tolist() == [0, 1, 2]
    assert not seen["agent_1_life_2"].any()
    with pytest.raises(ResetNeeded, match="no agents left"):
        env.step({})
    assert list(env.reset()[0]) == ["agent_0", "agent_1", "agent_2"]  # ids start over


def test_every_life_is_one_id_and_all_is_as_in_the_vector_env():
    config = SHORT | {"agents": 3, "steps": 25, "spawn": 0.15, "die": 0.25}
    env = seeded(parallel_env("probe", seed=4, **config))
    raw = pufferenv.make("probe", 1, seed=4, autoreset_mode="disabled", **config)
    waits, lives, logs = 0, 0, []
    for _ in range(60):
        seen, infos = env.reset()
        raw.reset()
        ages = {name: (obs[2], obs[3]) for name, obs in seen.items()}  # by id: life and its step
        used = set(seen)
        while env.agents:
            acts = [name.split("_")[1] for name in env.agents]
            assert acts == [str(place) for place in np.flatnonzero(raw.alive)]
            actions = legal(env, infos)
            batch = {"discrete": np.zeros((3, 2), int), "continuous": np.zeros((3, 1))}
            for place, name in zip(map(int, acts), env.agents, strict=True):
                for key, part in batch.items():
                    part[place] = actions[name][key]
            seen, rewards, terminated, truncated, infos = env.step(actions)
            _, earned, over, cut, raw_infos = raw.step(batch)
            for place, name in zip(map(int, acts), actions, strict=True):
                given = rewards[name], terminated[name], truncated[name]
                assert given == (earned[place], over[place], cut[place])
                life, age = ages.pop(name)
                if not terminated[name]:
                    assert seen[name][1:].tolist() == [place, life, age + 1]
                if name in env.agents:
                    ages[name] = life, age + 1
            while not (raw.alive.any() or raw.needs_reset[0]):
                raw_infos = raw.step(batch)[4]
                waits += 1
            for name in set(env.agents) - set(actions):
                assert name not in used, "an id is used for two lives"
                assert seen[name][3] == rewards[name] == terminated[name] == truncated[name] == 0
                ages[name] = seen[name][2], 0
            used |= set(env.agents)
            assert list(seen) == [*actions, *(name for name in env.agents if name not in actions)]
        assert raw.needs_reset[0]
        assert {info["length"] for info in infos.values()} == {raw_infos["length"][0]}
        lives += len(used)
        logs.append(len(infos))
    assert waits > 20
    assert lives > 400
    assert env.agents == []


@every_game
def test_a_seed_decides_all_of_many_episodes(game, config):
    def run(seed):
        env = seeded(parallel_env(game, **config))
        seen, infos = env.reset(seed=seed)
        steps = [(seen, infos)]
        for _ in range(400):
            if env.agents:
                steps.append(env.step(legal(env, infos)))
                infos = steps[-1][4]
            else:
                steps.append(env.reset())
                infos = steps[-1][1]
        return steps

    first, again, other = run(3), run(3), run(4)
    assert data_equivalence(first, again, exact=True)
    assert not data_equivalence(first, other, exact=True)


def test_the_bound_of_lives_is_held_to():
    env = parallel_env(load_game("script"), agents=2, lives=2)
    assert env.possible_agents == ["agent_0", "agent_1", "agent_0_life_2", "agent_1_life_2"]
    env.reset()
    env.step({"agent_0": [0, 0, 0], "agent_1": [3, 0, 0]})
    with pytest.raises(RuntimeError, match="agent_1_life_3 enters, but lives=2 limits the lives"):
        env.step({"agent_0": [0, 0, 0], "agent_1_life_2": [3, 0, 0]})
    assert not hasattr(parallel_env("snake"), "possible_agents")
    with pytest.raises(ValueError, match="lives=0 is outside"):
        parallel_env("snake", lives=0)


def test_an_episode_may_begin_with_any_agent_that_comes_first():
    env = parallel_env(load_game("script"), agents=2)
    env.reset()
    env.step({"agent_0": [0, 1, 1], "agent_1": [0, 0, 0]})
    assert list(env.reset()[0]) == env.agents == ["agent_1"]


# --- masks, spaces, returned arrays --------------------------------------------------------------
def test_masks_are_what_the_action_space_takes():
    env, raw = parallel_env(load_game("masked")), pufferenv.make(load_game("masked"))
    _, infos = env.reset()
    raw_infos = raw.reset()[1]
    for _ in range(11):
        for place, name in enumerate(env.agents):
            mask = infos[name]["action_mask"]
            assert np.concatenate(mask).tolist() == raw_infos["action_mask"][place].tolist()
            assert [part.dtype for part in mask] == [np.int8, np.int8]
        infos = env.step(legal(env, infos))[4]
        raw_infos = raw.step([[3, 0], [3, 0]])[4]
    infos = env.step(legal(env, infos))[4]
    assert infos == {name: {"score": 0, "length": 12} for name in ("agent_0", "agent_1")}


def test_what_was_returned_stays_as_it_is():
    env = parallel_env("snake", snakes=4, seed=1)
    seen, kept = env.reset()[0], []
    for _ in range(5):
        kept.append((seen, {name: obs.copy() for name, obs in seen.items()}))
        seen = env.step(dict.fromkeys(env.agents, 0))[0]
    for held, copies in kept:
        for name, obs in held.items():
            np.testing.assert_array_equal(obs, copies[name])


def test_spaces_belong_to_places():
    env = parallel_env("snake", snakes=4)
    assert env.action_space("agent_3") is env.action_space("agent_3_life_7")
    assert env.action_space("agent_3") is not env.action_space("agent_2")
    for name in ("agent_4", "bob", "agent_1_life_"):
        with pytest.raises(
            ValueError, match=f"snake has no agent '{name}': its agents are agent_0 to agent_3, in"
        ):
            env.observation_space(name)


# --- errors --------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("actions", "message"),
    [
        ({"agent_0": 1}, "no action was given for agent_1: give one for each of `agents`"),
        (
            {"agent_0": 1, "agent_1": 1, "agent_2": 1},
            "agent_2 cannot act: `agents` are agent_0, ag",
        ),
        (
            {"agent_0": 1, "agent_1": [1]},
            r"agent_1: its action has shape \(1,\); it must have \(\)",
        ),
        ({"agent_0": 1, "agent_1": 3}, r"actions\[1\]: turn=3 is outside \[0, 2\]"),
        ({"agent_0": 1, "agent_1": 0.5}, "dtype float64; it must be .* int32 or int64"),
    ],
)
def test_wrong_actions_are_named_and_nothing_moves(actions, message):
    env, twin = (parallel_env("snake", snakes=2, seed=1) for _ in range(2))
    env.reset(), twin.reset()
    with pytest.raises(ValueError, match=message):
        env.step(actions)
    right = {"agent_0": 1, "agent_1": 0}
    assert data_equivalence(env.step(right), twin.step(right), exact=True)


def test_without_the_package_the_error_names_the_extra():
    done = python(
        "import sys; sys.modules['pettingzoo'] = None\nimport pufferenv.adapters.pettingzoo"
    )
    last = done.stderr.splitlines()[-1]
    assert last.startswith("ImportError: pettingzoo is not installed")
    assert "pip install 'pufferenv[pettingzoo]'" in last
