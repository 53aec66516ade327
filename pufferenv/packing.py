"""The documented import name of pufferenv.spaces."""

from pufferenv.spaces import ActionPacking, Packing

__all__ = ["ActionPacking", "Packing"]
