"""wrap: unsupported envs are refused by name; faults of an env raise errors that name it."""

from __future__ import annotations

import functools

import gymnasium
import numpy as np
import pytest
from gymnasium.spaces import Box, Discrete, Graph, Sequence, Text

import pufferlib
from pufferenv.external.game import EnvError
from tests.support.external_envs import RECORDED, RecordingEnv, Village


def test_one_env_as_it_is_can_be_played_alone():
    env = RecordingEnv()
    wrapped = pufferlib.wrap(env)
    wrapped.reset(seed=1)
    wrapped.step(np.array([1]))
    assert len(RECORDED) == 1
    with pytest.raises(
        ValueError,
        match="one RecordingEnv that is made already allows num_envs=1 and 'serial' only",
    ):
        pufferlib.wrap(env, 2)


def space_of(observation=None, action=None):
    class Spaced(RecordingEnv):
        observation_space = observation or RecordingEnv.observation_space
        action_space = action or RecordingEnv.action_space

    return Spaced


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (space_of(Text(5)), "Spaced: observation space is Text"),
        (space_of(Graph(Box(0, 1, (2,)), None)), "Spaced: observation space is Graph"),
        (space_of(Sequence(Discrete(2))), "Spaced: observation space is Sequence"),
        (space_of(action=gymnasium.spaces.MultiBinary(17)), "17 discrete heads, at most 16"),
        (space_of(action=Text(5)), "Spaced: action space is Text"),
        (dict, "dict is neither a Gymnasium env"),
        (functools.partial(Village, fresh=True), "village has no possible_agents"),
    ],
)
def test_what_cannot_be_handled_is_refused_by_name(make, words):
    with pytest.raises((TypeError, ValueError), match=words):
        pufferlib.wrap(make)


def test_an_unknown_backend_is_refused():
    with pytest.raises(
        ValueError, match="backend='process'; it must be one of 'serial', 'threads'"
    ):
        pufferlib.wrap(RecordingEnv, backend="process")


def test_agents_must_be_alike():
    class Uneven(Village):
        def observation_space(self, agent):
            return Box(0, 1, (2 if agent == "agent_1" else 3,))

    with pytest.raises(ValueError, match=r"village: agent 'agent_1' has spaces .* one policy"):
        pufferlib.wrap(Uneven)


class Incomplete(Village):
    """Leaves one agent, or all agents, out of its results."""

    def __init__(self, how):
        super().__init__()
        self.how = how

    def reset(self, seed=None, options=None):
        result = super().reset(seed, options)
        if self.how == "no agents":
            self.agents = []
        return result

    def step(self, actions):
        seen, *rest = super().step(actions)
        return {name: seen[name] for name in self.agents[1:]}, *rest


@pytest.mark.parametrize(
    ("how", "words"),
    [
        ("no agents", "env 0, reset 0: ValueError: a new episode begins with no agents"),
        ("unseen", r"env 0, step \d+: ValueError: there is no observation of 'agent_\d'"),
    ],
)
def test_parallel_envs_that_leave_agents_out_are_told(how, words):
    env = pufferlib.wrap(functools.partial(Incomplete, how), 1, seed=1)
    with pytest.raises(EnvError, match=words):
        env.reset()
        for _ in range(20):
            env.step(np.zeros(env.num_envs, np.int64))


class Wrong(RecordingEnv):
    """Misbehaves in its third step, in the way `how` says."""

    def __init__(self, how):
        super().__init__(end=0.0)
        self.how = how

    def step(self, action):
        seen, reward, *rest = super().step(action)
        if self.seen[3] == 3:
            if self.how == "shape":
                seen = seen[:3]
            elif self.how == "dtype":
                seen = np.array(["a"] * 4)
            elif self.how == "nan":
                reward = float("nan")
            elif self.how == "huge":
                reward = 1e300
            else:
                raise KeyError("lost")
        return seen, reward, *rest


@pytest.mark.parametrize("backend", ["serial", "threads", "processes"])
@pytest.mark.parametrize(
    ("how", "words"),
    [
        ("shape", r"env 0, step 3: ValueError: the observation has shape \(3,\)"),
        ("dtype", "env 0, step 3: ValueError: the observation is <U1"),
        ("nan", "env 0, step 3: ValueError: its reward is nan"),
        ("huge", r"env 0, step 3: ValueError: its reward is 1e\+300"),  # beyond float32
        ("raise", "env 0, step 3: KeyError: 'lost'"),
    ],
)
def test_what_an_env_does_wrong_is_told_with_env_and_step(how, words, backend):
    env = pufferlib.wrap(functools.partial(Wrong, how), 2, backend=backend, num_workers=2)
    env.reset()
    with pytest.raises(EnvError, match=words):
        for _ in range(3):
            env.step(np.zeros(2, np.int64))
    with pytest.raises(RuntimeError, match="failed or was interrupted"):
        env.step(np.zeros(2, np.int64))
    env.close()
