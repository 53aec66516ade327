// pufferenv/drawing/pixels.c - blends a colour into pixels; see pixels.h.
//
// A blend is p * (255 - a) + value * a, divided by 255 and rounded. It fits into 16 bits, so that
// compilers make vectors of it. Packed pixels are treated as bytes with a repeating pattern.
#include "pufferenv/drawing/pixels.h"

#include <string.h>

enum {
    PATTERN = 48, // bytes, a multiple of 3 and 4
    CHUNK = 16,   // pixels of RGB in them
    FEW = 4,      // pixels that are faster one by one
};

PufInk puf_ink(const PufTarget *t, uint32_t colour) {
    const uint32_t r = colour >> 24, g = colour >> 16 & 255, b = colour >> 8 & 255;
    PufInk ink = {.value = {(uint8_t)r, (uint8_t)g, (uint8_t)b, 255}, .alpha = colour & 255};
    if (t->image.channels == 1) ink.value[0] = (uint8_t)((77 * r + 150 * g + 29 * b + 128) >> 8);
    return ink;
}

static inline uint8_t *at(const PufTarget *t, int y, int x) {
    const PufImage *m = &t->image;
    return m->pixels + (size_t)y * m->row_stride + (size_t)x * m->pixel_stride;
}

// Sets rows of `bytes` bytes from p on to repeated pixels.
static void fill_pattern(uint8_t *p, size_t rows, size_t stride, size_t bytes, const PufInk *ink,
                         size_t channels) {
    uint8_t pattern[PATTERN];
    for (size_t i = 0; i < PATTERN; i += channels) memcpy(pattern + i, ink->value, channels);
    for (size_t y = 0; y < rows; y++, p += stride) {
        size_t i = 0;
        for (; i + PATTERN <= bytes; i += PATTERN) memcpy(p + i, pattern, PATTERN);
        for (size_t k = 0; i < bytes; i++, k++) p[i] = pattern[k];
    }
}

static inline uint8_t blended(uint8_t p, uint16_t keep, uint16_t add) {
    const uint16_t sum = (uint16_t)(p * keep + add);
    return (uint8_t)((uint16_t)(sum + (sum >> 8)) >> 8);
}

// The same with rows that are blended.
static void blend_pattern(uint8_t *p, size_t rows, size_t stride, size_t bytes, const PufInk *ink,
                          size_t channels, uint32_t a) {
    uint16_t add[PATTERN];
    const uint16_t keep = (uint16_t)(255 - a);
    for (size_t i = 0; i < PATTERN; i += channels)
        for (size_t k = 0; k < channels; k++) add[i + k] = (uint16_t)(ink->value[k] * a + 128);
    for (size_t y = 0; y < rows; y++, p += stride) {
        size_t i = 0;
        for (; i + PATTERN <= bytes; i += PATTERN)
            for (size_t k = 0; k < PATTERN; k++) p[i + k] = blended(p[i + k], keep, add[k]);
        for (size_t k = 0; i < bytes; i++, k++) p[i] = blended(p[i], keep, add[k]);
    }
}

// (n,) bytes in memory, blended with one value and one weight.
static void blend_bytes(uint8_t *p, size_t n, uint32_t value, uint32_t a) {
    const uint16_t add = (uint16_t)(value * a + 128), keep = (uint16_t)(255 - a);
    for (size_t i = 0; i < n; i++) p[i] = blended(p[i], keep, add);
}

void puf_put_rows(const PufTarget *t, int y0, int y1, int x0, int x1, const PufInk *ink,
                  uint32_t cover) {
    const PufImage *m = &t->image;
    const uint32_t a = puf_over_255(ink->alpha * cover);
    if (a == 0 || x1 <= x0 || y1 <= y0) return;
    const size_t rows = (size_t)(y1 - y0), width = (size_t)(x1 - x0), stride = m->row_stride;
    uint8_t *p = at(t, y0, x0);
    if (t->layout == PUF_PLANES) {
        for (size_t y = 0; y < rows; y++)
            for (int k = 0; k < m->channels; k++) {
                uint8_t *row = p + y * stride + (size_t)k * m->channel_stride;
                if (a == 255) memset(row, ink->value[k], width);
                else blend_bytes(row, width, ink->value[k], a);
            }
    } else if (t->layout == PUF_STRIDED || width <= FEW) {
        for (int y = y0; y < y1; y++)
            for (int x = x0; x < x1; x++) puf_put_pixel(t, y, x, ink, a);
    } else if (a == 255) {
        fill_pattern(p, rows, stride, width * m->pixel_stride, ink, m->pixel_stride);
    } else {
        blend_pattern(p, rows, stride, width * m->pixel_stride, ink, m->pixel_stride, a);
    }
}

void puf_put_span(const PufTarget *t, int y, int x0, int x1, const PufInk *ink, uint32_t cover) {
    puf_put_rows(t, y, y + 1, x0, x1, ink, cover);
}

// (n,) bytes in memory, each blended with its own weight.
static void blend_weights(uint8_t *p, size_t n, const uint8_t *weight, uint32_t value) {
    for (size_t i = 0; i < n; i++) {
        const uint16_t a = weight[i];
        const uint16_t sum = (uint16_t)(p[i] * (255 - a) + value * a + 128);
        p[i] = (uint8_t)((uint16_t)(sum + (sum >> 8)) >> 8);
    }
}

// Blends n <= CHUNK pixels of RGB, in vectors of CHUNK pixels.
static void blend_rgb(uint8_t *p, size_t n, const uint8_t *weight, const PufInk *ink) {
    uint8_t wide[PATTERN], value[PATTERN], pixels[PATTERN];
    memcpy(pixels, p, 3 * n);
    for (size_t i = 0; i < CHUNK; i++)
        for (size_t k = 0; k < 3; k++)
            wide[3 * i + k] = weight[i], value[3 * i + k] = ink->value[k];
    for (size_t i = 0; i < PATTERN; i++) {
        const uint16_t a = wide[i];
        const uint16_t sum = (uint16_t)(pixels[i] * (255 - a) + value[i] * a + 128);
        pixels[i] = (uint8_t)((uint16_t)(sum + (sum >> 8)) >> 8);
    }
    memcpy(p, pixels, 3 * n);
}

// Blends n <= CHUNK pixels, `weight` (CHUNK).
static void blend_chunk(const PufTarget *t, int y, int x, size_t n, const uint8_t *weight,
                        const PufInk *ink) {
    const PufImage *m = &t->image;
    uint8_t *p = at(t, y, x);
    if (t->layout == PUF_PLANES) {
        for (int k = 0; k < m->channels; k++, p += m->channel_stride)
            blend_weights(p, n, weight, ink->value[k]);
    } else if (t->layout == PUF_RGB && n > FEW) {
        blend_rgb(p, n, weight, ink);
    } else {
        for (size_t i = 0; i < n; i++)
            if (weight[i]) puf_put_pixel(t, y, x + (int)i, ink, weight[i]);
    }
}

void puf_put_cover(const PufTarget *t, int y, int x0, int x1, const uint8_t *cover,
                   const PufInk *ink) {
    uint8_t weight[CHUNK] = {0};
    for (int x = x0; x < x1; x += CHUNK) {
        const int n = x1 - x < CHUNK ? x1 - x : CHUNK;
        for (int i = 0; i < n; i++)
            weight[i] = (uint8_t)puf_over_255(ink->alpha * cover[x - x0 + i]);
        blend_chunk(t, y, x, (size_t)n, weight, ink);
    }
}

// -> the end of a run that begins at i: of bytes `value`, 8 at a time.
static int run_end(const uint8_t *cover, int i, int n, uint8_t value) {
    const uint64_t all = value * 0x0101010101010101u;
    for (uint64_t word; i + 8 <= n; i += 8) {
        memcpy(&word, cover + i, 8);
        if (word != all) break;
    }
    while (i < n && cover[i] == value) i++;
    return i;
}

void puf_put_runs(const PufTarget *t, int y, int x0, int x1, const uint8_t *cover,
                  const PufInk *ink) {
    const int n = x1 - x0;
    for (int i = 0; i < n;) {
        int end = i;
        if (cover[i] == 0) {
            i = run_end(cover, i, n, 0);
        } else if (cover[i] == 255) {
            end = run_end(cover, i, n, 255);
            puf_put_span(t, y, x0 + i, x0 + end, ink, 255);
            i = end;
        } else {
            while (end < n && cover[end] != 0 && cover[end] != 255) end++;
            puf_put_cover(t, y, x0 + i, x0 + end, cover + i, ink);
            i = end;
        }
    }
}
