"""Backends, which run Python envs in the calling thread, in threads or in worker processes."""
