"""Values of the `done` column: how a step ended for its agent (PufDone of contract/spec.h)."""

LIVE, TERMINAL, TRUNCATED = 0, 1, 2
