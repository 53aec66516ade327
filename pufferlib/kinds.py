"""The documented import name of the training defaults that suit a task."""

from pufferlib.run.defaults import defaults

__all__ = ["defaults"]
