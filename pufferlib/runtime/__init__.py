"""Recorded graphs, threads, cores and memory."""
