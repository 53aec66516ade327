// pufferenv/drawing/fill.c - polygons; see pixels.h.
//
// In each row every edge adds, to each pixel, the area to the right of it within the pixel, with
// the sign of its direction, and to the next pixel what is left of its height. The running sum is
// the winding number, averaged over the pixel, which is the exact coverage of a simple polygon.
// Where edges cross within a pixel its coverage is that of the mean, which is not exact there.
#include "pufferenv/drawing/segments.h"

#include <math.h>
#include <string.h>

static const float LEVEL = 1e-20f; // pixels; what an edge of less height adds is nothing

typedef struct Polygon {
    const PufTarget *target;
    const PufWord *xy;
    uint32_t points;
    int x0, x1; // columns that it may cover
} Polygon;

// Fills `list` with edges that touch rows [y0, y1), beginning at edge *next, which moves on.
static uint32_t gather(const Polygon *p, float y0, float y1, uint32_t *next, PufSegment *list) {
    uint32_t count = 0, i = *next;
    for (; i < p->points && count < PUF_SEGMENTS; i++) {
        const PufWord *a = p->xy + 2 * i, *b = p->xy + 2 * (i + 1 < p->points ? i + 1 : 0);
        const float ay = puf_pixel_y(p->target, a[1].f), by = puf_pixel_y(p->target, b[1].f);
        if (fabsf(by - ay) < LEVEL) continue; // its slope may not be finite
        if (puf_least(ay, by) >= y1 || puf_most(ay, by) <= y0) continue;
        const float ax = puf_pixel_x(p->target, a[0].f), bx = puf_pixel_x(p->target, b[0].f);
        list[count++] = (PufSegment){.ax = ax, .ay = ay, .ux = bx - ax, .uy = by - ay};
    }
    *next = i;
    return count;
}

// Adds one edge to the sums (x1 - x0 + 1) of row y.
static void add_edge(const Polygon *p, const PufSegment *s, int y, float *sums) {
    const float down = s->uy > 0 ? 1 : -1;
    const float low = puf_least(s->ay, s->ay + s->uy), high = puf_most(s->ay, s->ay + s->uy);
    const float from = puf_most(low, (float)y), to = puf_least(high, (float)y + 1);
    if (to <= from) return;
    const float slope = s->ux / s->uy, left = (float)p->x0, limit = (float)(p->x1 - p->x0);
    float a = s->ax + slope * (from - s->ay) - left, b = s->ax + slope * (to - s->ay) - left;
    if (a > b) {
        const float swap = a;
        a = b, b = swap;
    }
    float height = (to - from) * down;
    if (b <= 0) { // left of the columns
        sums[0] += height;
        return;
    }
    if (a >= limit) return;
    const float per_pixel = b - a > 1e-6f ? height / (b - a) : 0;
    if (a < 0) sums[0] += -a * per_pixel, height += a * per_pixel, a = 0;
    if (b > limit) height -= (b - limit) * per_pixel, b = limit;
    const int first = (int)a, last = (int)puf_least(b, limit - 1);
    if (first >= last) {
        const float middle = (a + b) / 2 - (float)first;
        sums[first] += height * (1 - middle), sums[first + 1] += height * middle;
        return;
    }
    for (int x = first; x <= last; x++) {
        const float begin = puf_most(a, (float)x), end = puf_least(b, (float)x + 1);
        const float part = (end - begin) * per_pixel, middle = (begin + end) / 2 - (float)x;
        sums[x] += part * (1 - middle), sums[x + 1] += part * middle;
    }
}

// Draws rows [y0, y1), at most PUF_BAND. -> how many were drawn.
static int draw_band(const Polygon *p, int y0, int y1, const PufInk *ink) {
    PufSegment list[PUF_SEGMENTS];
    float sums[PUF_MOST_SIDE + 1];
    uint8_t cover[PUF_MOST_SIDE];
    const int width = p->x1 - p->x0;
    uint32_t next = 0, count = gather(p, (float)y0, (float)y1, &next, list);
    while (next < p->points && y1 - y0 > 1) {
        y1 = y0 + (y1 - y0) / 2, next = 0;
        count = gather(p, (float)y0, (float)y1, &next, list);
    }
    for (int y = y0; y < y1 && count; y++) {
        memset(sums, 0, (size_t)(width + 1) * sizeof(float));
        for (uint32_t k = 0; k < count; k++) add_edge(p, list + k, y, sums);
        while (next < p->points) { // only if this is the one row of the band
            count = gather(p, (float)y0, (float)y1, &next, list);
            for (uint32_t k = 0; k < count; k++) add_edge(p, list + k, y, sums);
        }
        float winding = 0;
        for (int x = 0; x < width; x++) {
            winding += sums[x];
            cover[x] = puf_byte(puf_least(fabsf(winding), 1));
        }
        puf_put_runs(p->target, y, p->x0, p->x1, cover, ink);
    }
    return y1 - y0;
}

void puf_draw_fill(const PufTarget *t, const PufWord *xy, uint32_t points, const PufInk *ink) {
    const PufBounds box = puf_bounds(t, xy, points);
    Polygon p = {.target = t, .xy = xy, .points = points};
    p.x0 = puf_floor_in(box.x0, t->x0, t->x1), p.x1 = puf_ceil_in(box.x1, t->x0, t->x1);
    int y = puf_floor_in(box.y0, t->y0, t->y1);
    const int end = puf_ceil_in(box.y1, t->y0, t->y1);
    if (p.x1 <= p.x0) return;
    while (y < end) y += draw_band(&p, y, end < y + PUF_BAND ? end : y + PUF_BAND, ink);
}
