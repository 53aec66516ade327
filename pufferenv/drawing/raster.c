// pufferenv/drawing/raster.c - a display list into pixels; see raster.h.
//
// Every shape is drawn row by row: first the coverage of each pixel of the row, 0 to 255, from the
// distance between the pixel's centre and the shape, then one blend of the row.
#include "pufferenv/drawing/raster.h"

#include <math.h>
#include <stddef.h>

static const PufFont *font = NULL;
void puf_set_font(const PufFont *given) { font = given; }

typedef struct Target {
    const PufImage *image;
    float scale, dx, dy; // pixels per world unit; place of the world's origin
} Target;

static inline float clamp(float v, float low, float high) {
    return v < low ? low : v > high ? high : v;
}
static inline int most(int a, int b) { return a > b ? a : b; }
static inline int least(int a, int b) { return a < b ? a : b; }

static uint8_t channel_of(const PufImage *m, uint32_t colour, int k) {
    const uint32_t r = colour >> 24, g = colour >> 16 & 255, b = colour >> 8 & 255;
    if (m->channels == 1) return (uint8_t)((77 * r + 150 * g + 29 * b + 128) >> 8);
    return (uint8_t)(k == 0 ? r : k == 1 ? g : k == 2 ? b : 255);
}

// Blends a colour into pixels [x0, x1) of row y with coverage `cover` (x1 - x0).
static void blend_row(const PufImage *m, int y, int x0, int x1, const uint8_t *cover,
                      uint32_t colour) {
    const uint32_t alpha = colour & 255;
    for (int k = 0; k < m->channels; k++) {
        uint8_t *p = m->pixels + (size_t)y * m->row_stride + (size_t)x0 * m->pixel_stride +
                     (size_t)k * m->channel_stride;
        const int32_t value = channel_of(m, colour, k);
        for (int x = x0; x < x1; x++, p += m->pixel_stride) {
            const uint32_t a = alpha * cover[x - x0];
            const int32_t part = (int32_t)((a + 128 + (a >> 8)) >> 8);
            const int32_t d = (value - *p) * part;
            *p = (uint8_t)(*p + ((d + 128 + (d >> 8)) >> 8));
        }
    }
}

// A box with round corners of radius r around (cx, cy); hole > 0: a ring, `hole` wide.
static void box(const Target *t, float cx, float cy, float hx, float hy, float r, float hole,
                uint32_t colour) {
    const PufImage *m = t->image;
    const int y0 = most(0, (int)floorf(cy - hy - 0.5f));
    const int y1 = least(m->height, (int)ceilf(cy + hy + 0.5f));
    const int x0 = most(0, (int)floorf(cx - hx - 0.5f));
    const int x1 = least(m->width, (int)ceilf(cx + hx + 0.5f));
    uint8_t cover[PUF_MOST_SIDE];
    if (x1 <= x0) return;
    for (int y = y0; y < y1; y++) {
        const float py = fabsf((float)y + 0.5f - cy);
        for (int x = x0; x < x1; x++) {
            const float px = fabsf((float)x + 0.5f - cx);
            float part;
            if (r < 0.01f && hole <= 0) {
                part = clamp(hx + 0.5f - px, 0, clamp(2 * hx, 0, 1)) *
                       clamp(hy + 0.5f - py, 0, clamp(2 * hy, 0, 1));
            } else {
                const float qx = px - (hx - r), qy = py - (hy - r);
                const float ox = qx > 0 ? qx : 0, oy = qy > 0 ? qy : 0;
                const float inside = qx > qy ? qx : qy;
                const float d = sqrtf(ox * ox + oy * oy) + (inside < 0 ? inside : 0) - r;
                part = clamp(0.5f - d, 0, 1);
                if (hole > 0) part *= clamp(0.5f + d + hole, 0, 1);
            }
            cover[x - x0] = (uint8_t)(part * 255 + 0.5f);
        }
        blend_row(m, y, x0, x1, cover, colour);
    }
}

static int finite(const PufWord *words, uint32_t count) {
    for (uint32_t i = 0; i < count; i++)
        if (!(words[i].f > -1e9f && words[i].f < 1e9f)) return 0;
    return 1;
}

static void draw(const Target *t, const PufWord *w) {
    const uint32_t op = w->u & 255, colour = w[1].u;
    const PufWord *a = w + 2;
    const float s = t->scale, x = a[0].f * s + t->dx, y = a[1].f * s + t->dy;
    if (op == PUF_OP_RECT) {
        const float hx = a[2].f * s / 2, hy = a[3].f * s / 2;
        box(t, x + hx, y + hy, hx, hy, fminf(a[4].f * s, fminf(hx, hy)), 0, colour);
    } else if (op == PUF_OP_DISC) {
        box(t, x, y, a[2].f * s, a[2].f * s, a[2].f * s, 0, colour);
    } else if (op == PUF_OP_RING) {
        const float r = (a[2].f + a[3].f) * s;
        box(t, x, y, r, r, r, a[3].f * s, colour);
    }
}

int puf_raster(const PufWord *words, const float view[4], const PufImage *image) {
    const float sx = (float)image->width / view[2], sy = (float)image->height / view[3];
    Target t = {.image = image, .scale = sx < sy ? sx : sy};
    t.dx = ((float)image->width - view[2] * t.scale) / 2 - view[0] * t.scale;
    t.dy = ((float)image->height - view[3] * t.scale) / 2 - view[1] * t.scale;
    int status = 0;
    box(&t, (float)image->width / 2, (float)image->height / 2, (float)image->width,
        (float)image->height, 0, 0, PUF_NIGHT);
    for (const PufWord *w = words; (w->u & 255) != PUF_OP_END; w += w->u >> 8) {
        const uint32_t op = w->u & 255, count = w->u >> 8;
        if (op == PUF_OP_KEY || op == PUF_OP_AGENT) continue;
        const uint32_t floats = op == PUF_OP_TEXT ? 4 : count - 2;
        if (finite(w + 2, floats)) draw(&t, w);
        else status = -1;
    }
    return status;
}
