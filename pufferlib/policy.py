"""The documented import name of the classes that a user's own network needs."""

from pufferlib.ops.output import Output
from pufferlib.policies.base import Policy, PolicySpec

__all__ = ["Output", "Policy", "PolicySpec"]
