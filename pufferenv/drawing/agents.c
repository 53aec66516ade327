// pufferenv/drawing/agents.c - finds the shapes that show an agent; see list.h.
#include <math.h>

#include "pufferenv/drawing/list.h"
#include "pufferenv/drawing/raster.h"

// The rectangle around a text, whose letters are up to ASCENT of its size high.
static const float ASCENT = 0.76f, DESCENT = 0.24f;

static float least(float a, float b) { return a < b ? a : b; }
static float most(float a, float b) { return a > b ? a : b; }

static void text_box(const PufWord *a, float box[4]) {
    const float width = puf_text_width((const uint8_t *)(a + 5), a[4].u) * a[2].f;
    box[0] = a[0].f - width * (a[3].f + 1) / 2, box[1] = a[1].f - ASCENT * a[2].f;
    box[2] = box[0] + width, box[3] = a[1].f + DESCENT * a[2].f;
}

static void points_box(const PufWord *xy, uint32_t points, float reach, float box[4]) {
    box[0] = box[1] = INFINITY, box[2] = box[3] = -INFINITY;
    for (uint32_t i = 0; i < points; i++) {
        box[0] = least(box[0], xy[2 * i].f - reach),
        box[1] = least(box[1], xy[2 * i + 1].f - reach);
        box[2] = most(box[2], xy[2 * i].f + reach), box[3] = most(box[3], xy[2 * i + 1].f + reach);
    }
}

// Finds the left, top, right and bottom of a shape.
static void box_of(const PufWord *shape, float box[4]) {
    const uint32_t op = shape->u & 255, words = shape->u >> 8;
    const PufWord *a = shape + 2;
    if (op == PUF_OP_RECT) {
        box[0] = a[0].f, box[1] = a[1].f, box[2] = a[0].f + a[2].f, box[3] = a[1].f + a[3].f;
    } else if (op == PUF_OP_DISC || op == PUF_OP_RING) {
        points_box(a, 1, op == PUF_OP_RING ? a[2].f + a[3].f : a[2].f, box);
    } else if (op == PUF_OP_LINE) {
        points_box(a + 1, (words - 3) / 2, a[0].f / 2, box);
    } else if (op == PUF_OP_FILL) {
        points_box(a, (words - 2) / 2, 0, box);
    } else {
        text_box(a, box);
    }
}

// -> the distance from a place to the line between two points.
static float line_distance(const PufWord *from, const PufWord *to, float x, float y) {
    const float ux = to[0].f - from[0].f, uy = to[1].f - from[1].f;
    const float px = x - from[0].f, py = y - from[1].f, square = ux * ux + uy * uy;
    float at = square > 0 ? (px * ux + py * uy) / square : 0;
    at = at < 0 ? 0 : at > 1 ? 1 : at;
    const float dx = px - at * ux, dy = py - at * uy;
    return sqrtf(dx * dx + dy * dy);
}

static int on_path(const PufWord *xy, uint32_t points, float reach, float x, float y) {
    for (uint32_t i = 0; i < points; i++)
        if (line_distance(xy + 2 * i, xy + 2 * (i + 1 < points ? i + 1 : i), x, y) <= reach)
            return 1;
    return 0;
}

static int in_polygon(const PufWord *xy, uint32_t points, float reach, float x, float y) {
    int winding = 0;
    for (uint32_t i = 0; i < points; i++) {
        const PufWord *a = xy + 2 * i, *b = xy + 2 * (i + 1 < points ? i + 1 : 0);
        if (reach > 0 && line_distance(a, b, x, y) <= reach) return 1;
        if ((a[1].f <= y) == (b[1].f <= y)) continue;
        const float at = a[0].f + (y - a[1].f) * (b[0].f - a[0].f) / (b[1].f - a[1].f);
        if (at <= x) winding += a[1].f < b[1].f ? 1 : -1;
    }
    return winding != 0;
}

// -> whether a place is within `reach` of a shape. The corners of rectangles count as square.
static int contains(const PufWord *shape, float x, float y, float reach) {
    const uint32_t op = shape->u & 255, words = shape->u >> 8;
    const PufWord *a = shape + 2;
    float box[4];
    box_of(shape, box);
    if (x < box[0] - reach || x > box[2] + reach || y < box[1] - reach || y > box[3] + reach)
        return 0;
    if (op == PUF_OP_DISC || op == PUF_OP_RING) {
        const float dx = x - a[0].f, dy = y - a[1].f, far = sqrtf(dx * dx + dy * dy);
        if (op == PUF_OP_DISC) return far <= a[2].f + reach;
        return far >= a[2].f - reach && far <= a[2].f + a[3].f + reach;
    }
    if (op == PUF_OP_LINE) return on_path(a + 1, (words - 3) / 2, a[0].f / 2 + reach, x, y);
    if (op == PUF_OP_FILL) return in_polygon(a, (words - 2) / 2, reach, x, y);
    return 1;
}

int32_t puf_agent_at(const PufWord *words, uint32_t count, float x, float y, float reach) {
    int32_t agent = -1;
    PufCursor cursor = puf_cursor(words, count);
    for (const PufWord *shape; (shape = puf_next_shape(&cursor));)
        if (cursor.agent >= 0 && contains(shape, x, y, reach)) agent = cursor.agent;
    return agent;
}

int puf_outline(const PufWord *words, uint32_t count, int32_t agent, float outline[4]) {
    float whole[4] = {INFINITY, INFINITY, -INFINITY, -INFINITY}, box[4];
    PufCursor cursor = puf_cursor(words, count);
    for (const PufWord *shape; (shape = puf_next_shape(&cursor));) {
        if (cursor.agent != agent) continue;
        box_of(shape, box);
        whole[0] = least(whole[0], box[0]), whole[1] = least(whole[1], box[1]);
        whole[2] = most(whole[2], box[2]), whole[3] = most(whole[3], box[3]);
    }
    if (whole[2] < whole[0]) return 0;
    outline[0] = whole[0], outline[1] = whole[1];
    outline[2] = whole[2] - whole[0], outline[3] = whole[3] - whole[1];
    return 1;
}
