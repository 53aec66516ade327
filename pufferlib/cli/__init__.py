"""The command `puffer`."""
