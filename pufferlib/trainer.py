"""The documented import name of pufferlib.ppo.trainer."""

from pufferlib.ppo.trainer import Trainer

__all__ = ["Trainer"]
