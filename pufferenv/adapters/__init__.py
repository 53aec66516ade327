"""Adapters: a game in the interfaces of Gymnasium, PettingZoo, RLlib and stable-baselines3."""
