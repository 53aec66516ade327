"""The trainers that bench/peers.py compares with: stable-baselines3's PPO and a CleanRL-style loop.

Both take a kind of vector env, a Recipe and a seed, and call `report` after each update. The vector
envs reset in the step after an episode's end. As in CleanRL and in envpool's examples, that reset
step counts and is trained on.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any, NamedTuple

import gymnasium
import numpy as np
import torch
from torch import nn

# Called with the agent steps so far and the episodes that ended in the update as (number, mean
# return). Training ends if it returns True.
Report = Callable[[int, list[tuple[float, float]]], bool]


class Recipe(NamedTuple):
    """The settings that all trainers share."""

    envs: int = 64
    steps: int = 32  # per env and update
    epochs: int = 4
    minibatches: int = 4
    hidden: int = 64  # tanh units per layer; two layers, shared by policy and value
    learning_rate: float = 2.5e-3  # at the start; decays linearly to 0
    ent_coef: float = 0.01
    total: int = 500_000

    @property
    def batch(self) -> int:
        """Steps of one update."""
        return self.envs * self.steps


def trunk(hidden: int) -> nn.Module:
    """Make the two hidden layers."""
    sizes = (4, hidden, hidden)
    layers: list[nn.Module] = []
    for inputs, outputs in itertools.pairwise(sizes):
        layer = nn.Linear(inputs, outputs)
        nn.init.orthogonal_(layer.weight, 2**0.5)
        nn.init.zeros_(layer.bias)
        layers += [layer, nn.Tanh()]
    return nn.Sequential(*layers)


def vector_env(kind: str, recipe: Recipe, seed: int) -> Any:
    """Make CartPole-v1 in envpool, or in Gymnasium's numpy-vectorized version."""
    if kind == "envpool":
        import envpool

        return envpool.make(
            "CartPole-v1", env_type="gymnasium", num_envs=recipe.envs, num_threads=1, seed=seed
        )
    return gymnasium.make_vec("CartPole-v1", recipe.envs, vectorization_mode="vector_entry_point")


def cleanrl(kind: str, recipe: Recipe, seed: int, report: Report) -> None:
    """Train with PPO as one loop of torch operations, torch.distributions and step-by-step GAE."""
    torch.manual_seed(seed)
    n, t, batch = recipe.envs, recipe.steps, recipe.batch
    env = vector_env(kind, recipe, seed)
    body = trunk(recipe.hidden)
    actor, critic = nn.Linear(recipe.hidden, 2), nn.Linear(recipe.hidden, 1)
    for head, gain in ((actor, 0.01), (critic, 1.0)):
        nn.init.orthogonal_(head.weight, gain)
        nn.init.zeros_(head.bias)
    parameters = [*body.parameters(), *actor.parameters(), *critic.parameters()]
    adam = torch.optim.Adam(parameters, lr=recipe.learning_rate, eps=1e-5)

    obs = torch.zeros((t, n, 4))
    actions, logprobs, rewards, dones, values = (torch.zeros((t, n)) for _ in range(5))
    next_obs = torch.as_tensor(env.reset(seed=seed)[0], dtype=torch.float32)
    next_done = torch.zeros(n)
    returns, total = np.zeros(n), 0
    while True:
        left = max(0.0, 1 - total / recipe.total)
        adam.param_groups[0]["lr"] = left * recipe.learning_rate
        ended: list[tuple[float, float]] = []
        for step in range(t):
            obs[step], dones[step] = next_obs, next_done
            with torch.no_grad():
                hidden = body(next_obs)
                choices = torch.distributions.Categorical(logits=actor(hidden))
                action = choices.sample()
                logprobs[step], values[step] = choices.log_prob(action), critic(hidden).flatten()
            actions[step] = action
            seen, reward, terminated, truncated, _ = env.step(action.numpy())
            done = np.logical_or(terminated, truncated)
            rewards[step] = torch.as_tensor(reward)
            next_obs = torch.as_tensor(seen, dtype=torch.float32)
            next_done = torch.as_tensor(done, dtype=torch.float32)
            returns += reward
            ended += [(1.0, float(returns[i])) for i in done.nonzero()[0]]
            returns[done] = 0
        total += batch

        with torch.no_grad():
            advantages, last = torch.zeros((t, n)), torch.zeros(n)
            next_value = critic(body(next_obs)).flatten()
            for step in reversed(range(t)):
                live = 1 - (next_done if step == t - 1 else dones[step + 1])
                delta = rewards[step] + 0.99 * next_value * live - values[step]
                last = advantages[step] = delta + 0.99 * 0.95 * live * last
                next_value = values[step]
            targets = advantages + values
        flat_obs, flat_actions, flat_logprobs = obs.view(-1, 4), actions.view(-1), logprobs.view(-1)
        flat_advantages, flat_targets = advantages.view(-1), targets.view(-1)
        for _ in range(recipe.epochs):
            order = torch.randperm(batch)
            for part in order.split(batch // recipe.minibatches):
                hidden = body(flat_obs[part])
                choices = torch.distributions.Categorical(logits=actor(hidden))
                ratio = (choices.log_prob(flat_actions[part]) - flat_logprobs[part]).exp()
                gain = flat_advantages[part]
                gain = (gain - gain.mean()) / (gain.std() + 1e-8)
                policy_loss = torch.max(-gain * ratio, -gain * ratio.clamp(0.8, 1.2)).mean()
                value_loss = 0.5 * ((critic(hidden).flatten() - flat_targets[part]) ** 2).mean()
                entropy = choices.entropy().mean()
                loss = policy_loss - recipe.ent_coef * entropy + 0.5 * value_loss
                adam.zero_grad()
                loss.backward()
                nn.utils.clip_grad_norm_(parameters, 0.5)
                adam.step()
        if report(total, ended):
            return


def sb3(kind: str, recipe: Recipe, seed: int, report: Report) -> None:
    """Train with stable-baselines3's PPO; its features extractor holds the shared layers."""
    from stable_baselines3 import PPO
    from stable_baselines3.common.callbacks import BaseCallback
    from stable_baselines3.common.env_util import make_vec_env
    from stable_baselines3.common.torch_layers import BaseFeaturesExtractor
    from stable_baselines3.common.vec_env import VecEnv, VecMonitor

    class Trunk(BaseFeaturesExtractor):
        """The hidden layers."""

        def __init__(self, space: gymnasium.Space[Any]) -> None:
            super().__init__(space, recipe.hidden)
            self.layers = trunk(recipe.hidden)

        def forward(self, observations: torch.Tensor) -> torch.Tensor:
            """Observations (N, 4) -> (N, hidden)."""
            out: torch.Tensor = self.layers(observations)
            return out

    class Adapter(VecEnv):  # type: ignore[misc]
        """A Gymnasium vector env as stable-baselines3's VecEnv."""

        def __init__(self) -> None:
            self.env = vector_env(kind, recipe, seed)
            space = gymnasium.spaces.Box(-np.inf, np.inf, (4,), np.float32)
            super().__init__(recipe.envs, space, gymnasium.spaces.Discrete(2))

        def reset(self) -> Any:
            return self.env.reset()[0]

        def step_async(self, actions: Any) -> None:
            self.actions = actions

        def step_wait(self) -> Any:
            obs, rewards, terminated, truncated, _ = self.env.step(self.actions)
            dones, infos = terminated | truncated, [{} for _ in range(recipe.envs)]
            for i in dones.nonzero()[0]:
                infos[i]["terminal_observation"] = obs[i]
                infos[i]["TimeLimit.truncated"] = bool(truncated[i] and not terminated[i])
            return obs, rewards, dones, infos

        def close(self) -> None:
            self.env.close()

        def get_attr(self, name: str, indices: Any = None) -> Any:
            return [None] * recipe.envs

        def set_attr(self, name: str, value: Any, indices: Any = None) -> None:
            raise NotImplementedError(name)

        def env_method(self, name: str, *args: Any, indices: Any = None, **kwargs: Any) -> Any:
            raise NotImplementedError(name)

        def env_is_wrapped(self, wrapper: Any, indices: Any = None) -> list[bool]:
            return [False] * recipe.envs

    class Watch(BaseCallback):
        """Collects the episodes of an update and reports them when it is over."""

        def __init__(self) -> None:
            super().__init__()
            self.ended: list[tuple[float, float]] = []
            self.done = False

        def _on_step(self) -> bool:
            infos = self.locals["infos"]
            self.ended += [(1.0, float(i["episode"]["r"])) for i in infos if "episode" in i]
            return not self.done

        def _on_rollout_start(self) -> None:  # the previous update is over
            if self.num_timesteps:
                self.done = report(self.num_timesteps, self.ended)
                self.ended = []

    usual = kind == "dummy"
    env = make_vec_env("CartPole-v1", recipe.envs, seed=seed) if usual else VecMonitor(Adapter())
    model = PPO(
        "MlpPolicy",
        env,
        n_steps=recipe.steps,
        batch_size=recipe.batch // recipe.minibatches,
        n_epochs=recipe.epochs,
        learning_rate=lambda left: recipe.learning_rate * left,
        ent_coef=recipe.ent_coef,
        seed=seed,
        device="cpu",
        policy_kwargs={"features_extractor_class": Trunk, "net_arch": []},
    )
    model.learn(recipe.total, callback=Watch())
