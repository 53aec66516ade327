"""Policies, PPO and the command line, built on pufferenv. Importing it imports nothing else."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pufferenv import wrap

__all__ = ["wrap"]


def __getattr__(name: str) -> Any:
    if name != "wrap":
        raise AttributeError(f"module 'pufferlib' has no attribute {name!r}")
    from pufferenv import wrap

    return wrap
