"""Environments written in Python as games of the engine."""

from pufferenv._installation import built_path

__path__[:0] = built_path("pufferenv.external._external", __path__)
