"""What a step was to its agent, as the `done` column holds it: PufDone of pufferenv/spec.h."""

LIVE, TERMINAL, TRUNCATED = 0, 1, 2
