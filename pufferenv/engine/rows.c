// pufferenv/engine/rows.c - see rows.h.
#include "pufferenv/engine/rows.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

// --- a ring of row numbers --------------------------------------------------------------
static int32_t at(const PufQueue *queue, int32_t i, int32_t capacity) {
    int64_t place = (int64_t)queue->head + i;
    return queue->items[place < capacity ? place : place - capacity];
}
static void push(PufQueue *queue, int32_t row, int32_t capacity) {
    assert(queue->count < capacity);
    int64_t place = (int64_t)queue->head + queue->count++;
    queue->items[place < capacity ? place : place - capacity] = row;
}
static int32_t pop(PufQueue *queue, int32_t capacity) {
    int32_t row = queue->items[queue->head];
    queue->count -= 1;
    queue->head = queue->count == 0 || queue->head + 1 == capacity ? 0 : queue->head + 1;
    return row;
}

// --- life of the table ------------------------------------------------------------------
static int32_t words(const PufRows *rows) { return (int32_t)(((int64_t)rows->num_rows + 63) / 64); }

int puf_rows_init(PufRows *rows, int32_t num_rows, int32_t horizon) {
    size_t n = (size_t)num_rows;
    *rows = (PufRows){.num_rows = num_rows, .horizon = horizon};
    rows->state = malloc(n);
    rows->owner = malloc(n * sizeof(int32_t));
    rows->used = malloc(n * sizeof(int32_t));
    rows->free = malloc((size_t)words(rows) * sizeof(uint64_t));
    rows->abandoned.items = malloc(n * sizeof(int32_t));
    rows->full.items = malloc(n * sizeof(int32_t));
    if (!rows->state || !rows->owner || !rows->used || !rows->free || !rows->abandoned.items ||
        !rows->full.items) {
        puf_rows_close(rows);
        return -1;
    }
    puf_rows_clear(rows);
    return 0;
}

void puf_rows_close(PufRows *rows) {
    free(rows->state), free(rows->owner), free(rows->used), free(rows->free);
    free(rows->abandoned.items), free(rows->full.items);
    *rows = (PufRows){0};
}

void puf_rows_clear(PufRows *rows) {
    memset(rows->state, PUF_ROW_FREE, (size_t)rows->num_rows);
    memset(rows->free, 0, (size_t)words(rows) * sizeof(uint64_t));
    for (int32_t row = 0; row < rows->num_rows; row++)
        rows->free[row / 64] |= (uint64_t)1 << (row % 64);
    rows->low_word = 0;
    rows->num_free = rows->num_rows, rows->num_open = 0;
    rows->abandoned.head = rows->abandoned.count = 0;
    rows->full.head = rows->full.count = 0;
}

// --- transitions ------------------------------------------------------------------------
static void own(PufRows *rows, int32_t row, int32_t agent) {
    rows->state[row] = PUF_ROW_OPEN;
    rows->owner[row] = agent;
    rows->num_open += 1;
}
static void disown(PufRows *rows, int32_t row, PufRowState state) {
    assert(rows->state[row] == PUF_ROW_OPEN);
    rows->state[row] = (uint8_t)state;
    rows->num_open -= 1;
}

int32_t puf_rows_take_free(PufRows *rows, int32_t agent) {
    if (rows->num_free == 0) return -1;
    while (rows->free[rows->low_word] == 0) rows->low_word += 1;
    uint64_t *word = &rows->free[rows->low_word];
    int32_t row = rows->low_word * 64 + __builtin_ctzll(*word);
    *word &= *word - 1; // clears the lowest bit
    rows->num_free -= 1;
    rows->used[row] = 0;
    own(rows, row, agent);
    return row;
}

int32_t puf_rows_take_abandoned(PufRows *rows, int32_t agent) {
    if (rows->abandoned.count == 0) return puf_rows_take_free(rows, agent);
    int32_t row = pop(&rows->abandoned, rows->num_rows);
    own(rows, row, agent);
    return row;
}

void puf_rows_abandon(PufRows *rows, int32_t row, int32_t used) {
    assert(0 < used && used < rows->horizon);
    disown(rows, row, PUF_ROW_ABANDONED);
    rows->used[row] = used;
    push(&rows->abandoned, row, rows->num_rows);
}

void puf_rows_fill(PufRows *rows, int32_t row) {
    disown(rows, row, PUF_ROW_FULL);
    push(&rows->full, row, rows->num_rows);
}

int puf_rows_oldest(const PufRows *rows, int32_t count, int32_t *out) {
    if (rows->full.count < count) return -1;
    for (int32_t i = 0; i < count; i++) out[i] = at(&rows->full, i, rows->num_rows);
    return 0;
}

int puf_rows_release(PufRows *rows, int32_t count) {
    if (rows->full.count < count) return -1;
    for (int32_t i = 0; i < count; i++) {
        int32_t row = pop(&rows->full, rows->num_rows);
        rows->state[row] = PUF_ROW_FREE;
        rows->free[row / 64] |= (uint64_t)1 << (row % 64);
        if (row / 64 < rows->low_word) rows->low_word = row / 64;
    }
    rows->num_free += count;
    return 0;
}

// --- invariants -------------------------------------------------------------------------
const char *puf_rows_check(const PufRows *rows) {
    int32_t count[4] = {0};
    for (int32_t row = 0; row < rows->num_rows; row++) {
        PufRowState state = rows->state[row];
        if (state > PUF_ROW_FULL) return "a row has no legal state";
        count[state] += 1;
        int bit = (rows->free[row / 64] >> (row % 64)) & 1;
        if (bit != (state == PUF_ROW_FREE)) return "the free set and the state of a row differ";
        if (bit && row / 64 < rows->low_word) return "a free row lies below the lowest free word";
        if (state == PUF_ROW_ABANDONED && !(0 < rows->used[row] && rows->used[row] < rows->horizon))
            return "an abandoned row is empty or full";
    }
    if (count[PUF_ROW_FREE] != rows->num_free) return "num_free is not the number of free rows";
    if (count[PUF_ROW_OPEN] != rows->num_open) return "num_open is not the number of open rows";
    if (count[PUF_ROW_ABANDONED] != rows->abandoned.count)
        return "the abandoned queue is not as long as the number of abandoned rows";
    if (count[PUF_ROW_FULL] != rows->full.count)
        return "the full queue is not as long as the number of full rows";
    for (int32_t i = 0; i < rows->abandoned.count; i++)
        if (rows->state[at(&rows->abandoned, i, rows->num_rows)] != PUF_ROW_ABANDONED)
            return "the abandoned queue holds a row of another state";
    for (int32_t i = 0; i < rows->full.count; i++)
        if (rows->state[at(&rows->full, i, rows->num_rows)] != PUF_ROW_FULL)
            return "the full queue holds a row of another state";
    return NULL;
}
