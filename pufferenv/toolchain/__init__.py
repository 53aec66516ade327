"""The build: its targets, and the incremental steps that make them."""
