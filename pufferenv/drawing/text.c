// pufferenv/drawing/text.c - text from an atlas of signed distances; see pixels.h.
//
// The distance to a glyph's outline is interpolated between the pixels of the atlas; half a pixel
// on either side of the outline coverage goes from 0 to 1. Where a pixel is larger than what the
// distances reach, in very small text, several samples of it are averaged.
#include "pufferenv/drawing/pixels.h"

static const PufFont *font = NULL;

static const float FINE = 5; // pixels per em; smaller text is sampled more than once per pixel
enum {
    MOST_SAMPLES = 8,   // along each axis; smaller text than this allows is left out
    MOST_COLUMNS = 256, // of samples that are drawn at a time
};

int puf_set_font(const PufFont *given) {
    for (int i = 0; i < PUF_GLYPHS; i++) {
        const PufGlyph *g = given->glyphs + i;
        if (g->x < 0 || g->y < 0 || g->width < 0 || g->height < 0 || g->width > PUF_MOST_GLYPH ||
            g->width == 1 || (g->width && !g->height) || g->width > given->width - g->x ||
            g->height > given->height - g->y)
            return -1;
    }
    if (!(given->em > 0 && given->reach > 0)) return -1;
    font = given;
    return 0;
}

static const PufGlyph *glyph_of(uint8_t byte) {
    return font->glyphs + (byte < 32 || byte > 126 ? '?' - 32 : byte - 32);
}

float puf_text_width(const uint8_t *bytes, uint32_t count) {
    float width = 0;
    for (uint32_t i = 0; i < count && font; i++) width += glyph_of(bytes[i])->advance;
    return width;
}

// Samples of a glyph: columns in a row of it, each between pixel `index` of the atlas and the next.
typedef struct Columns {
    int count;
    int32_t index[MOST_COLUMNS];
    float part[MOST_COLUMNS]; // 0: at index, 1: at the next
} Columns;

// Chooses the columns of pixels [x0, x1), `samples` in each; pixel 0 of the glyph is at `left`.
static void choose_columns(Columns *c, const PufGlyph *g, int x0, int x1, int samples, float left,
                           float step) {
    const float part = 1 / (float)samples, most = (float)(g->width - 1) - 0.001f;
    c->count = (x1 - x0) * samples;
    for (int i = 0; i < c->count; i++) {
        const float x = (float)x0 + ((float)i + 0.5f) * part;
        const float u = puf_clamp_((x - left) * step - 0.5f, 0, most);
        c->index[i] = (int)u, c->part[i] = u - (float)c->index[i];
    }
}

// Writes the coverage (count,) of samples at height v, in pixels of the atlas; `slope`: coverage per
// unit of distance.
static void cover_samples(const Columns *c, const PufGlyph *g, float v, float slope, float *cover) {
    const float at = puf_clamp_(v - 0.5f, 0, (float)(g->height - 1));
    const int above = (int)at, below = above + 1 < g->height ? above + 1 : above;
    const float low = at - (float)above;
    const uint8_t *a = font->distances + (size_t)(g->y + above) * (size_t)font->width + g->x;
    const uint8_t *b = font->distances + (size_t)(g->y + below) * (size_t)font->width + g->x;
    for (int i = 0; i < c->count; i++) {
        const int k = c->index[i];
        const float left = (float)a[k] + low * (float)(b[k] - a[k]);
        const float right = (float)a[k + 1] + low * (float)(b[k + 1] - a[k + 1]);
        const float distance = left + c->part[i] * (right - left);
        cover[i] = puf_clamp_(0.5f + (distance - 128) * slope, 0, 1);
    }
}

// Draws the columns of pixels [x0, x1), and rows [y0, y1), of a glyph whose pixel 0 is at `top`.
static void draw_columns(const PufTarget *t, const PufGlyph *g, const Columns *c, int x0, int x1,
                         int y0, int y1, float top, float step, int samples, const PufInk *ink) {
    const float slope = font->reach / 127 / step * (float)samples;
    const float part = 1 / (float)samples, weight = part * part;
    float parts[MOST_COLUMNS], sums[MOST_COLUMNS];
    uint8_t cover[MOST_COLUMNS];
    for (int y = y0; y < y1; y++) {
        const int n = x1 - x0;
        for (int k = 0; k < samples; k++) {
            const float v = ((float)y + ((float)k + 0.5f) * part - top) * step;
            cover_samples(c, g, v, slope, k || samples > 1 ? parts : sums);
            for (int i = 0; i < n && samples > 1; i++) {
                float sum = k ? sums[i] : 0;
                for (int m = 0; m < samples; m++) sum += weight * parts[i * samples + m];
                sums[i] = sum;
            }
        }
        for (int i = 0; i < n; i++) cover[i] = puf_byte(sums[i]);
        puf_put_cover(t, y, x0, x1, cover, ink);
    }
}

// Draws a glyph whose pen is at (x, y); `em` pixels.
static void draw_glyph(const PufTarget *t, const PufGlyph *g, float x, float y, float em,
                       int samples, const PufInk *ink) {
    const float step = font->em / em, left = x + g->left * em, top = y + g->top * em;
    // Distances beyond half a sample from the outline give no coverage.
    const float unused = puf_most(font->reach / step - 0.5f / (float)samples, 0);
    const int x0 = puf_floor_in(left + unused, t->x0, t->x1);
    const int x1 = puf_ceil_in(left + (float)g->width / step - unused, x0, t->x1);
    const int y0 = puf_floor_in(top + unused, t->y0, t->y1);
    const int y1 = puf_ceil_in(top + (float)g->height / step - unused, y0, t->y1);
    const int most = MOST_COLUMNS / samples;
    Columns columns;
    for (int begin = x0; begin < x1; begin += most) {
        const int end = x1 - begin < most ? x1 : begin + most;
        choose_columns(&columns, g, begin, end, samples, left, step);
        draw_columns(t, g, &columns, begin, end, y0, y1, top, step, samples, ink);
    }
}

void puf_draw_text(const PufTarget *t, float x, float y, float size, float align,
                   const uint8_t *bytes, uint32_t count, const PufInk *ink) {
    if (!font || !(size > FINE / MOST_SAMPLES)) return;
    const int samples = size >= FINE ? 1 : puf_ceil_in(FINE / size, 1, MOST_SAMPLES);
    float pen = x - puf_text_width(bytes, count) * size * (align + 1) / 2;
    for (uint32_t i = 0; i < count; i++) {
        const PufGlyph *g = glyph_of(bytes[i]);
        if (g->width && pen < (float)t->x1 + size) draw_glyph(t, g, pen, y, size, samples, ink);
        pen += g->advance * size;
    }
}
