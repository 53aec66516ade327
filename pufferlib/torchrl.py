"""The documented import name of pufferlib.adapters.torchrl."""

from pufferlib.adapters.torchrl import PufferTorchEnv, make

__all__ = ["PufferTorchEnv", "make"]
