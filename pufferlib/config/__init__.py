"""The options of a run, and how a config is resolved from defaults, files and flags."""
