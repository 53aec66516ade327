"""Backends: where Python envs run, in the calling thread, in threads or in worker processes."""
