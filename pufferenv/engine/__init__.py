"""The engine in C and its Cython layer: envs that step in threads, rows, logs."""

from pufferenv._installation import built_path

__path__[:0] = built_path("pufferenv.engine._engine", __path__)
