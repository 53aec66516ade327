"""Training on envs with unusual actions, rewards and episodes: it starts with the defaults."""

import json
import math
from pathlib import Path

import gymnasium
import numpy as np
import pytest
from gymnasium.spaces import Box, Discrete

from pufferlib.cli.main import main
from pufferlib.config import toml_file

INF = math.inf
ONE_RUN = ["--vec.backend=serial", "--vec.num-envs=8", "--train.threads=1"]
ONE_RUN += ["--train.precision=float32"]
NAME = "gym:Unusual-v0"
pytestmark = pytest.mark.filterwarnings("ignore:.*Box action space maximum and minimum")


class Unusual(gymnasium.Env):
    """An env with a given action space, whose reward is a constant or the sum of an action.

    It never terminates, and every action that it gets must be in its action space.
    """

    observation_space = Box(-1, 1, (3,))

    def __init__(self, reward=None):
        self.reward, self.action_space = reward, self.given_space

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        return self.observation_space.sample(), {}

    def step(self, action):
        assert self.action_space.contains(action), f"{action!r} is not in {self.action_space}"
        reward = np.tanh(np.sum(action)) if self.reward is None else self.reward
        return self.observation_space.sample(), float(reward), False, False, {}


@pytest.fixture
def train(tmp_path, monkeypatch, capsys):
    """Return a function that trains for 2,048 steps; it returns the output's lines."""
    monkeypatch.chdir(tmp_path)

    def run(space, *words, limit=20):
        monkeypatch.setattr(Unusual, "given_space", space, raising=False)
        gymnasium.register("Unusual-v0", Unusual, max_episode_steps=limit)
        try:
            command = ["train", NAME, "--name=x", "--train.total-timesteps=2048", *ONE_RUN, *words]
            assert main(command) == 0
        finally:
            del gymnasium.registry["Unusual-v0"]
        for line in Path("runs/gym-Unusual-v0/x/metrics.jsonl").read_text().splitlines():
            losses = {k: v for k, v in json.loads(line).items() if k.startswith("loss/")}
            assert losses and all(math.isfinite(value) for value in losses.values()), losses
        return capsys.readouterr().out.splitlines()

    return run


def box(low, high, dtype=np.float32):
    return Box(np.array(low, dtype), np.array(high, dtype), dtype=dtype)


@pytest.mark.parametrize(
    ("space", "acts", "notes"),
    [
        (box([-2], [2]), "acts on 1 axis", []),
        (
            box([-INF, -INF], [INF, INF]),
            "acts on 2 axes",
            [
                "each of the axes action/0, action/1 has no bounds, so it is not clipped: its mean "
                "starts at 0, and its deviation is in its own units"
            ],
        ),
        (
            box([3, -INF, -1], [INF, -3, 1]),
            "acts on 3 axes",
            [
                "axis action/0 has only a lower bound, 3: its mean starts at 4, and its deviation "
                "is in its own units",
                "axis action/1 has only an upper bound, -3: its mean starts at -4, and its "
                "deviation is in its own units",
            ],
        ),
        (box([0.3, -1], [0.3, 1]), "acts on 2 axes", ["axis action/0 is always 0.3"]),
        (box([0.3], [0.3]), "acts on 1 axis", ["axis action/0 is always 0.3"]),
        (
            box([-3e38] * 5, [3e38] * 5),
            "acts on 5 axes",
            [
                "each of 5 axes is bounded by -3e+38 and 3e+38, which say nothing about its scale: "
                "its mean starts at 0, and its deviation is in its own units"
            ],
        ),
        (Box(-1, 1, ()), "acts on 1 axis", []),
        (Box(-1, 1, (2, 2)), "acts on 4 axes", []),
        (box([-1, -2], [1, 2], np.float64), "acts on 2 axes", []),
        (
            box([-1e300], [1e300], np.float64),
            "acts on 1 axis",
            [
                "axis action/0 has no bounds, so it is not clipped: its mean starts at 0, and its "
                "deviation is in its own units"
            ],
        ),
    ],
)
def test_every_kind_of_axis_is_trained_and_reported(train, space, acts, notes):
    first, settings, *rest = train(space)
    assert first == (
        f"{NAME} observes 3 numbers and {acts}, in episodes of at most 20 steps; policy mlp, "
        "backend serial"
    )
    assert settings.startswith(
        "settings: [python.continuous] of pufferlib/config/kinds.toml, because an action is "
        "continuous, overridden by flags; discount "
    )
    assert rest[: len(notes)] == notes and rest[len(notes)].startswith("runs/")


def test_a_single_choice_is_trained_and_reported(train):
    first, settings, _, *_ = train(Discrete(1))
    assert "observes 3 numbers and has a single action, in episodes of at most" in first
    assert "[python.numbers] of pufferlib/config/kinds.toml, because it observes" in settings


@pytest.mark.parametrize("reward", [0, 1])
@pytest.mark.parametrize("space", [Discrete(2), Box(-1, 1, (1,))])
def test_a_constant_reward_is_trained_on(train, space, reward):
    train(space, f"--env.reward={reward}")


@pytest.mark.parametrize(
    ("limit", "says"),
    [(1, "in episodes of 1 step;"), (None, "in episodes without a known limit;")],
)
@pytest.mark.parametrize("space", [Discrete(2), Box(-1, 1, (1,))])
def test_episodes_of_one_step_and_without_an_end_are_trained_on(train, space, limit, says):
    first, *rest = train(space, limit=limit)
    assert says in first
    gave_up = "evaluation: no episode ended in 20,000 steps" in rest
    assert gave_up is (limit is None)
    assert any(line.startswith("done: 2,048 steps") for line in rest)


@pytest.mark.parametrize("num_envs", [1, 2, 3, 5])
def test_the_defaults_train_any_number_of_envs(train, num_envs):
    train(Discrete(2), f"--vec.num-envs={num_envs}", "--train.eval-interval=0")


def test_the_defaults_train_a_recurrent_network_of_ones_own(train, tmp_path):
    (tmp_path / "mine.py").write_text("from pufferlib.policies.mingru import MinGRU\n")
    train(box([-1], [1]), "--policy.path=mine.py:MinGRU")
    config = toml_file.read("runs/gym-Unusual-v0/x/config.toml")["train"]
    assert (config["shuffle"], config["horizon"], config["minibatch_size"]) == ("steps", 128, 128)
