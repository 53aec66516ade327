// pufferenv/drawing/pixels.h - blends a colour into pixels; private to the rasterizer.
//
// A shape finds out row by row which part of each pixel it covers, 0 to 255, and passes spans of
// equal coverage or arrays of it to the functions below, which know the image's layout.
#ifndef PUF_PIXELS_H
#define PUF_PIXELS_H

#include "pufferenv/drawing/raster.h"

typedef enum {
    PUF_PLANES, // neighbours in a row are neighbours in memory: grey, or one plane per channel
    PUF_RGB,    // 3 bytes per pixel
    PUF_RGBA,   // 4 bytes per pixel
    PUF_STRIDED // anything else
} PufLayout;

// An image, the part of it that is drawn into, and the place of the world in it.
typedef struct PufTarget {
    PufImage image;
    PufLayout layout;
    int x0, y0, x1, y1;  // the part, half-open
    float scale, dx, dy; // pixels per world unit; place of the world's origin
} PufTarget;

typedef struct PufInk {
    uint8_t value[4]; // of each channel of the image
    uint32_t alpha;   // 0 to 255
} PufInk;

PufInk puf_ink(const PufTarget *t, uint32_t colour);

// Blends pixels [x0, x1) of rows [y0, y1), all with the same coverage.
void puf_put_rows(const PufTarget *t, int y0, int y1, int x0, int x1, const PufInk *ink,
                  uint32_t cover);
// Blends pixels [x0, x1) of row y: all with the same coverage, each with its own (x1 - x0), and
// the same for an array that has long runs of 0 and 255.
void puf_put_span(const PufTarget *t, int y, int x0, int x1, const PufInk *ink, uint32_t cover);
void puf_put_cover(const PufTarget *t, int y, int x0, int x1, const uint8_t *cover,
                   const PufInk *ink);
void puf_put_runs(const PufTarget *t, int y, int x0, int x1, const uint8_t *cover,
                  const PufInk *ink);

// --- shapes, in pixels --------------------------------------------------------------------------
// Corners x0, y0, x1, y1 and their radius; a disc; a ring between two radii.
void puf_draw_box(const PufTarget *t, float x0, float y0, float x1, float y1, float radius,
                  const PufInk *ink);
void puf_draw_disc(const PufTarget *t, float x, float y, float radius, const PufInk *ink);
void puf_draw_ring(const PufTarget *t, float x, float y, float inner, float outer,
                   const PufInk *ink);
// Points in world units, x and y of each.
void puf_draw_path(const PufTarget *t, const PufWord *xy, uint32_t points, float width,
                   const PufInk *ink);
void puf_draw_fill(const PufTarget *t, const PufWord *xy, uint32_t points, const PufInk *ink);
void puf_draw_text(const PufTarget *t, float x, float y, float size, float align,
                   const uint8_t *bytes, uint32_t count, const PufInk *ink);

// --- small functions ----------------------------------------------------------------------------
static inline float puf_clamp_(float v, float low, float high) {
    return v < low ? low : v > high ? high : v;
}
static inline float puf_least(float a, float b) { return a < b ? a : b; }
static inline float puf_most(float a, float b) { return a > b ? a : b; }

// floor and ceil of v, limited to [low, high], with 0 <= low. NaN gives low.
static inline int puf_floor_in(float v, int low, int high) {
    return !(v > (float)low) ? low : v >= (float)high ? high : (int)v;
}
static inline int puf_ceil_in(float v, int low, int high) {
    const int floor = puf_floor_in(v, low, high);
    return floor < high && v > (float)floor ? floor + 1 : floor;
}
// -> a / 255, rounded, for a up to 255 * 255.
static inline uint32_t puf_over_255(uint32_t a) { return (a + 128 + ((a + 128) >> 8)) >> 8; }
// -> 0 to 255 for a part of a pixel.
static inline uint8_t puf_byte(float part) { return (uint8_t)(part * 255 + 0.5f); }

// A place in the world in pixels; far outside of any image it is moved nearer.
static inline float puf_pixel(float v) { return puf_clamp_(v, -1e6f, 1e6f); }
static inline float puf_pixel_x(const PufTarget *t, float x) {
    return puf_pixel(x * t->scale + t->dx);
}
static inline float puf_pixel_y(const PufTarget *t, float y) {
    return puf_pixel(y * t->scale + t->dy);
}

// Blends one pixel with weight `a`, 0 to 255.
static inline void puf_put_pixel(const PufTarget *t, int y, int x, const PufInk *ink, uint32_t a) {
    const PufImage *m = &t->image;
    uint8_t *p = m->pixels + (size_t)y * m->row_stride + (size_t)x * m->pixel_stride;
    for (int k = 0; k < m->channels; k++, p += m->channel_stride)
        *p = (uint8_t)puf_over_255(*p * (255 - a) + ink->value[k] * a);
}

#endif
