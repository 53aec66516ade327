"""Learn cartpole with PPO in one file of plain torch, on a gymnasium VectorEnv.

    python examples/single_file_ppo.py [--total-timesteps 300000] [--num-envs 64] [--seed 1]

On one core, including learning, it takes 1.4 times as many steps per second as on Gymnasium's
SyncVectorEnv of CartPole-v1 (9.2 times AsyncVectorEnv), and 2.5 times with 1,024 envs. Measured by
`python bench/examples.py single_file --processes` and `--envs 1024`; docs/benchmarks.md describes
the machine.

Read it top to bottom. The env can be any Gymnasium VectorEnv with a Discrete action in the
same-step autoreset mode. The final observation of a truncated episode is in infos, and its value
stands for the return that the agent would still have collected.
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
GAMMA, LAMBDA = 0.99, 0.95
CLIP, VALUE, ENTROPY = 0.2, 0.5, 0.01  # bound of the ratio; weights of the losses


class Agent(nn.Module):
    """Two small networks: one for the logits, one for the value of an observation."""

    def __init__(self, features: int, choices: int) -> None:
        super().__init__()
        self.logits = mlp(features, choices, 0.01)
        self.value = mlp(features, 1, 1.0)

    def forward(self, seen: torch.Tensor) -> tuple[Categorical, torch.Tensor]:
        return Categorical(logits=self.logits(seen)), self.value(seen)[..., 0]


def mlp(inputs: int, outputs: int, gain: float) -> nn.Sequential:
    """Make a network with orthogonal weights, scaled by `gain` in the last layer."""
    layers = [nn.Linear(inputs, 64), nn.Linear(64, 64), nn.Linear(64, outputs)]
    for layer, size in zip(layers, (2**0.5, 2**0.5, gain), strict=True):
        nn.init.orthogonal_(layer.weight, size)
        nn.init.zeros_(layer.bias)
    return nn.Sequential(layers[0], nn.Tanh(), layers[1], nn.Tanh(), layers[2])


class Rollout:
    """`HORIZON` steps of N envs; all arrays are (HORIZON, N), seen is (HORIZON, N, features)."""

    def __init__(self, num_envs: int, features: int) -> None:
        shape = (HORIZON, num_envs)
        self.seen = torch.zeros(*shape, features)
        self.actions = torch.zeros(shape, dtype=torch.int64)
        self.logprobs, self.rewards, self.values = (torch.zeros(shape) for _ in range(3))
        self.next_values = torch.zeros(shape)  # value of the next observation; 0 after an end
        self.ends = torch.zeros(shape)  # 1: the episode ended in this step

    def advantages(self) -> torch.Tensor:
        """Return generalized advantage estimates (Schulman et al. 2016, equation 16)."""
        deltas = self.rewards + GAMMA * self.next_values - self.values
        result, later = torch.zeros_like(deltas), torch.zeros_like(deltas[0])
        for t in reversed(range(HORIZON)):
            later = deltas[t] + GAMMA * LAMBDA * (1 - self.ends[t]) * later
            result[t] = later
        return result


class Player:
    """Runs an agent in a vector env, continuing where the last rollout stopped."""

    def __init__(self, envs: gymnasium.vector.VectorEnv[Any, Any, Any], seed: int) -> None:
        self.envs = envs
        self.seen = torch.tensor(envs.reset(seed=seed)[0])
        self.returns = np.zeros(envs.num_envs)  # of the current episodes
        self.finished: deque[float] = deque(maxlen=100)  # returns of the last episodes

    @torch.no_grad()
    def play(self, agent: Agent, rollout: Rollout) -> None:
        """Fill a rollout."""
        rollout.next_values.zero_()
        for t in range(HORIZON):
            policy, rollout.values[t] = agent(self.seen)
            actions = policy.sample()
            rollout.seen[t], rollout.actions[t] = self.seen, actions
            rollout.logprobs[t] = policy.log_prob(actions)
            seen, rewards, terminations, truncations, infos = self.envs.step(actions.numpy())
            self.seen = torch.tensor(seen)  # a copy: the next step overwrites `seen`
            rollout.rewards[t] = torch.tensor(rewards)
            rollout.ends[t] = torch.tensor(terminations | truncations)
            if len(cut := np.flatnonzero(truncations)):
                last = torch.tensor(np.stack(infos["final_obs"][cut]))
                rollout.next_values[t, cut] = agent(last)[1]
            self.count(rewards, terminations | truncations)
        following = torch.cat([rollout.values[1:], agent(self.seen)[1][None]])
        rollout.next_values += (1 - rollout.ends) * following

    def count(self, rewards: np.ndarray, ends: np.ndarray) -> None:
        self.returns += rewards
        self.finished.extend(self.returns[ends].tolist())
        self.returns[ends] = 0


def update(agent: Agent, optimizer: torch.optim.Optimizer, rollout: Rollout) -> None:
    """Train on one rollout with PPO's clipped objective (Schulman et al. 2017)."""
    advantages = rollout.advantages()
    targets = (rollout.values + advantages).flatten()
    advantages = advantages.flatten()
    seen, actions = rollout.seen.flatten(0, 1), rollout.actions.flatten()
    logprobs = rollout.logprobs.flatten()
    for _ in range(EPOCHS):
        for part in torch.randperm(len(actions)).chunk(MINIBATCHES):
            policy, values = agent(seen[part])
            ratio = (policy.log_prob(actions[part]) - logprobs[part]).exp()
            gain = advantages[part]
            gain = (gain - gain.mean()) / (gain.std() + 1e-8)
            clipped = ratio.clamp(1 - CLIP, 1 + CLIP)
            loss = -torch.minimum(ratio * gain, clipped * gain).mean()
            loss += VALUE * (values - targets[part]).square().mean()
            loss -= ENTROPY * policy.entropy().mean()
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(agent.parameters(), 0.5)
            optimizer.step()


def train(
    envs: gymnasium.vector.VectorEnv[Any, Any, Any], total_timesteps: int, seed: int
) -> float:
    """Train; return the mean return of the last (at most 100) episodes."""
    if envs.metadata["autoreset_mode"] is not AutoresetMode.SAME_STEP:
        raise ValueError("make envs with AutoresetMode.SAME_STEP; others train on reset steps")
    torch.manual_seed(seed)
    features = envs.single_observation_space.shape[0]
    agent = Agent(features, int(envs.single_action_space.n))
    optimizer = torch.optim.Adam(agent.parameters(), eps=1e-5)
    player, rollout = Player(envs, seed), Rollout(envs.num_envs, features)
    updates = max(total_timesteps // (HORIZON * envs.num_envs), 1)
    for i in range(updates):
        for group in optimizer.param_groups:
            group["lr"] = LEARNING_RATE * (1 - i / updates)
        player.play(agent, rollout)
        update(agent, optimizer, rollout)
    return sum(player.finished) / max(len(player.finished), 1)


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
