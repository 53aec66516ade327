"""Adapters: a game in the interfaces of libraries that need torch (torchrl)."""
