"""The documented name of pufferenv.adapters.pettingzoo."""

from pufferenv.adapters.pettingzoo import PufferParallelEnv, env, parallel_env

__all__ = ["PufferParallelEnv", "env", "parallel_env"]
