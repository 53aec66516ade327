"""The documented import name of pufferenv.adapters.sb3."""

from pufferenv.adapters.sb3 import PufferVecEnv, make

__all__ = ["PufferVecEnv", "make"]
