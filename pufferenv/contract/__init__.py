"""The contract between games and the engine, in C: spec.h, and game.c, which compiles a game."""
