"""Policies, PPO and the command line around pufferenv's rows. Importing it does no work."""
