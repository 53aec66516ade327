// pufferenv/drawing/path.c - lines with round ends and joints; see pixels.h.
//
// A row's coverage is the greatest of all segments', and it is blended once, so that a translucent
// path has no dark joints. Beside a segment it is exact: the area of the pixel between two straight
// edges. Beyond its ends it is the width, up to 1, and falls to 0 within 0.5 pixels of the edge.
// Round ends drawn this way have too much area; they are drawn in by as much as makes up for it.
#include "pufferenv/drawing/segments.h"

#include <math.h>
#include <string.h>

static const float PI = 3.14159265f;
static const float FLAT = 1e-3f;            // pixels; a segment that rises less is horizontal
enum { LANES = 8 };                         // pixels that are covered at a time
static const float FARTHEST_EDGE = 0.7072f; // pixels; the reach of a diagonal one

typedef struct Path {
    const PufTarget *target;
    const PufWord *xy;
    uint32_t points;
    float half;    // half of the width, pixels
    float shorter; // pixels that its ends are drawn in
    int x0, x1;    // columns that it may cover
} Path;

// -> how much shorter a line must be at each end, with half its width `h`: the area of half a disc
// as it is drawn, less that of half a disc of radius h, per width of the line.
static float end_excess(float h) {
    if (h <= 0) return 0;
    if (h >= 0.5f) return PI / 48 / h;
    const float a = h + 0.5f, b = 0.5f - h;
    const float drawn = PI * (h * b * b + a * a * a / 6 - (a * b * b / 2 - b * b * b / 3));
    return (drawn - PI * h * h / 2) / (2 * h);
}

// -> the edge along a direction of length 1.
static PufEdge edge_along(float ux, float uy) {
    const float x = fabsf(ux), y = fabsf(uy), more = puf_most(x, y), less = puf_least(x, y);
    if (less < FLAT) return (PufEdge){.straight = 0.5f, .reach = 0.5f, .slope = 1, .bend = 0};
    return (PufEdge){.straight = (more - less) / 2,
                     .reach = (more + less) / 2,
                     .slope = 1 / more,
                     .bend = 1 / (2 * more * less)};
}

// -> the part of a pixel that is inside of an edge, whose centre is `in` pixels inside.
static inline float part_inside(const PufEdge *e, float in) {
    const float far = fabsf(in), left = puf_most(e->reach - far, 0);
    const float line = 0.5f + far * e->slope, curve = 1 - left * left * e->bend;
    const float more = far <= e->straight ? line : curve, less = 1 - more;
    return in < 0 ? less : more;
}

static PufSegment segment_between(float ax, float ay, float bx, float by) {
    PufSegment s = {.ax = ax, .ay = ay, .ux = bx - ax, .uy = by - ay};
    const float square = s.ux * s.ux + s.uy * s.uy;
    s.length = sqrtf(square), s.inverse = square > 1e-12f ? 1 / square : 0;
    const float per_length = square > 1e-12f ? 1 / s.length : 0;
    s.edge = edge_along(s.ux * per_length, s.uy * per_length);
    return s;
}

// Moves the first point of a segment along it.
static void shorten(float *ax, float *ay, float bx, float by, float by_pixels) {
    const float dx = bx - *ax, dy = by - *ay, length = sqrtf(dx * dx + dy * dy);
    const float part = length > by_pixels ? by_pixels / length : 1;
    *ax += dx * part, *ay += dy * part;
}

// Fills `list` with segments that touch rows [y0, y1), beginning at segment *next, which moves on.
// Segments in one line along an axis become one.
static uint32_t gather(const Path *p, float y0, float y1, uint32_t *next, PufSegment *list) {
    const PufTarget *t = p->target;
    const uint32_t last = p->points - 1;
    const float reach = p->half + FARTHEST_EDGE;
    uint32_t count = 0, i = *next;
    float ax = puf_pixel_x(t, p->xy[2 * i].f), ay = puf_pixel_y(t, p->xy[2 * i + 1].f);
    while (i < last && count < PUF_SEGMENTS) {
        const uint32_t begin = i++;
        float bx = puf_pixel_x(t, p->xy[2 * i].f), by = puf_pixel_y(t, p->xy[2 * i + 1].f);
        while (i < last) {
            const float cx = puf_pixel_x(t, p->xy[2 * i + 2].f);
            const float cy = puf_pixel_y(t, p->xy[2 * i + 3].f);
            if (!(ax == bx && bx == cx && (cy - by) * (by - ay) > 0) &&
                !(ay == by && by == cy && (cx - bx) * (bx - ax) > 0))
                break;
            bx = cx, by = cy, i++;
        }
        const float next_ax = bx, next_ay = by;
        if (puf_least(ay, by) - reach < y1 && puf_most(ay, by) + reach > y0) {
            if (begin == 0) shorten(&ax, &ay, bx, by, p->shorter);
            if (i == last) shorten(&bx, &by, ax, ay, p->shorter);
            list[count] = segment_between(ax, ay, bx, by);
            list[count].top = puf_least(ay, by) - reach;
            list[count++].bottom = puf_most(ay, by) + reach;
        }
        ax = next_ax, ay = next_ay;
    }
    *next = i;
    return count;
}

// Finds where the row at height qy above a's crosses the points nearer than r to a segment: from
// *low to *high, relative to a. -> whether it does.
static int crossing(const PufSegment *s, float r, float qy, float *low, float *high) {
    const float square = r * r, qb = qy - s->uy;
    if (s->ux == 0 && qy * qb <= 0) { // an upright one, between its ends
        *low = -r, *high = r;
        return 1;
    }
    *low = 1e9f, *high = -1e9f;
    if (qy * qy < square) {
        const float e = sqrtf(square - qy * qy);
        *low = -e, *high = e;
    }
    if (qb * qb < square) {
        const float e = sqrtf(square - qb * qb);
        *low = puf_least(*low, s->ux - e), *high = puf_most(*high, s->ux + e);
    }
    const float rise = fabsf(s->uy);
    if (rise > FLAT) { // between the ends: within r of the line, and not beyond an end
        const float middle = qy * s->ux / s->uy, wide = r * s->length / rise;
        float from = middle - wide, to = middle + wide;
        if (fabsf(s->ux) > FLAT) {
            const float at_a = -qy * s->uy / s->ux, at_b = s->ux - qb * s->uy / s->ux;
            from = puf_most(from, puf_least(at_a, at_b)), to = puf_least(to, puf_most(at_a, at_b));
        } else if (qy * s->uy < 0 || qb * s->uy > 0) {
            return *low < *high;
        }
        if (from < to) *low = puf_least(*low, from), *high = puf_most(*high, to);
    }
    return *low < *high;
}

// Writes the coverage, 0 to 255, of LANES pixels from x on whose row is qy above a.
static inline void cover_lanes(const PufSegment *s, float half, float qy, int x, int32_t *cover) {
    const float most = puf_least(1, 2 * half), outer = half + 0.5f;
    const float per_length = s->length * s->inverse;
    const float point = s->inverse == 0; // every pixel is beyond the ends of a point
    const PufEdge edge = s->edge;
    for (int i = 0; i < LANES; i++) {
        const float px = (float)(x + i) + 0.5f - s->ax;
        const float along = (px * s->ux + qy * s->uy) * s->inverse - point;
        const float across = fabsf(px * s->uy - qy * s->ux) * per_length;
        const float beside = part_inside(&edge, half - across) + part_inside(&edge, half + across);
        const float inside = puf_most(beside - 1, 0), at = puf_clamp_(along, 0, 1);
        const float ex = px - at * s->ux, ey = qy - at * s->uy;
        const float beyond = puf_clamp_(outer - sqrtf(ex * ex + ey * ey), 0, most);
        cover[i] = (int32_t)((at == along ? inside : beyond) * 255 + 0.5f);
    }
}

// Raises the coverage of pixels [x0, x1) of a row to what a segment gives.
static void cover_pixels(const PufSegment *s, float half, float qy, int x0, int x1,
                         uint8_t *cover) {
    int32_t lanes[LANES];
    for (int x = x0; x < x1; x += LANES) {
        cover_lanes(s, half, qy, x, lanes);
        for (int i = 0; i < LANES && x + i < x1; i++)
            cover[x + i] = (uint8_t)(lanes[i] > cover[x + i] ? lanes[i] : cover[x + i]);
    }
}

// A row that is being covered; outside of [x0, x1) its coverage is 0.
typedef struct Row {
    int y, x0, x1;
    uint8_t cover[PUF_MOST_SIDE]; // of pixel x, at x
} Row;

// Raises the coverage of a row.
static void cover_row(const Path *p, const PufSegment *s, Row *row) {
    const float cy = (float)row->y + 0.5f, qy = cy - s->ay, reach = s->edge.reach;
    float low, high;
    if (cy < s->top || cy > s->bottom || !crossing(s, p->half + reach, qy, &low, &high)) return;
    const int x0 = puf_ceil_in(s->ax + low - 0.5f, p->x0, p->x1);
    const int x1 = puf_floor_in(s->ax + high + 0.5f, x0, p->x1);
    int a = x1, b = x1; // fully covered between them
    if (p->half > reach && crossing(s, p->half - reach, qy, &low, &high)) {
        a = puf_ceil_in(s->ax + low - 0.5f, x0, x1);
        b = puf_floor_in(s->ax + high + 0.5f, a, x1);
    }
    cover_pixels(s, p->half, qy, x0, a, row->cover);
    memset(row->cover + a, 255, (size_t)(b - a));
    cover_pixels(s, p->half, qy, b, x1, row->cover);
    row->x0 = x0 < row->x0 ? x0 : row->x0, row->x1 = x1 > row->x1 ? x1 : row->x1;
}

// Draws rows [y0, y1), at most PUF_BAND. -> how many were drawn.
static int draw_band(const Path *p, int y0, int y1, const PufInk *ink) {
    PufSegment list[PUF_SEGMENTS];
    uint32_t next = 0, count = gather(p, (float)y0, (float)y1, &next, list);
    while (next < p->points - 1 && y1 - y0 > 1) {
        y1 = y0 + (y1 - y0) / 2, next = 0;
        count = gather(p, (float)y0, (float)y1, &next, list);
    }
    Row row;
    memset(row.cover + p->x0, 0, (size_t)(p->x1 - p->x0));
    for (row.y = y0; row.y < y1; row.y++) {
        row.x0 = p->x1, row.x1 = p->x0;
        for (uint32_t k = 0; k < count; k++) cover_row(p, list + k, &row);
        while (next < p->points - 1) { // only if this is the one row of the band
            count = gather(p, (float)y0, (float)y1, &next, list);
            for (uint32_t k = 0; k < count; k++) cover_row(p, list + k, &row);
        }
        if (row.x1 <= row.x0) continue;
        puf_put_runs(p->target, row.y, row.x0, row.x1, row.cover + row.x0, ink);
        memset(row.cover + row.x0, 0, (size_t)(row.x1 - row.x0));
    }
    return y1 - y0;
}

// -> the length of a path, or `limit` if it is longer.
static float length_up_to(const Path *p, float limit) {
    float sum = 0;
    for (uint32_t i = 0; i + 1 < p->points && sum < limit; i++) {
        const float dx = (p->xy[2 * i + 2].f - p->xy[2 * i].f) * p->target->scale;
        const float dy = (p->xy[2 * i + 3].f - p->xy[2 * i + 1].f) * p->target->scale;
        sum += sqrtf(dx * dx + dy * dy);
    }
    return puf_least(sum, limit);
}

void puf_draw_path(const PufTarget *t, const PufWord *xy, uint32_t points, float width,
                   const PufInk *ink) {
    const float half = width / 2, reach = half + FARTHEST_EDGE;
    const PufBounds box = puf_bounds(t, xy, points);
    Path p = {.target = t, .xy = xy, .points = points, .half = half};
    p.shorter = end_excess(half);
    const float length = length_up_to(&p, 2 * p.shorter);
    if (length < 2 * p.shorter || points == 1) { // a disc of its area
        const float radius = sqrtf(half * half + length * width / PI);
        puf_draw_disc(t, (box.x0 + box.x1) / 2, (box.y0 + box.y1) / 2, radius, ink);
        return;
    }
    const PufWord *end = xy + 2 * (points - 1);
    if (xy[0].f == end[0].f && xy[1].f == end[1].f) p.shorter = 0; // it has no ends
    p.x0 = puf_floor_in(box.x0 - reach, t->x0, t->x1);
    p.x1 = puf_ceil_in(box.x1 + reach, t->x0, t->x1);
    int y = puf_floor_in(box.y0 - reach, t->y0, t->y1);
    const int y_end = puf_ceil_in(box.y1 + reach, t->y0, t->y1);
    if (p.x1 <= p.x0 || half <= 0) return;
    while (y < y_end) y += draw_band(&p, y, y_end < y + PUF_BAND ? y_end : y + PUF_BAND, ink);
}
