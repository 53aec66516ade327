"""The documented import name of the training defaults for external envs."""

from pufferlib.run.external_config import defaults

__all__ = ["defaults"]
