// pufferenv/drawing/raster.c - walks a display list and draws each shape of it; see raster.h.
#include "pufferenv/drawing/list.h"
#include "pufferenv/drawing/pixels.h"

#include <math.h>

// Draws a shape of the thing `key`. Text that belongs to nothing that moves stands on whole pixels,
// which is sharper.
static void draw(const PufTarget *t, const PufWord *w, uint32_t key) {
    const uint32_t op = w->u & 255, words = w->u >> 8;
    const PufWord *a = w + 2;
    const PufInk ink = puf_ink(t, w[1].u);
    if (ink.alpha == 0) return;
    const float s = t->scale, x = puf_pixel_x(t, a[0].f), y = puf_pixel_y(t, a[1].f);
    if (op == PUF_OP_RECT) {
        const float x1 = puf_pixel_x(t, a[0].f + a[2].f), y1 = puf_pixel_y(t, a[1].f + a[3].f);
        puf_draw_box(t, x, y, x1, y1, puf_pixel(a[4].f * s), &ink);
    } else if (op == PUF_OP_DISC) {
        puf_draw_disc(t, x, y, puf_pixel(a[2].f * s), &ink);
    } else if (op == PUF_OP_RING) {
        puf_draw_ring(t, x, y, puf_pixel(a[2].f * s), puf_pixel((a[2].f + a[3].f) * s), &ink);
    } else if (op == PUF_OP_LINE) {
        puf_draw_path(t, a + 1, (words - 3) / 2, puf_pixel(a[0].f * s), &ink);
    } else if (op == PUF_OP_FILL) {
        puf_draw_fill(t, a, (words - 2) / 2, &ink);
    } else if (op == PUF_OP_TEXT) {
        const float base = key == 0 ? floorf(y + 0.5f) : y;
        puf_draw_text(t, x, base, puf_pixel(a[2].f * s), a[3].f, (const uint8_t *)(a + 5), a[4].u,
                      &ink);
    }
}

static PufLayout layout_of(const PufImage *m) {
    if (m->pixel_stride == 1) return PUF_PLANES;
    if (m->pixel_stride == (size_t)m->channels && m->channel_stride == 1)
        return m->channels == 3 ? PUF_RGB : m->channels == 4 ? PUF_RGBA : PUF_STRIDED;
    return PUF_STRIDED;
}

// Describes where the view lies in an image: in the middle, from a whole pixel on. -> 0, or -1.
static int place(PufTarget *t, const float view[4], const PufImage *image) {
    const int w = image->width, h = image->height;
    if (w < 1 || h < 1 || w > PUF_MOST_SIDE || h > PUF_MOST_SIDE || !image->pixels) return -1;
    if (image->channels != 1 && image->channels != 3 && image->channels != 4) return -1;
    if (!puf_view_is_legal(view)) return -1;
    const float scale = puf_least((float)w / view[2], (float)h / view[3]);
    const int x0 = puf_floor_in(((float)w - view[2] * scale) / 2 + 0.5f, 0, w);
    const int y0 = puf_floor_in(((float)h - view[3] * scale) / 2 + 0.5f, 0, h);
    *t = (PufTarget){.image = *image, .layout = layout_of(image), .scale = scale};
    t->dx = (float)x0 - view[0] * scale, t->dy = (float)y0 - view[1] * scale;
    t->x0 = x0, t->y0 = y0;
    t->x1 = puf_ceil_in((float)x0 + view[2] * scale - 0.01f, x0, w);
    t->y1 = puf_ceil_in((float)y0 + view[3] * scale - 0.01f, y0, h);
    return 0;
}

// -> whether a command paints the whole image, so that nothing before it is seen.
static int paints_all(const PufTarget *t, const PufWord *w, uint32_t left) {
    if (puf_check_command(w, left) || (w->u & 255) != PUF_OP_RECT) return 0;
    const PufWord *a = w + 2;
    const int whole = t->x0 == 0 && t->y0 == 0 && t->x1 == t->image.width &&
                      t->y1 == t->image.height && (w[1].u & 255) == 255 && a[4].f == 0;
    return whole && puf_pixel_x(t, a[0].f) <= 0 && puf_pixel_y(t, a[1].f) <= 0 &&
           puf_pixel_x(t, a[0].f + a[2].f) >= (float)t->x1 &&
           puf_pixel_y(t, a[1].f + a[3].f) >= (float)t->y1;
}

static void clear(const PufTarget *t) {
    PufTarget whole = *t;
    whole.x0 = whole.y0 = 0, whole.x1 = t->image.width, whole.y1 = t->image.height;
    const PufInk night = puf_ink(t, PUF_NIGHT);
    puf_put_rows(&whole, 0, whole.y1, 0, whole.x1, &night, 255);
}

int puf_raster(const PufWord *words, uint32_t count, const float view[4], const PufImage *image) {
    PufTarget t;
    if (place(&t, view, image)) return -1;
    if (!paints_all(&t, words, count)) clear(&t);
    PufCursor cursor = puf_cursor(words, count);
    for (const PufWord *shape; (shape = puf_next_shape(&cursor));) draw(&t, shape, cursor.key);
    return cursor.status;
}
