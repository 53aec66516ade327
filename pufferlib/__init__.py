"""Policies, PPO and the command line around pufferenv's rows. Importing it does no work."""

from pufferenv import built_path

__path__[:0] = built_path("pufferlib")
