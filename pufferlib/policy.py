"""The documented import name of what a network of one's own needs."""

from pufferlib.policies.base import Output, Policy, PolicySpec

__all__ = ["Output", "Policy", "PolicySpec"]
