"""Profiling: how fast a game or a training runs, and what its matrix products allow."""
