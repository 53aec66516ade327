"""Adapters that give a game the interface of Gymnasium, PettingZoo, RLlib or stable-baselines3."""
