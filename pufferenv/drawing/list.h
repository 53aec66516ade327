// pufferenv/drawing/list.h - display lists (draw.h) read command by command, between two steps
// interpolated, and searched for agents. A list may be hostile: nothing outside of it is read.
#ifndef PUF_LIST_H
#define PUF_LIST_H

#include "pufferenv/draw.h"

// A place in a list, from which shapes are read in order. Set words and count, and the rest to 0
// but agent to -1.
typedef struct PufCursor {
    const PufWord *words;
    uint32_t count, at;
    uint32_t key;  // of the shape that was read last
    int32_t agent; // whom it shows; -1: none
    int status;    // -1: a command was not valid, and left out
} PufCursor;

// -> the next shape, with as many words as it says; NULL: there is none.
const PufWord *puf_next_shape(PufCursor *cursor);

static inline PufCursor puf_cursor(const PufWord *words, uint32_t count) {
    return (PufCursor){.words = words, .count = count, .agent = -1};
}

// -> 0, or -1 if the command at `w`, of which `left` words exist, is not valid: an unknown op, a
// wrong number of words, a place or size that is not finite, or a negative size.
int puf_check_command(const PufWord *w, uint32_t left);

#define PUF_FARTHEST_MOVE 0.12f

// --- between two steps --------------------------------------------------------------------------
// One of two lists of consecutive steps, and the part of the world that it shows.
typedef struct PufShown {
    const PufWord *words;
    uint32_t count;
    float view[4];
} PufShown;

// Writes what is seen between `base` and `other`: the commands of `base`, those that `other` has too
// moved towards it by `part`, 0 to 1. `words` (base->count) and `view` get the result.
//
// A shape has a counterpart if it has a key: the shape of the same kind with the same place among
// those of that key. Points of paths and polygons are counted from the first one; the last one, and
// any that the other has no more of, correspond to the other's last. If a point would move farther
// than PUF_FARTHEST_MOVE of the view's width, all shapes of its key stay where they are in `base`; so
// does a view that would.
// -> 0, or -1 if there is no memory or a list is not valid.
int puf_interpolate(const PufShown *base, const PufShown *other, float part, PufWord *words,
                    float view[4]);

// --- agents -------------------------------------------------------------------------------------
// -> the agent whose shapes are topmost within `reach` of a place in the world; -1: none.
int32_t puf_agent_at(const PufWord *words, uint32_t count, float x, float y, float reach);

// Finds the smallest rectangle around an agent's shapes: x, y, width, height. -> whether it has any.
int puf_outline(const PufWord *words, uint32_t count, int32_t agent, float outline[4]);

#endif
