"""Runners: each steps one kind of Python env: Gymnasium envs, PettingZoo envs, vector envs."""
