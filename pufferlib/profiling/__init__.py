"""Profiling: the speed of a game or of training, and the limit that matrix products set."""
