"""wrap: numbers in infos reach the log, and values that are not finite as float32 are refused."""

from __future__ import annotations

import functools
import math
import sys
from typing import Any

import cloudpickle
import gymnasium
import numpy as np
import pytest
from gymnasium.spaces import Box, Dict, Discrete
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from gymnasium.wrappers import RecordEpisodeStatistics

import pufferlib
from pufferenv.external.episode_infos import BYTES_PER_AGENT, info_of_env, numbers
from pufferenv.external.game import EnvError, ExternalGame
from pufferenv.game_spec import GameSpec
from pufferenv.row_env import RowEnv
from pufferlib.config.options import PolicyOptions
from pufferlib.policies.base import PolicySpec
from pufferlib.policies.factory import make_policy
from pufferlib.run.evaluate import evaluate
from tests.lib.ppo.test_external_envs import trainer_of
from tests.support.external_envs import RECORDED, RecordingEnv, Village

cloudpickle.register_pickle_by_value(sys.modules[__name__])  # workers need not import torch

pytestmark = pytest.mark.filterwarnings("ignore:batch_rows", "ignore:overflow encountered in cast")


# --- infos --------------------------------------------------------------------------------
class Success(RecordingEnv):
    """Has numbers in the infos of final steps, and other numbers in earlier ones, to be ignored."""

    def step(self, action):
        seen, reward, terminated, truncated, _ = super().step(action)
        info = {"is_success": 7}
        if terminated or truncated:
            info = {
                "is_success": bool(self.life % 2),
                "score": np.float32(self.life),
                "inner": {"life": np.array(self.life), "text": "no", "many": np.ones(3)},
                "lost": math.nan,
            }
            if self.life % 3 == 2:
                info["third"] = self.life
        return seen, reward, terminated, truncated, info


class Elders(Village):
    """Gives the age of each agent in its info."""

    def step(self, actions):
        seen, rewards, terminated, truncated, infos = super().step(actions)
        for name in infos:
            infos[name] = {"age": self.seen[name][3] if name in self.seen else 0}
        return seen, rewards, terminated, truncated, infos


def ended(env, steps=30):
    """Step; return the numbers of the episodes that ended, and the log."""
    random, lives = np.random.default_rng(0), []
    for _ in range(steps):
        env.arrays["action"][:] = random.integers(0, 3, env.arrays["action"].shape)
        env.step()
        env.engine.clear_finals()
    lives = [seen[2] for seen, step in RECORDED.items() if step.done]
    return lives, env.log()


@pytest.mark.parametrize(
    ("kind", "backend"),
    [
        ("single", "threads"),
        ("single", "processes"),
        *((mode, "threads") for mode in AutoresetMode),
    ],
)
def test_numbers_of_the_last_info_are_in_the_log(kind, backend):
    make = Success
    if kind != "single":
        make = functools.partial(SyncVectorEnv, [Success] * 2, autoreset_mode=kind)
    expected: Any = None
    for one in ("serial", backend):
        game = ExternalGame(make, backend=one, num_workers=2)
        RECORDED.clear()
        with RowEnv(game, 4, horizon=50, batch_rows=400, seed=3) as env:
            lives, log = ended(env)
            if one == "serial":
                expected = lives, log
                assert "is_success" not in env.log()  # the log starts over
            else:
                assert log == expected[1]
    lives, log = expected
    assert log["episodes"][0] == len(lives) > 5
    assert log["is_success"][0] == pytest.approx(np.mean([life % 2 for life in lives]))
    assert log["inner/life"] == pytest.approx(
        (np.mean(lives), np.std(lives), min(lives), max(lives))
    )
    assert log["info/score"][3] == max(lives)  # `score` is the log's own
    assert log["third"][0] == pytest.approx(np.mean([life for life in lives if life % 3 == 2]))
    numbers_in_infos = {"is_success", "inner/life", "info/score", "third"}
    assert set(log) == {"episodes", "score", "length"} | numbers_in_infos


def test_agents_tell_of_their_lives_when_these_end():
    with RowEnv(ExternalGame(Elders), 3, horizon=50, batch_rows=400, seed=3) as env:
        _, log = ended(env)
    ages = [step.after[3] for step in RECORDED.values() if step.done]
    whole = [
        step.after[3]
        for seen, step in RECORDED.items()
        if step.done and seen[2] < max(other[2] for other in RECORDED if other[0] == seen[0])
    ]
    assert min(ages) <= log["age"][2] and log["age"][3] <= max(ages)
    assert np.mean(whole) == pytest.approx(log["age"][0], rel=0.2)


@pytest.mark.parametrize("vector", [False, True])
def test_gymnasiums_episode_statistics_are_in_the_log(vector):
    def make():
        if not vector:
            return RecordEpisodeStatistics(RecordingEnv())
        envs = SyncVectorEnv([RecordingEnv] * 2, autoreset_mode=AutoresetMode.SAME_STEP)
        return gymnasium.wrappers.vector.RecordEpisodeStatistics(envs)

    with RowEnv(ExternalGame(make), 4, horizon=50, batch_rows=400, seed=3) as env:
        _, log = ended(env)
    for key, field in (("episode/r", "score"), ("episode/l", "length")):
        assert log[key] == pytest.approx(log[field])


def test_they_arrive_in_a_trainers_metrics():
    trainer = trainer_of(ExternalGame(functools.partial(Success, 0.5)), 4)
    metrics = trainer.update()
    assert 0 <= metrics["env/is_success"] <= 1
    assert metrics["env/inner/life"] >= 0
    trainer.close()


class Gone(Village):
    """Gives the number of the episode in each agent's info."""

    def step(self, actions):
        *rest, infos = super().step(actions)
        return *rest, {name: {"episode": self.episode} for name in infos}


@pytest.mark.parametrize("backend", ["serial", "processes"])
def test_an_evaluation_has_the_numbers_of_the_episodes_that_count(backend):
    def play(make):
        RECORDED.clear()
        game = ExternalGame(make, backend=backend, num_workers=2)
        spec = GameSpec.of(game)
        policy = make_policy(PolicyOptions(hidden_size=8), PolicySpec.of(spec), seed=3)
        return evaluate(policy, spec, episodes=10, num_envs=4, seed=3)  # 3, 3, 2, 2

    result = play(lambda: RecordEpisodeStatistics(Success()))
    fields = result.fields
    assert result.episodes == 10
    assert fields["episode/r"] == pytest.approx(fields["score"])
    assert fields["episode/l"] == pytest.approx(fields["length"])
    assert fields["inner/life"] == pytest.approx((0.8, np.sqrt(0.56), 0, 2))
    assert {"is_success", "info/score", "episode/r"} < set(fields) and "episodes" not in fields
    assert fields["third"].min == fields["third"].max == 2
    assert play(Gone).fields["episode"].max == 2


def test_more_numbers_than_there_is_room_for_are_left_out_with_a_warning():
    class Talks(RecordingEnv):
        def step(self, action):
            return *super().step(action)[:4], {
                f"number_{k}": k for k in range(BYTES_PER_AGENT // 10)
            }

    with RowEnv(ExternalGame(functools.partial(Talks, 1.0)), 2, horizon=4, seed=1) as env:
        with pytest.warns(UserWarning, match=r"info\['number_\d+'\] is not logged"):
            env.step()
        log = env.log()
    assert log["number_5"][0] == 5
    assert f"number_{BYTES_PER_AGENT // 10 - 1}" not in log


def test_what_a_number_is():
    info = {"a": True, "b": np.int64(2), "c": "3", "d": None, "e": [4], "f": np.inf, 7: 8, "g": 1j}
    assert dict(numbers(info)) == {"a": 1.0, "b": 2.0, "7": 8.0}


def test_what_is_of_one_env_of_a_vector_env():
    infos = {
        "a": np.array([1.0, 2.0, 3.0]),
        "_a": np.array([True, False, True]),
        "inner": {"b": np.array([4, 5, 6]), "_b": np.array([False, True, True])},
        "seen": np.ones((3, 2)),
        "of_all": 7,
        "two": np.ones(2),
    }
    found = [dict(numbers(info_of_env(infos, k, 3))) for k in range(3)]
    assert found == [{"a": 1}, {"inner/b": 5}, {"a": 3, "inner/b": 6}]


# --- values that are refused --------------------------------------------------------------
class Wild(RecordingEnv):
    """Returns a value that is not finite in its third step."""

    observation_space = Dict(
        {
            "who": Box(-1e9, 1e9, (2, 2)),
            "wide": Box(-1e300, 1e300, (3,), np.float64),
            "n": Discrete(9),
        }
    )

    def __init__(self, where="who", value=np.nan, last=False):
        super().__init__(end=0.0)
        self.where, self.value, self.last = where, value, last

    def _observe(self, seen):
        obs = {"who": seen.reshape(2, 2), "wide": np.zeros(3), "n": 1}
        if seen[3] == 3 and self.where != "reward":
            obs[self.where].reshape(-1)[2] = self.value
        return obs

    def reset(self, *, seed=None, options=None):
        return self._observe(super().reset(seed=seed)[0]), {}

    def step(self, action):
        seen, reward, *_ = super().step(action)
        if self.where == "reward" and seen[3] == 3:
            reward = self.value
        return self._observe(seen), reward, bool(self.last and seen[3] == 3), False, {}


def wild_village(where, value, last):
    class WildVillage(Village):
        def step(self, actions):
            self.last = 2 if not last else self.last
            seen, rewards, *rest = super().step(actions)
            if self.seen["agent_1"][3] == 3 and "agent_1" in actions:
                if where == "reward":
                    rewards["agent_1"] = value
                elif "agent_1" in seen:
                    seen["agent_1"][2] = value
            return seen, rewards, *rest

    return WildVillage()


def until_refused(make, num_envs, backend="serial"):
    """Step until an EnvError, and return its message."""
    env = pufferlib.wrap(make, num_envs, backend=backend, num_workers=2, seed=1)
    env.reset()
    with pytest.raises(EnvError) as caught:
        for _ in range(200):
            env.step(np.zeros(env.num_envs, np.int64))
    env.close()
    return str(caught.value)


@pytest.mark.parametrize(
    ("last", "backend"), [(False, "serial"), (True, "serial"), (False, "processes")]
)
@pytest.mark.parametrize(
    ("where", "value", "words"),
    [
        ("who", np.nan, "observation 'who' is nan at [1, 0]"),
        ("who", -np.inf, "observation 'who' is -inf at [1, 0]"),
        ("wide", 1e300, "observation 'wide' is inf at [2]"),  # beyond float32
    ],
)
def test_an_observation_that_is_not_finite_is_refused(where, value, words, last, backend):
    message = until_refused(functools.partial(Wild, where, value, last), 2, backend)
    assert f"Wild: env 0, step 3: ValueError: {words}" in message


def test_a_plain_observation_that_is_not_finite_is_refused():
    class Plain(RecordingEnv):
        def step(self, action):
            seen, *rest = super().step(action)
            seen[2] = np.nan
            return seen, *rest

    assert "env 0, step 1: ValueError: the observation is nan at [2]" in until_refused(Plain, 2)


@pytest.mark.parametrize("mode", AutoresetMode)
@pytest.mark.parametrize("last", [False, True])
@pytest.mark.parametrize(
    ("where", "value", "words"),
    [
        ("who", np.nan, "env 1: observation 'who' is nan at [1, 0]"),
        ("wide", 1e300, "env 1: observation 'wide' is inf at [2]"),
        ("reward", np.nan, "the reward of env 1 is nan"),
        ("reward", 1e300, "the reward of env 1 is 1e+300, not a finite float32"),
    ],
)
def test_vector_envs_are_refused_the_same(where, value, words, last, mode):
    make = functools.partial(
        SyncVectorEnv,
        [functools.partial(Wild, "who", 0.0), functools.partial(Wild, where, value, last)],
        autoreset_mode=mode,
    )
    message = until_refused(make, 2)
    assert f"envs [0, 2), step 3: ValueError: {words}" in message


@pytest.mark.parametrize("last", [False, True])
@pytest.mark.parametrize(
    ("where", "value", "words"),
    [
        ("seen", np.nan, "agent 'agent_1': the observation is nan at [2]"),
        ("reward", np.nan, "the reward of 'agent_1' is nan"),
        ("reward", 1e300, "the reward of 'agent_1' is 1e+300, not a finite float32"),
    ],
)
def test_parallel_envs_are_refused_the_same(where, value, words, last):
    message = until_refused(functools.partial(wild_village, where, value, last), 2)
    assert "village: env " in message and words in message
