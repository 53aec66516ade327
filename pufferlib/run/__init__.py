"""A run on disk: session, directory, checkpoints, evaluation, loggers, output."""
