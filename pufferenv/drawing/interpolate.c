// pufferenv/drawing/interpolate.c - what is seen between two steps; see list.h.
//
// The shapes of one list that have a key are put in a hash table: for each key a chain of them, in
// order. The other list's shapes of a key take them one by one.
#include <math.h>
#include <stdlib.h>

#include "pufferenv/drawing/list.h"

typedef struct Chain { // the shapes of one key that were not taken yet
    uint32_t key;      // 0: the place is free
    uint32_t first, last;
} Chain;

typedef struct Link {
    const PufWord *shape;
    uint32_t next; // 0: none; links are counted from 1
} Link;

typedef struct Table {
    Chain *chains; // (places)
    Link *links;   // (shapes + 1)
    uint32_t places;
} Table;

static Chain *chain_of(const Table *table, uint32_t key) {
    uint32_t at = key * 2654435761u; // Knuth's multiplicative hash
    for (at ^= at >> 15;; at++) {
        Chain *chain = table->chains + (at & (table->places - 1));
        if (chain->key == key || chain->key == 0) return chain;
    }
}

// -> 0, or -1: no memory, or the list is not valid.
static int fill_table(Table *table, const PufShown *shown) {
    uint32_t shapes = 0;
    PufCursor cursor = puf_cursor(shown->words, shown->count);
    while (puf_next_shape(&cursor)) shapes += cursor.key != 0;
    for (table->places = 2; table->places < 2 * shapes; table->places *= 2) {
    }
    table->chains = calloc(table->places, sizeof(Chain));
    table->links = calloc((size_t)shapes + 1, sizeof(Link));
    if (!table->chains || !table->links || cursor.status) return -1;
    uint32_t count = 0;
    cursor = puf_cursor(shown->words, shown->count);
    for (const PufWord *shape; (shape = puf_next_shape(&cursor));) {
        if (cursor.key == 0) continue;
        Chain *chain = chain_of(table, cursor.key);
        table->links[++count].shape = shape;
        if (chain->key) table->links[chain->last].next = count;
        else chain->first = count;
        chain->key = cursor.key, chain->last = count;
    }
    return 0;
}

// Takes the next shape of a key. -> NULL: there is none.
static const PufWord *take(const Table *table, uint32_t key) {
    Chain *chain = chain_of(table, key);
    if (chain->key != key || chain->first == 0) return NULL;
    const Link *link = table->links + chain->first;
    chain->first = link->next;
    return link->shape;
}

// Finds the points of a shape: `first` words after its colour. -> how many.
static uint32_t points_of(const PufWord *shape, uint32_t *first) {
    const uint32_t op = shape->u & 255, words = shape->u >> 8;
    *first = op == PUF_OP_LINE;
    return op == PUF_OP_LINE || op == PUF_OP_FILL ? (words - 2 - *first) / 2 : 1;
}

// -> how many floats after its points a shape has: sizes.
static uint32_t sizes_of(const PufWord *shape) {
    switch (shape->u & 255) {
    case PUF_OP_RECT:
        return 3;
    case PUF_OP_RING:
        return 2;
    case PUF_OP_DISC:
    case PUF_OP_TEXT:
        return 1;
    default:
        return 0;
    }
}

static float between(float base, float other, float part) { return base + (other - base) * part; }

static uint32_t mixed(uint32_t base, uint32_t other, float part) {
    return base == other ? base : puf_mix(base, other, part);
}

// Moves a copy of a shape towards its counterpart, unless that is farther than `farthest`.
static void move(PufWord *copy, const PufWord *other, float part, float farthest) {
    uint32_t first, first_other;
    const uint32_t points = points_of(copy, &first), others = points_of(other, &first_other);
    PufWord *a = copy + 2 + first;
    const PufWord *b = other + 2 + first_other;
    for (int apply = 0; apply < 2; apply++)
        for (uint32_t i = 0; i < points; i++) {
            // The last one corresponds to the last one.
            const PufWord *from = b + 2 * (i < others && i + 1 < points ? i : others - 1);
            PufWord *to = a + 2 * i;
            if (!apply &&
                !(fabsf(from[0].f - to[0].f) <= farthest && fabsf(from[1].f - to[1].f) <= farthest))
                return;
            if (!apply) continue;
            to[0].f = between(to[0].f, from[0].f, part);
            to[1].f = between(to[1].f, from[1].f, part);
        }
    for (uint32_t i = 2; i < 2 + sizes_of(copy); i++) a[i].f = between(a[i].f, b[i].f, part);
    if (first) copy[2].f = between(copy[2].f, other[2].f, part); // a line's width
    copy[1].u = mixed(copy[1].u, other[1].u, part);
}

int puf_interpolate(const PufShown *base, const PufShown *other, float part, PufWord *words,
                    float view[4]) {
    const float farthest = PUF_FARTHEST_MOVE * base->view[2];
    Table table = {0};
    int status = fill_table(&table, other);
    memcpy(words, base->words, base->count * sizeof(PufWord));
    PufCursor cursor = puf_cursor(base->words, base->count);
    for (const PufWord *shape; !status && (shape = puf_next_shape(&cursor));) {
        const PufWord *counterpart = cursor.key ? take(&table, cursor.key) : NULL;
        if (counterpart && (counterpart->u & 255) == (shape->u & 255))
            move(words + (shape - base->words), counterpart, part, farthest);
    }
    int near = 1;
    for (int k = 0; k < 4; k++) near &= fabsf(other->view[k] - base->view[k]) <= farthest;
    for (int k = 0; k < 4; k++)
        view[k] = near ? between(base->view[k], other->view[k], part) : base->view[k];
    free(table.chains), free(table.links);
    return status ? status : cursor.status;
}
