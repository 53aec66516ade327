"""The vector env as other libraries want it: Gymnasium, PettingZoo, RLlib, stable-baselines3."""
