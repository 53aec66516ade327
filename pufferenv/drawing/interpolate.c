// pufferenv/drawing/interpolate.c - what is seen between two steps; see list.h.
//
// The shapes of one list that have a key are put in a hash table: for each key a chain of them, in
// order. The other list's shapes of a key take them one by one.
#include <math.h>
#include <stdlib.h>

#include "pufferenv/drawing/list.h"

typedef struct Chain { // the shapes of one key
    uint32_t key;      // 0: the place is free
    uint32_t first, last;
    uint32_t rest;  // the first one that was not taken yet; 0: all were
    uint32_t jumps; // 1: one of them moves too far, so all stay together where they are
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

static void take_none(Table *table) {
    for (uint32_t i = 0; i < table->places; i++) table->chains[i].rest = table->chains[i].first;
}

// Takes the next shape of a chain, if it is of the kind of `shape`. -> NULL: it is not.
static const PufWord *take(const Table *table, Chain *chain, const PufWord *shape) {
    if (chain->rest == 0) return NULL;
    const Link *link = table->links + chain->rest;
    chain->rest = link->next;
    return (link->shape->u & 255) == (shape->u & 255) ? link->shape : NULL;
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

// -> the point of `others` points at `points` that corresponds to number `i` of `count`: the last
// one corresponds to the last one.
static const PufWord *counterpart_of(const PufWord *points, uint32_t others, uint32_t i,
                                     uint32_t count) {
    return points + 2 * (i < others && i + 1 < count ? i : others - 1);
}

// -> whether no point of a shape is farther than `farthest` from its counterpart.
static int is_near(const PufWord *shape, const PufWord *other, float farthest) {
    uint32_t first, first_other;
    const uint32_t points = points_of(shape, &first), others = points_of(other, &first_other);
    for (uint32_t i = 0; i < points; i++) {
        const PufWord *to = shape + 2 + first + 2 * i;
        const PufWord *from = counterpart_of(other + 2 + first_other, others, i, points);
        if (!(fabsf(from[0].f - to[0].f) <= farthest && fabsf(from[1].f - to[1].f) <= farthest))
            return 0;
    }
    return 1;
}

// Moves a copy of a shape towards its counterpart.
static void move(PufWord *copy, const PufWord *other, float part) {
    uint32_t first, first_other;
    const uint32_t points = points_of(copy, &first), others = points_of(other, &first_other);
    PufWord *a = copy + 2 + first;
    const PufWord *b = other + 2 + first_other;
    for (uint32_t i = 0; i < points; i++) {
        const PufWord *from = counterpart_of(b, others, i, points);
        a[2 * i].f = between(a[2 * i].f, from[0].f, part);
        a[2 * i + 1].f = between(a[2 * i + 1].f, from[1].f, part);
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
    PufCursor cursor = {0};
    for (int moves = 0; moves < 2 && !status; moves++) { // first, find what jumps
        take_none(&table);
        cursor = puf_cursor(base->words, base->count);
        for (const PufWord *shape; (shape = puf_next_shape(&cursor));) {
            Chain *chain = cursor.key ? chain_of(&table, cursor.key) : NULL;
            const PufWord *counterpart = chain ? take(&table, chain, shape) : NULL;
            if (!counterpart) continue;
            if (!moves) chain->jumps |= !is_near(shape, counterpart, farthest);
            else if (!chain->jumps) move(words + (shape - base->words), counterpart, part);
        }
    }
    int near = 1;
    for (int k = 0; k < 4; k++) near &= fabsf(other->view[k] - base->view[k]) <= farthest;
    for (int k = 0; k < 4; k++)
        view[k] = near ? between(base->view[k], other->view[k], part) : base->view[k];
    free(table.chains), free(table.links);
    return status ? status : cursor.status;
}
