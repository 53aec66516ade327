"""Policies, PPO and the command line around pufferenv's rows. Importing it does no work."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pufferenv import wrap

__all__ = ["wrap"]


def __getattr__(name: str) -> Any:
    if name != "wrap":
        raise AttributeError(f"module 'pufferlib' has no attribute {name!r}")
    from pufferenv import wrap

    return wrap
