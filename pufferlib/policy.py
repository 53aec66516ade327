"""The documented import name of what a network of one's own needs."""

from pufferlib.ops.output import Output
from pufferlib.policies.base import Policy, PolicySpec

__all__ = ["Output", "Policy", "PolicySpec"]
