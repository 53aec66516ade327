"""Training with a game's own defaults, and random play, for the tests that a game is learned."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

import pufferenv
from pufferenv import games
from pufferenv.game_spec import GameSpec
from pufferlib.config.resolve import Layer
from pufferlib.policies.base import Policy
from pufferlib.ppo.trainer import Trainer
from pufferlib.run import defaults
from pufferlib.run.evaluate import Stats, evaluate


def train(
    name: str, steps: int, options: Mapping[str, Mapping[str, Any]] | None = None
) -> tuple[Policy, Policy]:
    """Train for `steps` agent steps on one thread; return the untrained and the trained policy.

    `options`, by section, override those of the game's toml.
    """
    game = games.load(name)
    own = {"train": {"total_timesteps": steps, "threads": 1, "device": "cpu"}}
    own["vec"] = {"num_threads": 1}
    given = [Layer("test", own), Layer("test", options or {})]
    made = defaults.configure(name, game, defaults.own_layers(name, game), given)
    parts = (made.env, made.vec, made.train, made.policy)
    fresh, trainer = Trainer(game, *parts), Trainer(game, *parts)
    while not trainer.finished:
        trainer.update()
    trainer.close()
    fresh.close()
    return fresh.policy, trainer.policy


def play(policy: Policy, name: str, episodes: int, **env: int | float) -> dict[str, Stats]:
    """Play whole episodes with this config; return mean and deviation of each log field."""
    return evaluate(policy, GameSpec.of(name, env), episodes=episodes, seed=1).fields


def random_scores(
    name: str, num_envs: int, steps: int, seed: int
) -> tuple[float, float, float, float]:
    """Play at random in one head; return the log's mean, deviation, least and most score."""
    env = pufferenv.make(name, num_envs, seed=seed)
    obs, _ = env.reset()
    random = np.random.default_rng(3)
    for _ in range(steps):
        env.step(random.integers(0, env.heads[0].n, len(obs), dtype=np.int32))
    return env.log()["score"]
