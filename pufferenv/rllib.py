"""The documented name of pufferenv.adapters.rllib."""

from pufferenv.adapters.rllib import PufferMultiAgentEnv

__all__ = ["PufferMultiAgentEnv"]
