"""Learn cartpole with PPO in one file of plain torch, on a gymnasium VectorEnv.

    python examples/single_file_ppo.py [--total-timesteps 300000] [--num-envs 64] [--seed 1]

On one core, including learning, it takes 1.4 times as many steps per second as on Gymnasium's
SyncVectorEnv of CartPole-v1 (9.2 times AsyncVectorEnv), and 2.5 times with 1,024 envs. Measured by
`python bench/examples.py single_file --processes` and `--envs 1024`; docs/benchmarks.md describes
the machine.

Read it top to bottom. The env can be any Gymnasium VectorEnv with a Discrete action space, in
same-step autoreset mode. The final observation of a truncated episode is in infos; its value
replaces the rest of the return, which was cut off.
"""

from __future__ import annotations

import argparse
from collections import deque
from typing import Any

import gymnasium
import numpy as np
import torch
from gymnasium.vector import AutoresetMode
from torch import nn
from torch.distributions import Categorical

HORIZON = 32  # steps of each env per update
EPOCHS, MINIBATCHES = 4, 4
LEARNING_RATE = 2.5e-3  # at the start; decays to 0
GAMMA, GAE_LAMBDA = 0.99, 0.95
CLIP_COEF, VF_COEF, ENT_COEF = 0.2, 0.5, 0.01


class Agent(nn.Module):
    """Two small networks: one gives the logits, the other the value of an observation."""

    def __init__(self, features: int, choices: int) -> None:
        super().__init__()
        self.logits = mlp(features, choices, 0.01)
        self.value = mlp(features, 1, 1.0)

    def forward(self, obs: torch.Tensor) -> tuple[Categorical, torch.Tensor]:
        return Categorical(logits=self.logits(obs)), self.value(obs)[..., 0]


def mlp(inputs: int, outputs: int, gain: float) -> nn.Sequential:
    """Make a network with orthogonal weights, scaled by `gain` in the last layer."""
    layers = [nn.Linear(inputs, 64), nn.Linear(64, 64), nn.Linear(64, outputs)]
    for layer, size in zip(layers, (2**0.5, 2**0.5, gain), strict=True):
        nn.init.orthogonal_(layer.weight, size)
        nn.init.zeros_(layer.bias)
    return nn.Sequential(layers[0], nn.Tanh(), layers[1], nn.Tanh(), layers[2])


class Rollout:
    """HORIZON steps of N envs. Tensors are (HORIZON, N), observations (HORIZON, N, features)."""

    def __init__(self, num_envs: int, features: int) -> None:
        shape = (HORIZON, num_envs)
        self.obs = torch.zeros(*shape, features)
        self.actions = torch.zeros(shape, dtype=torch.int64)
        self.logprobs, self.rewards, self.values = (torch.zeros(shape) for _ in range(3))
        self.next_values = torch.zeros(shape)  # of the next observation; 0 after a termination
        self.dones = torch.zeros(shape)  # 1 if the episode ended in this step

    def advantages(self) -> torch.Tensor:
        """Return generalized advantage estimates (Schulman et al. 2016, equation 16)."""
        deltas = self.rewards + GAMMA * self.next_values - self.values
        advantages, last = torch.zeros_like(deltas), torch.zeros_like(deltas[0])
        for t in reversed(range(HORIZON)):
            last = deltas[t] + GAMMA * GAE_LAMBDA * (1 - self.dones[t]) * last
            advantages[t] = last
        return advantages


class Collector:
    """Steps a vector env with an agent; each rollout starts where the previous one stopped."""

    def __init__(self, envs: gymnasium.vector.VectorEnv[Any, Any, Any], seed: int) -> None:
        self.envs = envs
        self.obs = torch.tensor(envs.reset(seed=seed)[0])
        self.returns = np.zeros(envs.num_envs)  # of the current episodes
        self.finished: deque[float] = deque(maxlen=100)  # returns of the last episodes

    @torch.no_grad()
    def collect(self, agent: Agent, rollout: Rollout) -> None:
        """Fill a rollout."""
        rollout.next_values.zero_()
        for t in range(HORIZON):
            policy, rollout.values[t] = agent(self.obs)
            actions = policy.sample()
            rollout.obs[t], rollout.actions[t] = self.obs, actions
            rollout.logprobs[t] = policy.log_prob(actions)
            obs, rewards, terminations, truncations, infos = self.envs.step(actions.numpy())
            self.obs = torch.tensor(obs)  # a copy, because the next step overwrites `obs`
            dones = terminations | truncations
            rollout.rewards[t] = torch.tensor(rewards)
            rollout.dones[t] = torch.tensor(dones)
            if len(truncated := np.flatnonzero(truncations)):
                final_obs = torch.tensor(np.stack(infos["final_obs"][truncated]))
                rollout.next_values[t, truncated] = agent(final_obs)[1]
            self.count(rewards, dones)
        next_values = torch.cat([rollout.values[1:], agent(self.obs)[1][None]])
        rollout.next_values += (1 - rollout.dones) * next_values

    def count(self, rewards: np.ndarray, dones: np.ndarray) -> None:
        """Add to the returns of the current episodes, and keep those of episodes that ended."""
        self.returns += rewards
        self.finished.extend(self.returns[dones].tolist())
        self.returns[dones] = 0


def update(agent: Agent, optimizer: torch.optim.Optimizer, rollout: Rollout) -> None:
    """Train on one rollout with PPO's clipped objective (Schulman et al. 2017)."""
    advantages = rollout.advantages()
    targets = (rollout.values + advantages).flatten()
    advantages = advantages.flatten()
    obs, actions = rollout.obs.flatten(0, 1), rollout.actions.flatten()
    logprobs = rollout.logprobs.flatten()
    for _ in range(EPOCHS):
        for index in torch.randperm(len(actions)).chunk(MINIBATCHES):
            policy, values = agent(obs[index])
            ratio = (policy.log_prob(actions[index]) - logprobs[index]).exp()
            advantage = advantages[index]
            advantage = (advantage - advantage.mean()) / (advantage.std() + 1e-8)
            clipped = ratio.clamp(1 - CLIP_COEF, 1 + CLIP_COEF)
            loss = -torch.minimum(ratio * advantage, clipped * advantage).mean()
            loss += VF_COEF * (values - targets[index]).square().mean()
            loss -= ENT_COEF * policy.entropy().mean()
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(agent.parameters(), 0.5)
            optimizer.step()


def train(
    envs: gymnasium.vector.VectorEnv[Any, Any, Any], total_timesteps: int, seed: int
) -> float:
    """Train; return the mean return of the last (at most 100) episodes."""
    if envs.metadata["autoreset_mode"] is not AutoresetMode.SAME_STEP:
        raise ValueError(
            "make envs with AutoresetMode.SAME_STEP; in the other modes some steps only reset"
        )
    torch.manual_seed(seed)
    features = envs.single_observation_space.shape[0]
    agent = Agent(features, int(envs.single_action_space.n))
    optimizer = torch.optim.Adam(agent.parameters(), eps=1e-5)
    collector, rollout = Collector(envs, seed), Rollout(envs.num_envs, features)
    updates = max(total_timesteps // (HORIZON * envs.num_envs), 1)
    for i in range(updates):
        for group in optimizer.param_groups:
            group["lr"] = LEARNING_RATE * (1 - i / updates)
        collector.collect(agent, rollout)
        update(agent, optimizer, rollout)
    return sum(collector.finished) / max(len(collector.finished), 1)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--total-timesteps", type=int, default=300_000)
    parser.add_argument("--num-envs", type=int, default=64)
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    torch.set_num_threads(1)  # more threads are slower for networks this small
    envs = gymnasium.make_vec(
        "pufferenv:puffer/cartpole-v0",
        args.num_envs,
        autoreset_mode=AutoresetMode.SAME_STEP,
        copy=False,
    )
    print(f"mean return {train(envs, args.total_timesteps, args.seed):.1f}")
    envs.close()


if __name__ == "__main__":
    main()
