"""The games. Each is one header, with its training defaults in a TOML file beside it."""
