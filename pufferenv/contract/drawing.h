// pufferenv/contract/drawing.h - what a game's drawing object exports. C17, libc only.
//
// game.c makes a second object of a header with PUF_VIEW, x.draw.so, if PUF_DRAWING_OBJECT is
// defined. It exports three symbols:
//   puf_drawing   a PufDrawing: env_draw and the macros that go with it
//   puf_spec      the game as it is seen: a PufSpec whose observation is a picture of the game
//   puf_painter   must be set before an env of that puf_spec is made
// The simulation's object has none of this, so drawing cannot change a simulation.
#ifndef PUF_DRAWING_H
#define PUF_DRAWING_H

#include "pufferenv/contract/spec.h"
#include "pufferenv/draw.h"

enum { PUF_MOST_WORDS = 1 << 24 }; // of a display list, 64 MB

// Pixels that are drawn into; not more than what the strides reach is written.
typedef struct PufImage {
    uint8_t *pixels;
    int32_t width, height, channels; // 1: grey, 3: RGB, 4: RGBA (opaque)
    // Bytes from a pixel to the one below it, to the one on its right, and between its channels.
    size_t row_stride, pixel_stride, channel_stride;
} PufImage;

// What the drawing object needs for pictures: the rasterizer, which is in another module.
typedef struct PufPainter {
    // Draws a list of `count` words, without its END, into the whole image: `view` (x, y, width,
    // height) fills it as far as its shape allows, in the middle. Any thread may call it. -> 0, or
    // -1 if the list is not valid: shapes that are wrong are left out.
    int (*raster)(const PufWord *words, uint32_t count, const float view[4], const PufImage *image);
} PufPainter;

// One row of PUF_KEYS.
typedef struct PufKeyBinding {
    const char *action; // name of a head or of an axis
    double choice;      // of the head, or value of the axis
    const char *keys, *label;
} PufKeyBinding;

// The fields that the pixel game's config has after the game's own, as rows of PUF_CONFIG.
#define PUF_PIXEL_FIELDS(X) \
    X(int32_t, pixels, 0, 0, 1024, \
      "side of a picture of the game that is observed in place of its own observation; 0: none") \
    X(int32_t, pixel_channels, 1, 1, 3, "channels of the observed picture: 1 grey, 3 RGB") \
    X(int32_t, frame_stack, 1, 1, 16, "pictures of the last steps that are observed, oldest first")

#define PUF_FARTHEST 1e9f // world units: every place, and sizes up to it; 1 / it: the smallest view

// Returns whether a view is finite and not empty.
static inline int puf_view_is_legal(const float view[4]) {
    for (int k = 0; k < 4; k++)
        if (!(view[k] >= (k < 2 ? -PUF_FARTHEST : 1 / PUF_FARTHEST) && view[k] <= PUF_FARTHEST))
            return 0;
    return 1;
}

typedef struct PufDrawing {
    uint32_t abi, config_size; // PUF_ABI; bytes of the game's own Config
    const char *name, *source; // as the game's PufSpec has them
    const PufKeyBinding *keys; // (num_keys)
    uint32_t num_keys;
    double (*pace)(const void *config);              // steps per second for a person
    void (*view)(const void *config, float view[4]); // x, y, width, height of the world
    // Writes the list of one env: of the game, or of the pixel game. The caller has set words, room,
    // agent, view, alive and shared, and count and lost to 0.
    void (*draw)(const void *env, PufCanvas *canvas);
} PufDrawing;

#endif
