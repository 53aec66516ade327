// pufferenv/drawing/segments.h - segments of a path or polygon, for a band of rows at a time.
//
// A path may have any number of segments, and nothing is allocated: those that touch a band of rows
// are gathered in an array of fixed size. If they do not fit, the band is halved; a band of one row
// is drawn in several rounds.
#ifndef PUF_SEGMENTS_H
#define PUF_SEGMENTS_H

#include "pufferenv/drawing/pixels.h"

enum { PUF_BAND = 32, PUF_SEGMENTS = 256 }; // rows; segments

// A straight edge in some direction. The part of a pixel on one side of it, as a function of the
// distance to the pixel's centre, rises along a parabola, a line and a parabola.
typedef struct PufEdge {
    float straight, reach; // distances up to which it is a line, and changes at all
    float slope, bend;     // of the line; of the parabolas
} PufEdge;

typedef struct PufSegment {
    float ax, ay, ux, uy;  // from a to a + u, pixels
    float length, inverse; // of u; 1 / length^2, 0 for a point
    float top, bottom;     // of the rows' centres that it may cover
    PufEdge edge;          // along u
} PufSegment;

typedef struct PufBounds {
    float x0, y0, x1, y1;
} PufBounds;

// -> the smallest rectangle around points (>= 1).
static inline PufBounds puf_bounds(const PufTarget *t, const PufWord *xy, uint32_t points) {
    PufBounds b = {1e9f, 1e9f, -1e9f, -1e9f};
    for (uint32_t i = 0; i < points; i++) {
        const float x = puf_pixel_x(t, xy[2 * i].f), y = puf_pixel_y(t, xy[2 * i + 1].f);
        b.x0 = puf_least(b.x0, x), b.x1 = puf_most(b.x1, x);
        b.y0 = puf_least(b.y0, y), b.y1 = puf_most(b.y1, y);
    }
    return b;
}
#endif
