"""The documented import name of the training defaults for external envs."""

from pufferlib.policies.observation_kinds import defaults

__all__ = ["defaults"]
