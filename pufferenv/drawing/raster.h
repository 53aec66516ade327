// pufferenv/drawing/raster.h - the rasterizer: a display list (draw.h) into pixels. No Python.
//
// Results do not depend on the CPU: no math library beyond square roots, no fused multiply-add.
// Any number of threads may draw at a time; nothing is allocated. A list may be hostile: nothing
// outside of its words is read, and nothing outside of the image is written.
//
//   raster.c      draws each shape of a list           pixels.h, .c  blends a colour into pixels
//   box.c         rectangles, discs, rings             text.c        glyphs
//   path.c        lines                                fill.c        polygons
//   segments.h    what lines and polygons have in common
//   list.h, .c    reads and checks lists; interpolate.c and agents.c do more with them
#ifndef PUF_RASTER_H
#define PUF_RASTER_H

#include "pufferenv/contract/drawing.h"

enum { PUF_MOST_SIDE = 8192 }; // pixels

// Glyphs of ASCII 32 to 126 as signed distances, from which text of any size is drawn.
typedef struct PufGlyph {
    int32_t x, y, width, height; // of the glyph in the atlas, in its pixels; width 0: nothing
    float left, top, advance;    // from the pen to the glyph's corner, and to the next pen; em = 1
} PufGlyph;

enum { PUF_GLYPHS = 95, PUF_MOST_GLYPH = 256 }; // pixels of a glyph's width

typedef struct PufFont {
    const uint8_t *distances; // (height, width) of the atlas: 128 on the outline, above it inside
    int32_t width, height;
    float em, reach; // pixels of the atlas per em; pixels of distance from 128 to 255
    PufGlyph glyphs[PUF_GLYPHS];
} PufFont;

// Sets the font of all following calls; none is in progress. The font must stay where it is.
// -> 0, or -1 if a glyph is outside of the atlas.
int puf_set_font(const PufFont *font);

// See PufPainter in contract/drawing.h. The part of the image outside of the view is PUF_NIGHT.
int puf_raster(const PufWord *words, uint32_t count, const float view[4], const PufImage *image);

// -> the width of a text of size 1.
float puf_text_width(const uint8_t *bytes, uint32_t count);

#endif
