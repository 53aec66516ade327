"""The games: one header each, its training defaults in a TOML file beside it."""
