// pufferenv/draw.h - how a game shows itself: shapes in world units, put on a display list. C17.
//
// A game that is drawn defines PUF_VIEW above its #include of env.h, which includes this file, and
// ends with
//
//     static void env_draw(const Env *env, PufCanvas *c) {
//         puf_rect(c, 0, 0, 18, 11, PUF_NIGHT);
//         puf_disc(c, env->x, env->y, 0.2f, PUF_YELLOW);
//     }
//
// and has, beside PUF_ACTIONS, the macros
//
//   PUF_VIEW(c) 18, 11        width and height of the world that a picture shows, from (0, 0) at the
//                             top left, x to the right and y down; c is a const Config *
//   PUF_PACE(c) 15            optional: steps per second at which a person watches or plays
//   PUF_KEYS(X) X(move, 1, "left a", "left") X(steer, -1, "left", "left") X(aim, 0, "mouse-x", "aim")
//                             optional, what a person plays with: head or axis; its choice or value;
//                             keys, any of which will do; label for the help.
//                             "up+right" is a chord, which counts before its single keys;
//                             "left tap": one press is one action, however long the key is held;
//                             "mouse-x" and "mouse-y" set an axis to the place of the mouse, turned
//                             round for a value below 0. Names of keys: drawing/key_names.py
//
// env_draw is called between steps and changes nothing: it gets no PufIO and a const Env. It knows
// nothing of pixels, windows or fonts. What is drawn later lies above what was drawn before. A view
// of one agent, `c->agent`, may differ from everybody's, -1: puf_look moves the picture to it.
// `c->alive[a]` is 1 for an agent that is in the game.
//
// The list is an array of 32-bit words. A command is `op | words << 8`, where `words` counts the
// whole command, then a colour 0xRRGGBBAA (or a number, where PufOp says so), then floats.
#ifndef PUF_DRAW_H
#define PUF_DRAW_H

#include <stdarg.h>
#include <stdint.h>
#include <string.h>

typedef enum {
    PUF_OP_END,
    PUF_OP_KEY,   // (key instead of a colour) the thing that the following shapes belong to
    PUF_OP_AGENT, // (agent instead of a colour) the agent that the following shapes show; -1: none
    PUF_OP_RECT,  // x, y of the top left corner, width, height, radius of the corners
    PUF_OP_DISC,  // x, y, radius
    PUF_OP_RING,  // x, y, radius of the inner edge, width
    PUF_OP_LINE,  // width, then x, y of each point; ends and joints are round
    PUF_OP_FILL,  // x, y of each corner of a polygon, convex or not
    PUF_OP_TEXT,  // x, y, size, align, number of bytes, then the bytes, padded to whole words
} PufOp;

typedef union PufWord {
    uint32_t u;
    int32_t i;
    float f;
} PufWord;

// A display list that is being written, and what it shows.
typedef struct PufCanvas {
    PufWord *words;       // (room,) the commands and a final PUF_OP_END
    uint32_t count;       // words used, without the END
    uint32_t room;        // at least 1
    uint32_t lost;        // words that did not fit; the host gives more room and draws again
    int32_t agent;        // the agent whose view is drawn; -1: everybody's
    float view[4];        // x, y, width, height of the world that the picture shows; see puf_look
    const uint8_t *alive; // (agents,) 1: the agent is in the game; as in PufIO
    const void *shared;   // what env_load made, or NULL
} PufCanvas;

// --- colours, 0xRRGGBBAA ----------------------------------------------------------------------
// One palette for all games, for pictures on a dark ground.
#define PUF_NIGHT 0x0b1020ffu // the ground
#define PUF_PANEL 0x151c33ffu // surfaces on it
#define PUF_EDGE 0x2a3557ffu  // lines and borders
#define PUF_GREY 0x8190b5ffu  // second text
#define PUF_WHITE 0xeef2ffffu // first text
#define PUF_RED 0xff5d6cffu
#define PUF_ORANGE 0xff9f43ffu
#define PUF_YELLOW 0xffd45cffu
#define PUF_GREEN 0x43dd94ffu
#define PUF_CYAN 0x36d1e8ffu
#define PUF_BLUE 0x4f8dffffu
#define PUF_VIOLET 0xa67cffffu
#define PUF_PINK 0xff7ac6ffu

// -> the colour with its alpha multiplied by `alpha`, 0 to 1.
static inline uint32_t puf_fade(uint32_t colour, float alpha) {
    return (colour & 0xffffff00u) | (uint32_t)((float)(colour & 255) * alpha + 0.5f);
}
// -> a colour between `a` (t = 0) and `b` (t = 1).
static inline uint32_t puf_mix(uint32_t a, uint32_t b, float t) {
    uint32_t mixed = 0;
    for (int shift = 0; shift < 32; shift += 8) {
        const float x = (float)(a >> shift & 255), y = (float)(b >> shift & 255);
        mixed |= (uint32_t)(x + (y - x) * t + 0.5f) << shift;
    }
    return mixed;
}
// -> one of 8 colours, for the i-th of several things that must be told apart.
static inline uint32_t puf_hue(int i) {
    static const uint32_t HUES[8] = {PUF_CYAN,   PUF_ORANGE, PUF_GREEN, PUF_PINK,
                                     PUF_YELLOW, PUF_VIOLET, PUF_RED,   PUF_BLUE};
    return HUES[i & 7];
}

// --- the list ---------------------------------------------------------------------------------
// Appends a command of `words` words. -> the word after its colour; NULL: no room.
static inline PufWord *puf_put_(PufCanvas *c, PufOp op, uint32_t words, uint32_t colour) {
    if (words + 1 > c->room - c->count) {
        c->lost += words;
        return NULL;
    }
    PufWord *command = c->words + c->count;
    c->count += words;
    command[0].u = (uint32_t)op | words << 8;
    command[1].u = colour;
    c->words[c->count].u = PUF_OP_END;
    return command + 2;
}
// The following shapes belong to the thing `key`, which viewers move smoothly from its place in one
// step to that in the next. 0: they belong to nothing that moves. Something that enters takes a key
// of its own, so that nothing glides to it.
static inline void puf_key(PufCanvas *c, int32_t key) { puf_put_(c, PUF_OP_KEY, 2, (uint32_t)key); }
// The following shapes show agent `agent`: a click on them selects it, and viewers outline them.
// -1: they show none.
static inline void puf_agent(PufCanvas *c, int32_t agent) {
    puf_put_(c, PUF_OP_AGENT, 2, (uint32_t)agent);
}
// The picture shows this part of the world, in place of (0, 0, PUF_VIEW).
static inline void puf_look(PufCanvas *c, float x, float y, float width, float height) {
    c->view[0] = x, c->view[1] = y, c->view[2] = width, c->view[3] = height;
}

// --- shapes, in world units -------------------------------------------------------------------
// A rectangle with round corners, from its top left corner.
static inline void puf_round(PufCanvas *c, float x, float y, float width, float height,
                             float radius, uint32_t colour) {
    PufWord *w = puf_put_(c, PUF_OP_RECT, 7, colour);
    if (w) w[0].f = x, w[1].f = y, w[2].f = width, w[3].f = height, w[4].f = radius;
}
static inline void puf_rect(PufCanvas *c, float x, float y, float width, float height,
                            uint32_t colour) {
    puf_round(c, x, y, width, height, 0, colour);
}
static inline void puf_disc(PufCanvas *c, float x, float y, float radius, uint32_t colour) {
    PufWord *w = puf_put_(c, PUF_OP_DISC, 5, colour);
    if (w) w[0].f = x, w[1].f = y, w[2].f = radius;
}
// A ring from `radius` to `radius + width`.
static inline void puf_ring(PufCanvas *c, float x, float y, float radius, float width,
                            uint32_t colour) {
    PufWord *w = puf_put_(c, PUF_OP_RING, 6, colour);
    if (w) w[0].f = x, w[1].f = y, w[2].f = radius, w[3].f = width;
}
// A line through `points` points, x and y of each in `xy` (2 * points), with round ends and joints.
static inline void puf_path(PufCanvas *c, const float *xy, int points, float width,
                            uint32_t colour) {
    if (points < 1) return;
    PufWord *w = puf_put_(c, PUF_OP_LINE, 3 + 2 * (uint32_t)points, colour);
    if (!w) return;
    w[0].f = width;
    for (int i = 0; i < 2 * points; i++) w[1 + i].f = xy[i];
}
static inline void puf_line(PufCanvas *c, float x0, float y0, float x1, float y1, float width,
                            uint32_t colour) {
    puf_path(c, (const float[]){x0, y0, x1, y1}, 2, width, colour);
}
// A polygon with `points` corners, x and y of each in `xy` (2 * points).
static inline void puf_fill(PufCanvas *c, const float *xy, int points, uint32_t colour) {
    if (points < 3) return;
    PufWord *w = puf_put_(c, PUF_OP_FILL, 2 + 2 * (uint32_t)points, colour);
    if (!w) return;
    for (int i = 0; i < 2 * points; i++) w[i].f = xy[i];
}

// --- text -------------------------------------------------------------------------------------
enum { PUF_TEXT_BYTES = 96 }; // of one text at most; the rest is left out

typedef struct PufText {
    char bytes[PUF_TEXT_BYTES];
    uint32_t count;
} PufText;

static inline void puf_char_(PufText *t, char byte) {
    if (t->count < PUF_TEXT_BYTES) t->bytes[t->count++] = byte;
}
static inline void puf_chars_(PufText *t, const char *s) {
    while (*s) puf_char_(t, *s++);
}
// Appends a number with `digits` digits behind the point, at least `width` characters long.
static inline void puf_number_(PufText *t, double value, int digits, int width, char pad) {
    char back[48]; // the digits, last one first
    int n = 0;
    if (value != value || value > 1e15 || value < -1e15) {
        puf_chars_(t, value != value ? "nan" : value > 0 ? "huge" : "-huge");
        return;
    }
    uint64_t scale = 1;
    for (int i = 0; i < digits; i++) scale *= 10;
    const int negative = value < 0;
    uint64_t left = (uint64_t)((negative ? -value : value) * (double)scale + 0.5);
    for (int i = 0; i < digits; i++, left /= 10) back[n++] = (char)('0' + left % 10);
    if (digits) back[n++] = '.';
    do back[n++] = (char)('0' + left % 10);
    while ((left /= 10) != 0);
    if (negative && pad == '0') puf_char_(t, '-');
    for (int i = n + negative; i < width; i++) puf_char_(t, pad);
    if (negative && pad != '0') puf_char_(t, '-');
    while (n) puf_char_(t, back[--n]);
}
// Formats like printf, as far as a picture needs it: %d %i %u %ld %lu %c %s %f and %%, with a width,
// a leading 0 and up to 6 digits behind the point. Anything else becomes a '?' and ends the text,
// because the sizes of the arguments after it are not known. Halves are rounded away from 0.
static inline void puf_format_(PufText *t, const char *format, va_list args) {
    for (const char *p = format; *p; p++) {
        if (*p != '%') {
            puf_char_(t, *p);
            continue;
        }
        int width = 0, digits = 6, wide = 0;
        const char pad = *++p == '0' ? '0' : ' ';
        for (; '0' <= *p && *p <= '9'; p++) width = width < 32 ? 10 * width + (*p - '0') : 32;
        if (*p == '.')
            for (digits = 0, p++; '0' <= *p && *p <= '9'; p++)
                digits = digits < 6 ? 10 * digits + (*p - '0') : 6;
        for (; *p == 'l'; p++) wide = 1;
        digits = digits > 6 ? 6 : digits;
        const int integer = *p == 'd' || *p == 'i';
        if (integer && wide) puf_number_(t, (double)va_arg(args, long), 0, width, pad);
        else if (integer) puf_number_(t, va_arg(args, int), 0, width, pad);
        else if (*p == 'u' && wide)
            puf_number_(t, (double)va_arg(args, unsigned long), 0, width, pad);
        else if (*p == 'u') puf_number_(t, va_arg(args, unsigned), 0, width, pad);
        else if (*p == 'f') puf_number_(t, va_arg(args, double), digits, width, pad);
        else if (*p == 'c') puf_char_(t, (char)va_arg(args, int));
        else if (*p == 's') puf_chars_(t, va_arg(args, const char *));
        else puf_char_(t, *p == '%' ? '%' : '?');
        if (!*p || !strchr("diucsf%", *p)) return;
    }
}
// Text like printf's, of at most PUF_TEXT_BYTES ASCII bytes. `y` is the baseline, `size` the height
// of a line; `align` -1: x is the left end, 0: the middle, 1: the right end.
__attribute__((format(printf, 7, 8))) static inline void puf_text(PufCanvas *c, float x, float y,
                                                                  float size, int align,
                                                                  uint32_t colour,
                                                                  const char *format, ...) {
    PufText text = {.count = 0};
    va_list args;
    va_start(args, format);
    puf_format_(&text, format, args);
    va_end(args);
    PufWord *w = puf_put_(c, PUF_OP_TEXT, 7 + (text.count + 3) / 4, colour);
    if (!w) return;
    w[0].f = x, w[1].f = y, w[2].f = size, w[3].f = (float)align, w[4].u = text.count;
    if (text.count % 4) w[5 + text.count / 4].u = 0;
    memcpy(w + 5, text.bytes, text.count);
}
#endif
