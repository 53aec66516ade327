"""The documented import name of the three tables of options in pufferlib.config.options."""

from pufferlib.config.options import PolicyOptions, TrainOptions, VecOptions

__all__ = ["PolicyOptions", "TrainOptions", "VecOptions"]
