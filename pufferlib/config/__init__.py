"""The options of a run, and how their layers are resolved."""
