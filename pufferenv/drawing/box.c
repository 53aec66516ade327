// pufferenv/drawing/box.c - rectangles with round corners, discs and rings; see pixels.h.
//
// Straight edges are exact: a pixel is covered by the part of its area that is inside. Coverage
// near a curved edge is 0.5 minus the distance from the pixel's centre to the edge, which is right
// for the area of the whole shape as long as its radius is not much smaller than a pixel:
//   disc    drawn with sqrt(r^2 - 1/12), it has the area of radius r; below SMALL_DISC it is drawn
//           as a square of that area
//   corner  drawn with a greater radius, it cuts off as much as with radius r; below SMALL_CORNER
//           what it cuts off is taken from the one pixel at the corner
#include "pufferenv/drawing/pixels.h"

#include <math.h>

static const float SMALL_DISC = 0.75f, SMALL_CORNER = 0.5f; // pixels
static const float CORNER_CUT = 0.2146018f;                 // 1 - pi / 4: of a square of side 1
static const float CORNER_EXCESS = 0.06544985f;             // pi / 48, pixels of area
static const float SQRT_PI = 1.7724539f;

// Blends pixels x of rows [y0, y1).
static void put_column(const PufTarget *t, int y0, int y1, int x, const PufInk *ink, float part) {
    const uint32_t a = puf_over_255(ink->alpha * puf_byte(puf_most(part, 0)));
    for (int y = y0; y < y1; y++) puf_put_pixel(t, y, x, ink, a);
}

// A rectangle; `cut`: what its corners lack, in pixels of area each.
static void sharp_box(const PufTarget *t, float x0, float y0, float x1, float y1, float cut,
                      const PufInk *ink) {
    const int left = puf_floor_in(x0, t->x0, t->x1), right = puf_ceil_in(x1, t->x0, t->x1) - 1;
    const int top = puf_floor_in(y0, t->y0, t->y1), end = puf_ceil_in(y1, t->y0, t->y1);
    if (right < left) return;
    // Coverage of the first and last column; the others are full.
    const float first = puf_least(x1, (float)left + 1) - puf_most(x0, (float)left);
    const float last = puf_least(x1, (float)right + 1) - puf_most(x0, (float)right);
    const int at_left = (float)left <= x0, at_right = (float)right + 1 >= x1;
    for (int y = top, next; y < end; y = next) {
        const float high = puf_least(y1, (float)y + 1) - puf_most(y0, (float)y);
        const float lost = cut * (float)(((float)y <= y0) + ((float)y + 1 >= y1));
        float a = first * high - (at_left ? lost : 0), b = last * high - (at_right ? lost : 0);
        if (left == right) a -= at_right ? lost : 0;
        // All rows but the first and the last are covered alike.
        next = y > top && y + 2 < end ? end - 1 : y + 1;
        put_column(t, y, next, left, ink, a);
        if (right > left) {
            puf_put_rows(t, y, next, left + 1, right, ink, puf_byte(high));
            put_column(t, y, next, right, ink, b);
        }
    }
}

// Covers pixels [x0, x1) whose centres are `high` above or below the centre of an arc at cx.
static void cover_arc(int x0, int x1, float cx, float high, float radius, uint8_t *cover) {
    for (int x = x0; x < x1; x++) {
        const float wide = (float)x + 0.5f - cx;
        const float part = radius + 0.5f - sqrtf(wide * wide + high * high);
        cover[x - x0] = puf_byte(puf_clamp_(part, 0, 1));
    }
}

// The coverage of one row of a box with round corners.
typedef struct RoundRow {
    int begin, a, b, end; // columns; between a and b all are covered alike
    uint8_t between;
    uint8_t left[PUF_MOST_SIDE], right[PUF_MOST_SIDE]; // (a - begin), (end - b)
} RoundRow;

// Covers a row that is `high` above the upper or below the lower centres of the corners, which are
// at columns `left` and `right`; high < r + 0.5.
static void cover_round(const PufTarget *t, float left, float right, float r, float high,
                        RoundRow *row) {
    const float outer = r + 0.5f, inner = r - 0.5f;
    const float out = sqrtf(outer * outer - high * high);
    const float in = high < inner ? sqrtf(inner * inner - high * high) : 0;
    row->begin = puf_ceil_in(left - out - 0.5f, t->x0, t->x1);
    row->end = puf_floor_in(right + out + 0.5f, t->x0, t->x1);
    row->a = puf_ceil_in(left - in - 0.5f, row->begin, row->end);
    row->b = puf_floor_in(right + in + 0.5f, row->a, row->end);
    row->between = puf_byte(puf_clamp_(outer - high, 0, 1));
    cover_arc(row->begin, row->a, left, high, r, row->left);
    cover_arc(row->b, row->end, right, high, r, row->right);
}

// A box whose corners are arcs of radius r around points that are `inset` from its edges.
static void round_box(const PufTarget *t, float x0, float y0, float x1, float y1, float inset,
                      float r, const PufInk *ink) {
    const float top = y0 + inset, bottom = y1 - inset, outer = r + 0.5f;
    const int begin = puf_floor_in(top - outer, t->y0, t->y1);
    const int end = puf_ceil_in(bottom + outer, t->y0, t->y1);
    RoundRow row;
    float before = -1; // the row's `high`
    for (int y = begin; y < end; y++) {
        const float cy = (float)y + 0.5f;
        const float high = puf_most(puf_most(top - cy, cy - bottom), 0);
        if (high >= outer) continue;
        if (high != before) cover_round(t, x0 + inset, x1 - inset, r, high, &row);
        before = high;
        puf_put_cover(t, y, row.begin, row.a, row.left, ink);
        puf_put_span(t, y, row.a, row.b, ink, row.between);
        puf_put_cover(t, y, row.b, row.end, row.right, ink);
    }
}

void puf_draw_box(const PufTarget *t, float x0, float y0, float x1, float y1, float radius,
                  const PufInk *ink) {
    const float half = puf_least(x1 - x0, y1 - y0) / 2, r = puf_least(radius, half);
    if (r < SMALL_CORNER) {
        sharp_box(t, x0, y0, x1, y1, CORNER_CUT * r * r, ink);
    } else if (2 * r == x1 - x0 && 2 * r == y1 - y0) {
        puf_draw_disc(t, (x0 + x1) / 2, (y0 + y1) / 2, r, ink);
    } else { // a greater radius makes up for CORNER_EXCESS; if there is no room, a shorter box does
        const float wanted = r * r + CORNER_EXCESS / CORNER_CUT;
        const float drawn = puf_least(sqrtf(wanted), half);
        const float shorter = CORNER_CUT * (wanted - drawn * drawn) / half;
        const float dx = x1 - x0 > y1 - y0 ? shorter : 0, dy = shorter - dx;
        round_box(t, x0 + dx, y0 + dy, x1 - dx, y1 - dy, drawn, drawn, ink);
    }
}

// -> the radius with which distances give the area of a disc of radius r.
static float drawn_radius(float r) { return sqrtf(r * r - 1 / 12.0f); }

void puf_draw_disc(const PufTarget *t, float x, float y, float radius, const PufInk *ink) {
    if (radius < SMALL_DISC) {
        const float half = radius * SQRT_PI / 2;
        sharp_box(t, x - half, y - half, x + half, y + half, 0, ink);
    } else {
        round_box(t, x, y, x, y, 0, drawn_radius(radius), ink);
    }
}

// -> coverage of a pixel whose centre is at (x, y) from the centre of a disc.
static float disc_part(float x, float y, float radius) {
    if (radius < SMALL_DISC) { // a square, as in puf_draw_disc
        const float half = radius * SQRT_PI / 2, most = puf_least(1, 2 * half);
        return puf_clamp_(half + 0.5f - fabsf(x), 0, most) *
               puf_clamp_(half + 0.5f - fabsf(y), 0, most);
    }
    return puf_clamp_(drawn_radius(radius) + 0.5f - sqrtf(x * x + y * y), 0, 1);
}

void puf_draw_ring(const PufTarget *t, float x, float y, float inner, float outer,
                   const PufInk *ink) {
    const float reach = outer + 1;
    const int begin = puf_floor_in(y - reach, t->y0, t->y1);
    const int end = puf_ceil_in(y + reach, t->y0, t->y1);
    uint8_t cover[PUF_MOST_SIDE];
    for (int row = begin; row < end; row++) {
        const float high = (float)row + 0.5f - y, hole = inner - 1;
        const float out = reach * reach - high * high, in = hole * hole - high * high;
        if (out <= 0) continue;
        const float wide = sqrtf(out), empty = hole > 0 && in > 0 ? sqrtf(in) : 0;
        const int x0 = puf_floor_in(x - wide, t->x0, t->x1);
        const int x1 = puf_ceil_in(x + wide, t->x0, t->x1);
        const int a = puf_ceil_in(x - empty, x0, x1), b = puf_floor_in(x + empty, a, x1);
        for (int part = 0; part < 2; part++) { // left and right of the hole
            const int from = part ? b : x0, to = part ? x1 : a;
            for (int i = from; i < to; i++) {
                const float px = (float)i + 0.5f - x;
                const float cut = inner > 0 ? disc_part(px, high, inner) : 0;
                cover[i - from] = puf_byte(puf_most(disc_part(px, high, outer) - cut, 0));
            }
            puf_put_runs(t, row, from, to, cover, ink);
        }
    }
}
