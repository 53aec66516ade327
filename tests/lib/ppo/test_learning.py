"""Training learns: small games of each kind of action, and recurrent policies."""

import numpy as np
import pytest

from tests.support.games import load_game
from tests.support.trainers import make

pytestmark = pytest.mark.filterwarnings("ignore:batch_rows")
SHORT = {
    "num_envs": 64,
    "total_timesteps": 150_000,
    "minibatch_size": 256,
    "update_epochs": 4,
    "learning_rate": 3e-3,
}


def score(trainer):
    """Train to the end; return the mean score of about the last 100 episodes."""
    scores = []
    while not trainer.finished:
        metrics = trainer.update()
        if "env/score" in metrics:
            scores += [metrics["env/score"]] * int(metrics["env/episodes"])
    trainer.close()
    return np.mean(scores[-100:])


def test_it_learns_squared():
    trainer = make(
        "squared",
        {"size": 5},
        {"hidden_size": 64},
        num_envs=64,
        total_timesteps=150_000,
        horizon=32,
        minibatch_size=512,
        update_epochs=4,
        learning_rate=4e-3,
        ent_coef=0.02,
        gamma=0.95,
    )
    assert score(trainer) > 0.85


@pytest.mark.parametrize("name", ["lstm", "mingru"])
def test_recurrent_policies_learn_cartpole(name):
    trainer = make(
        "cartpole",
        {},
        {"hidden_size": 32, "name": name, "activation": "tanh"},
        num_envs=128,
        total_timesteps=100_000,
        minibatch_size=1024,
        update_epochs=4,
        learning_rate=6e-3,
        gae_lambda=0.9,
        ent_coef=0.0,
        reward_scale=0.05,
    )
    assert score(trainer) > 66  # three times what chance gets


def test_it_learns_two_axes():
    trainer = make(
        load_game("continuous"),
        {},
        {"hidden_size": 32, "activation": "tanh"},
        **SHORT,
        ent_coef=0.0,
        gamma=0.95,
    )
    assert score(trainer) > -0.2  # at the best 0.11: from anywhere to the origin at full speed


def test_it_learns_three_heads_at_once():
    trainer = make(
        load_game("multihead"),
        {},
        {"hidden_size": 32},
        **SHORT,
        gamma=0.0,
    )
    assert score(trainer) > 0.8 * 3 * 16  # three digits in each of 16 steps
