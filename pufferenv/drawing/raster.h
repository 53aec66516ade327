// pufferenv/drawing/raster.h - the rasterizer: a display list (draw.h) into pixels. No Python.
//
// Results do not depend on the CPU: no math library beyond square roots, no fused multiply-add.
// Any number of threads may draw at a time; nothing is allocated.
#ifndef PUF_RASTER_H
#define PUF_RASTER_H

#include "pufferenv/contract/drawing.h"

enum { PUF_MOST_SIDE = 8192 }; // pixels

// Glyphs of ASCII 32 to 126 as signed distances, from which text of any size is drawn.
typedef struct PufGlyph {
    int32_t x, y, width, height; // of the glyph in the atlas, in its pixels
    float left, top, advance;    // from the pen to the glyph's corner, and to the next pen; em = 1
} PufGlyph;

typedef struct PufFont {
    const uint8_t *distances; // (height, width) of the atlas: 128 on the outline, above it inside
    int32_t width, height;
    float em, reach; // pixels of the atlas per em; pixels of distance from 128 to 255
    PufGlyph glyphs[95];
} PufFont;

// Sets the font of all following calls; none is in progress. The font must stay where it is.
void puf_set_font(const PufFont *font);

// See PufPainter in contract/drawing.h. The part of the image outside of the view is PUF_NIGHT.
int puf_raster(const PufWord *words, const float view[4], const PufImage *image);

#endif
