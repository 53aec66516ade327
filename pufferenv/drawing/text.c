// pufferenv/drawing/text.c - text from an atlas of signed distances; see pixels.h.
//
// The distance to a glyph's outline is interpolated between the pixels of the atlas; half a pixel
// on either side of the outline coverage goes from 0 to 1. Where a pixel is larger than what the
// distances reach, in very small text, several samples of it are averaged.
#include "pufferenv/drawing/pixels.h"

static const PufFont *font = NULL;

static const float FINE = 5; // pixels per em; smaller text is sampled more than once per pixel
enum { MOST_SAMPLES = 8 };   // along each axis; smaller text than this allows is left out

int puf_set_font(const PufFont *given) {
    for (int i = 0; i < PUF_GLYPHS; i++) {
        const PufGlyph *g = given->glyphs + i;
        if (g->x < 0 || g->y < 0 || g->width < 0 || g->height < 0 || g->width > PUF_MOST_GLYPH ||
            g->width > given->width - g->x || g->height > given->height - g->y)
            return -1;
    }
    if (!(given->em > 0 && given->reach > 0)) return -1;
    font = given;
    return 0;
}

static const PufGlyph *glyph_of(uint8_t byte) {
    return font->glyphs + (byte < 32 || byte > 126 ? '?' - 32 : byte - 32);
}

// Writes the distances of a glyph at height v, in pixels of the atlas, between two rows of it.
static void distance_row(const PufGlyph *g, float v, float *row) {
    const float at = puf_clamp_(v - 0.5f, 0, (float)(g->height - 1));
    const int above = (int)at, below = above + 1 < g->height ? above + 1 : above;
    const float part = at - (float)above;
    const uint8_t *a = font->distances + (size_t)(g->y + above) * (size_t)font->width + g->x;
    const uint8_t *b = font->distances + (size_t)(g->y + below) * (size_t)font->width + g->x;
    for (int i = 0; i < g->width; i++) row[i] = (float)a[i] + part * (float)(b[i] - a[i]);
    row[g->width] = row[g->width - 1];
}

// Adds to the coverage of pixels [x0, x1) that of a row of distances whose pixel 0 is at `left`;
// `step` pixels of the atlas per pixel, `slope` coverage per unit of distance.
static void add_samples(const PufGlyph *g, const float *row, float left, float step, float slope,
                        float weight, int x0, int x1, float *sums) {
    const float most = (float)(g->width - 1);
    for (int x = x0; x < x1; x++) {
        const float u = puf_clamp_(((float)x - left) * step - 0.5f, 0, most);
        const int i = (int)u;
        const float distance = row[i] + (u - (float)i) * (row[i + 1] - row[i]);
        sums[x - x0] += weight * puf_clamp_(0.5f + (distance - 128) * slope, 0, 1);
    }
}

// Draws a glyph whose pen is at (x, y); `em` pixels.
static void draw_glyph(const PufTarget *t, const PufGlyph *g, float x, float y, float em,
                       int samples, const PufInk *ink) {
    const float step = font->em / em, slope = font->reach / 127 / step * (float)samples;
    const float left = x + g->left * em, top = y + g->top * em;
    // Distances beyond half a pixel from the outline give no coverage.
    const float unused = samples > 1 ? 0 : puf_most(font->reach / step - 1, 0);
    const int x0 = puf_floor_in(left + unused, t->x0, t->x1);
    const int x1 = puf_ceil_in(left + (float)g->width / step - unused, x0, t->x1);
    const int y0 = puf_floor_in(top + unused, t->y0, t->y1);
    const int y1 = puf_ceil_in(top + (float)g->height / step - unused, y0, t->y1);
    const float part = 1 / (float)samples;
    float row[PUF_MOST_GLYPH + 1], sums[PUF_MOST_SIDE];
    uint8_t cover[PUF_MOST_SIDE];
    for (int py = y0; py < y1; py++) {
        for (int i = 0; i < x1 - x0; i++) sums[i] = 0;
        for (int k = 0; k < samples * samples; k++) {
            const float sy = ((float)(k / samples) + 0.5f) * part;
            const float sx = ((float)(k % samples) + 0.5f) * part;
            distance_row(g, ((float)py + sy - top) * step, row);
            add_samples(g, row, left - sx, step, slope, part * part, x0, x1, sums);
        }
        for (int i = 0; i < x1 - x0; i++) cover[i] = puf_byte(sums[i]);
        puf_put_runs(t, py, x0, x1, cover, ink);
    }
}

void puf_draw_text(const PufTarget *t, float x, float y, float size, float align,
                   const uint8_t *bytes, uint32_t count, const PufInk *ink) {
    if (!font || !(size > FINE / MOST_SAMPLES)) return;
    const int samples = size >= FINE ? 1 : puf_ceil_in(FINE / size, 1, MOST_SAMPLES);
    float width = 0;
    for (uint32_t i = 0; i < count; i++) width += glyph_of(bytes[i])->advance * size;
    float pen = x - width * (align + 1) / 2;
    for (uint32_t i = 0; i < count; i++) {
        const PufGlyph *g = glyph_of(bytes[i]);
        if (g->width && pen < (float)t->x1 + size) draw_glyph(t, g, pen, y, size, samples, ink);
        pen += g->advance * size;
    }
}
