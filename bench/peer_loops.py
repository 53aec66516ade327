"""The trainers that others are compared with: stable-baselines3's PPO and a CleanRL-style loop.

Both take a kind of vector env, a Recipe and a seed, and call `report` after each update. Vector
envs of the kinds "envpool" and "gymnasium" reset in the step after an episode's end. As in
envpool's examples, that reset step counts and is trained on.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any, NamedTuple

import gymnasium
import numpy as np
import numpy.typing as npt
import torch
from torch import distributions, nn

# Called with the agent steps so far and the episodes that ended in the update as (number, mean
# return). Training ends if it returns True.
Report = Callable[[int, list[tuple[float, float]]], bool]


class Recipe(NamedTuple):
    """The settings of the loop; bench/peers.py gives all its trainers those that are shared."""

    env: str = "CartPole-v1"  # a Gymnasium id
    envs: int = 64
    steps: int = 32  # per env and update
    epochs: int = 4
    minibatches: int = 4
    hidden: int = 64  # tanh units per layer; two layers
    one_trunk: bool = True  # the layers are shared by policy and value
    learning_rate: float = 2.5e-3  # at the start; decays linearly to 0
    ent_coef: float = 0.01
    clip_value: bool = False  # the change of the value is clipped like that of the policy
    total: int = 500_000

    @property
    def batch(self) -> int:
        """Steps of one update."""
        return self.envs * self.steps


def trunk(inputs: int, hidden: int) -> nn.Module:
    """Make the two hidden layers."""
    sizes = (inputs, hidden, hidden)
    layers: list[nn.Module] = []
    for before, after in itertools.pairwise(sizes):
        layer = nn.Linear(before, after)
        nn.init.orthogonal_(layer.weight, 2**0.5)
        nn.init.zeros_(layer.bias)
        layers += [layer, nn.Tanh()]
    return nn.Sequential(*layers)


class Agent(nn.Module):
    """Policy and value of a flat observation, for one discrete action or for floats."""

    def __init__(self, observations: Any, actions: Any, recipe: Recipe) -> None:
        super().__init__()
        inputs = observations.shape[0]
        self.continuous = isinstance(actions, gymnasium.spaces.Box)
        self.body = trunk(inputs, recipe.hidden)
        self.value_body = None if recipe.one_trunk else trunk(inputs, recipe.hidden)
        outputs = actions.shape[0] if self.continuous else actions.n
        self.actor, self.critic = nn.Linear(recipe.hidden, outputs), nn.Linear(recipe.hidden, 1)
        for head, gain in ((self.actor, 0.01), (self.critic, 1.0)):
            nn.init.orthogonal_(head.weight, gain)
            nn.init.zeros_(head.bias)
        if self.continuous:
            self.log_std = nn.Parameter(torch.zeros(outputs))

    def forward(self, obs: torch.Tensor) -> tuple[distributions.Distribution, torch.Tensor]:
        """Observations (N, inputs) -> the distribution of N actions, values (N,)."""
        hidden = self.body(obs)
        out = self.actor(hidden)
        choices: distributions.Distribution
        if self.continuous:
            choices = distributions.Independent(distributions.Normal(out, self.log_std.exp()), 1)
        else:
            choices = distributions.Categorical(logits=out)
        behind = hidden if self.value_body is None else self.value_body(obs)
        return choices, self.critic(behind).flatten()


def normalized(name: str) -> Callable[[], Any]:
    """Return a function that makes an env with the wrappers of CleanRL's ppo_continuous_action."""

    def make() -> Any:
        wrap = gymnasium.wrappers
        env: Any = wrap.RecordEpisodeStatistics(gymnasium.make(name))
        env = wrap.NormalizeObservation(wrap.ClipAction(env))
        env = wrap.TransformObservation(env, lambda obs: np.clip(obs, -10, 10), None)
        return wrap.TransformReward(
            wrap.NormalizeReward(env), lambda reward: max(-10, min(reward, 10))
        )

    return make


def vector_env(kind: str, recipe: Recipe, seed: int) -> Any:
    """Make a vector env of one of the kinds.

    "envpool" and "gymnasium" (its numpy-vectorized version) exist for CartPole-v1. "plain" and
    "normalized" are Gymnasium's SyncVectorEnv of any id, which resets in the step of the end; the
    latter clips actions and normalizes observations and rewards.
    """
    if kind == "envpool":
        import envpool

        return envpool.make(
            recipe.env, env_type="gymnasium", num_envs=recipe.envs, num_threads=1, seed=seed
        )
    if kind == "gymnasium":
        return gymnasium.make_vec(recipe.env, recipe.envs, vectorization_mode="vector_entry_point")
    makers = {
        "plain": lambda: gymnasium.wrappers.RecordEpisodeStatistics(gymnasium.make(recipe.env)),
        "normalized": normalized(recipe.env),
    }
    return gymnasium.vector.SyncVectorEnv(
        [makers[kind]] * recipe.envs, autoreset_mode=gymnasium.vector.AutoresetMode.SAME_STEP
    )


def spaces(env: Any) -> tuple[Any, Any]:
    """Return the spaces of one env's observation and action; envpool has no others."""
    single = "single_" if hasattr(env, "single_action_space") else ""
    return getattr(env, f"{single}observation_space"), getattr(env, f"{single}action_space")


class Returns:
    """Returns of the episodes that end: as the env records them, else the sums of rewards."""

    def __init__(self, envs: int) -> None:
        self._sums = np.zeros(envs)

    def add(
        self, reward: npt.NDArray[Any], done: npt.NDArray[np.bool_], infos: dict[str, Any]
    ) -> list[tuple[float, float]]:
        """Add the rewards of a step, (N,); return (1, return) for each episode that ended in it."""
        self._sums += reward
        recorded = infos.get("final_info", {}).get("episode")
        ended = (self._sums if recorded is None else recorded["r"])[done]
        self._sums[done] = 0
        return [(1.0, float(value)) for value in ended]


def cleanrl(kind: str, recipe: Recipe, seed: int, report: Report) -> None:
    """Train with PPO as one loop of torch operations, torch.distributions and step-by-step GAE."""
    torch.manual_seed(seed)
    n, t, batch = recipe.envs, recipe.steps, recipe.batch
    env = vector_env(kind, recipe, seed)
    seen_space, action_space = spaces(env)
    agent = Agent(seen_space, action_space, recipe)
    parameters = list(agent.parameters())
    adam = torch.optim.Adam(parameters, lr=recipe.learning_rate, eps=1e-5)

    obs = torch.zeros((t, n, *seen_space.shape))
    actions = torch.zeros((t, n, *action_space.shape))
    logprobs, rewards, dones, values = (torch.zeros((t, n)) for _ in range(4))
    next_obs = torch.as_tensor(env.reset(seed=seed)[0], dtype=torch.float32)
    next_done = torch.zeros(n)
    returns, total = Returns(n), 0
    while total < recipe.total:
        adam.param_groups[0]["lr"] = (1 - total / recipe.total) * recipe.learning_rate
        ended: list[tuple[float, float]] = []
        for step in range(t):
            obs[step], dones[step] = next_obs, next_done
            with torch.no_grad():
                choices, values[step] = agent(next_obs)
                action = choices.sample()
                logprobs[step] = choices.log_prob(action)
            actions[step] = action
            seen, reward, terminated, truncated, infos = env.step(action.numpy())
            done = np.logical_or(terminated, truncated)
            rewards[step] = torch.as_tensor(reward)
            next_obs = torch.as_tensor(seen, dtype=torch.float32)
            next_done = torch.as_tensor(done, dtype=torch.float32)
            ended += returns.add(reward, done, infos)
        total += batch

        with torch.no_grad():
            advantages, last = torch.zeros((t, n)), torch.zeros(n)
            _, next_value = agent(next_obs)
            for step in reversed(range(t)):
                live = 1 - (next_done if step == t - 1 else dones[step + 1])
                delta = rewards[step] + 0.99 * next_value * live - values[step]
                last = advantages[step] = delta + 0.99 * 0.95 * live * last
                next_value = values[step]
            targets = advantages + values
        flat_obs, flat_actions = obs.flatten(0, 1), actions.flatten(0, 1)
        flat_logprobs, flat_values = logprobs.view(-1), values.view(-1)
        flat_advantages, flat_targets = advantages.view(-1), targets.view(-1)
        for _ in range(recipe.epochs):
            order = torch.randperm(batch)
            for part in order.split(batch // recipe.minibatches):
                choices, value = agent(flat_obs[part])
                ratio = (choices.log_prob(flat_actions[part]) - flat_logprobs[part]).exp()
                gain = flat_advantages[part]
                gain = (gain - gain.mean()) / (gain.std() + 1e-8)
                policy_loss = torch.max(-gain * ratio, -gain * ratio.clamp(0.8, 1.2)).mean()
                errors = (value - flat_targets[part]) ** 2
                if recipe.clip_value:
                    old = flat_values[part]
                    near = old + (value - old).clamp(-0.2, 0.2)
                    errors = torch.max(errors, (near - flat_targets[part]) ** 2)
                value_loss = 0.5 * errors.mean()
                entropy = choices.entropy().mean()
                loss = policy_loss - recipe.ent_coef * entropy + 0.5 * value_loss
                adam.zero_grad()
                loss.backward()
                nn.utils.clip_grad_norm_(parameters, 0.5)
                adam.step()
        if report(total, ended):
            break
    env.close()


def sb3_callback(report: Report) -> Any:
    """Return a callback of stable-baselines3 that reports each update when it is over."""
    from stable_baselines3.common.callbacks import BaseCallback

    class Watch(BaseCallback):
        """Collects the episodes of an update."""

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

        def _on_training_end(self) -> None:
            if not self.done:
                report(self.num_timesteps, self.ended)

    return Watch()


def sb3(kind: str, recipe: Recipe, seed: int, report: Report) -> None:
    """Train CartPole-v1 with stable-baselines3's PPO; its extractor holds the shared layers."""
    from stable_baselines3 import PPO
    from stable_baselines3.common.env_util import make_vec_env
    from stable_baselines3.common.torch_layers import BaseFeaturesExtractor
    from stable_baselines3.common.vec_env import VecEnv, VecMonitor

    class Trunk(BaseFeaturesExtractor):
        """The hidden layers."""

        def __init__(self, space: gymnasium.Space[Any]) -> None:
            super().__init__(space, recipe.hidden)
            self.layers = trunk(4, recipe.hidden)

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

    usual = kind == "dummy"
    env = make_vec_env(recipe.env, recipe.envs, seed=seed) if usual else VecMonitor(Adapter())
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
    model.learn(recipe.total, callback=sb3_callback(report))
