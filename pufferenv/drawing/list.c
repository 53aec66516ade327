// pufferenv/drawing/list.c - reads display lists and checks each command; see list.h.
#include "pufferenv/drawing/list.h"

static const float FARTHEST = 1e9f; // world units, of any place or size in a list

static int all_within(const PufWord *words, uint32_t count, float low) {
    int within = 1;
    for (uint32_t i = 0; i < count; i++)
        within &= words[i].f >= low && words[i].f <= FARTHEST; // false for NaN
    return within;
}

int puf_check_command(const PufWord *w, uint32_t left) {
    if (left < 1) return -1;
    const uint32_t op = w->u & 255, words = w->u >> 8;
    if (words < 2 || words > left) return -1;
    const PufWord *a = w + 2;
    int valid = 0;
    switch (op) {
    case PUF_OP_KEY:
    case PUF_OP_AGENT:
        valid = words == 2;
        break;
    case PUF_OP_RECT:
        valid = words == 7 && all_within(a, 2, -FARTHEST) && all_within(a + 2, 3, 0);
        break;
    case PUF_OP_DISC:
        valid = words == 5 && all_within(a, 2, -FARTHEST) && all_within(a + 2, 1, 0);
        break;
    case PUF_OP_RING:
        valid = words == 6 && all_within(a, 2, -FARTHEST) && all_within(a + 2, 2, 0);
        break;
    case PUF_OP_LINE:
        valid = words >= 5 && words % 2 == 1 && all_within(a, 1, 0) &&
                all_within(a + 1, words - 3, -FARTHEST);
        break;
    case PUF_OP_FILL:
        valid = words >= 8 && words % 2 == 0 && all_within(a, words - 2, -FARTHEST);
        break;
    case PUF_OP_TEXT:
        valid = words >= 7 && all_within(a, 2, -FARTHEST) && all_within(a + 2, 1, 0) &&
                (a[3].f == -1 || a[3].f == 0 || a[3].f == 1) && a[4].u <= 4 * (words - 7);
        break;
    default:
        break;
    }
    return valid ? 0 : -1;
}

const PufWord *puf_next_shape(PufCursor *c) {
    while (c->at < c->count) {
        const PufWord *w = c->words + c->at;
        const uint32_t op = w->u & 255, words = w->u >> 8;
        if (op == PUF_OP_END) return NULL;
        if (words < 2 || words > c->count - c->at) { // nobody knows where the next one begins
            c->status = -1, c->at = c->count;
            return NULL;
        }
        c->at += words;
        if (puf_check_command(w, words)) c->status = -1;
        else if (op == PUF_OP_KEY) c->key = w[1].u;
        else if (op == PUF_OP_AGENT) c->agent = w[1].i;
        else return w;
    }
    return NULL;
}
