"""Runners, one for each kind of Python env: Gymnasium envs, PettingZoo envs, vector envs."""
