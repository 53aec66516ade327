"""Small trainers, and the batches that they collect."""

import torch

from pufferlib.config.options import PolicyOptions, TrainOptions, VecOptions
from pufferlib.ppo.trainer import Trainer

MORTAL = {"die": 0.05, "respawn": 0.5, "spawn": 0.2, "cut": 0.03, "shorter": 20, "absent": 0.2}


def make(game="probe", env=None, policy=None, num_envs=6, num_groups=1, **train):
    """Return a small trainer on one thread; probe's observations are normalized to order 1.

    In float32: `auto` measures on some CPUs whether bfloat16 pays, so that two trainers may differ.
    """
    defaults = {"horizon": 16, "threads": 1, "device": "cpu", "total_timesteps": 10**6}
    defaults["precision"] = "float32"
    if game == "probe":
        defaults |= {"norm_obs": True, "reward_scale": 1e-4}
    trainer = Trainer(
        game,
        env or {},
        VecOptions(num_envs=num_envs, num_threads=1, num_groups=num_groups),
        TrainOptions(**{**defaults, **train}),
        PolicyOptions(**{"hidden_size": 16, **(policy or {})}),
    )
    if game == "probe":
        norm = trainer.policy.norm
        norm.mean.copy_(torch.tensor([2.0**23, 0, 0, 0]))
        norm.scale.copy_(torch.tensor([2.0**-23, 0.25, 0.25, 0.05]))
    return trainer


def collect(trainer):
    """Fill a batch; return its rows' columns, each (B, H, ...)."""
    trainer._collect()
    rows = trainer.env.engine.batch()
    columns = {k: c for k, c in trainer.env.arrays.items() if k.startswith("pool_")}
    return {name: column[rows].copy() for name, column in columns.items()}
