"""Adapters of games to libraries that need torch (torchrl)."""
