"""Learn cartpole with stable-baselines3's PPO on our VecEnv.

    python examples/sb3_ppo.py [--total-timesteps 300000] [--num-envs 64] [--seed 1]

On one core, including learning, it takes 1.4 times as many steps per second as on
stable-baselines3's own DummyVecEnv of Gymnasium's CartPole-v1 (8.0 times SubprocVecEnv), and 2.6
times with 1,024 envs. Measured by `python bench/examples.py sb3 --processes` and `--envs 1024`;
docs/benchmarks.md describes the machine.
"""

from __future__ import annotations

import argparse

import torch
from stable_baselines3 import PPO
from stable_baselines3.common.vec_env import VecEnv

from pufferlib import sb3

HORIZON = 32  # steps of each env per update


def train(env: VecEnv, total_timesteps: int, seed: int) -> float:
    """Train in any VecEnv; return the mean return of the last (at most 100) episodes."""
    model = PPO(
        "MlpPolicy",
        env,
        n_steps=HORIZON,
        batch_size=env.num_envs * HORIZON // 4,
        n_epochs=4,
        learning_rate=lambda left: 2.5e-3 * left,
        seed=seed,
        device="cpu",
    )
    model.learn(total_timesteps)
    returns = [episode["r"] for episode in model.ep_info_buffer or []]
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
    env = sb3.make("cartpole", args.num_envs)
    print(f"mean return {train(env, args.total_timesteps, args.seed):.1f}")
    env.close()


if __name__ == "__main__":
    main()
