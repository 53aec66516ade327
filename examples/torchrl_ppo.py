"""Learn cartpole with torchrl's PPO on our EnvBase.

    python examples/torchrl_ppo.py [--total-timesteps 300000] [--num-envs 64] [--seed 1]

On one core, including learning, it takes 4.4 times as many steps per second as on torchrl's own
SerialEnv of Gymnasium's CartPole-v1, and 25 times with 1,024 envs. Measured by
`python bench/examples.py torchrl` and `--envs 1024`; docs/benchmarks.md describes the machine.
"""

from __future__ import annotations

import argparse
from collections import deque

import torch
from tensordict.nn import TensorDictModule
from torch import nn
from torch.distributions import Categorical
from torchrl.collectors import Collector
from torchrl.envs import EnvBase, RewardSum, TransformedEnv
from torchrl.modules import ProbabilisticActor, ValueOperator
from torchrl.objectives import ClipPPOLoss
from torchrl.objectives.value import GAE

from pufferlib import torchrl

HORIZON = 32  # steps of each env per update
EPOCHS, MINIBATCHES = 4, 4
LEARNING_RATE = 2.5e-3  # at the start; decays to 0


def mlp(inputs: int, outputs: int) -> nn.Module:
    return nn.Sequential(
        nn.Linear(inputs, 64), nn.Tanh(), nn.Linear(64, 64), nn.Tanh(), nn.Linear(64, outputs)
    )


def train(env: EnvBase, total_timesteps: int, seed: int) -> float:
    """Train in any batched EnvBase with `observation` and a discrete `action`.

    Return the mean return of the last (at most 100) episodes.
    """
    torch.manual_seed(seed)
    env.set_seed(seed)
    features, choices = env.observation_spec["observation"].shape[-1], env.action_spec.space.n
    actor = ProbabilisticActor(
        TensorDictModule(mlp(features, choices), ["observation"], ["logits"]),
        in_keys=["logits"],
        distribution_class=Categorical,
        return_log_prob=True,
    )
    critic = ValueOperator(mlp(features, 1), in_keys=["observation"])
    gae = GAE(gamma=0.99, lmbda=0.95, value_network=critic)
    loss = ClipPPOLoss(
        actor,
        critic,
        entropy_coeff=0.01,
        critic_coeff=0.5,
        loss_critic_type="l2",
        normalize_advantage=True,
    )
    optimizer = torch.optim.Adam(loss.parameters(), eps=1e-5)
    batch = env.numel() * HORIZON
    updates = max(total_timesteps // batch, 1)
    collector = Collector(
        TransformedEnv(env, RewardSum()),
        actor,
        frames_per_batch=batch,
        total_frames=updates * batch,
        auto_register_policy_transforms=True,
    )
    returns: deque[float] = deque(maxlen=100)
    for update, data in enumerate(collector):
        for group in optimizer.param_groups:
            group["lr"] = LEARNING_RATE * (1 - update / updates)
        returns.extend(data["next", "episode_reward"][data["next", "done"]].tolist())
        with torch.no_grad():
            gae(data)
        steps = data.reshape(-1)
        for _ in range(EPOCHS):
            for index in torch.randperm(len(steps)).chunk(MINIBATCHES):
                losses = loss(steps[index])
                optimizer.zero_grad()
                (
                    losses["loss_objective"] + losses["loss_critic"] + losses["loss_entropy"]
                ).backward()
                nn.utils.clip_grad_norm_(loss.parameters(), 0.5)
                optimizer.step()
    return sum(returns) / max(len(returns), 1)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--total-timesteps", type=int, default=300_000)
    parser.add_argument("--num-envs", type=int, default=64)
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    torch.set_num_threads(1)  # more threads are slower for networks this small
    env = torchrl.make("cartpole", args.num_envs)
    print(f"mean return {train(env, args.total_timesteps, args.seed):.1f}")


if __name__ == "__main__":
    main()
