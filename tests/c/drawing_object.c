// tests/c/drawing_object.c - a game's drawing object, for programs that have its simulation as well.
#define PUF_DRAWING_OBJECT
#define PUF_SYMBOL pixel_spec
#include "pufferenv/contract/game.c"
