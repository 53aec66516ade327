// pufferenv/engine/rows.h - which agent owns which row of the pool. Row numbers only: no memory.
//
//            take_free                    fill
//   FREE ---------------> OPEN ----------------------------> FULL
//     ^                   |  ^                                 |
//     |           abandon |  | take_abandoned                  |
//     |                   v  |                                 |
//     |                ABANDONED                               |
//     +------------------------- release ----------------------+
//
// FREE       holds nothing; the lowest free row is taken first
// OPEN       one agent owns it and writes one slot per step
// ABANDONED  its owner died before it was full; an agent that spawns continues it at the first
//            unused slot, the row abandoned longest first
// FULL       waits to be trained on, the oldest first
//
// A segment is a run of slots of one row that one agent wrote without interruption. A row that was
// abandoned and continued holds several.
#ifndef PUF_ROWS_H
#define PUF_ROWS_H

#include <stdint.h>

typedef enum { PUF_ROW_FREE, PUF_ROW_OPEN, PUF_ROW_ABANDONED, PUF_ROW_FULL } PufRowState;

// Row numbers, first in, first out.
typedef struct PufQueue {
    int32_t *items;      // (num_rows) a ring
    int32_t head, count; // place of the oldest; how many there are
} PufQueue;

typedef struct PufRows {
    int32_t num_rows, horizon;
    uint8_t *state;             // (num_rows) PufRowState
    int32_t *owner;             // (num_rows) agent that owns an open row
    int32_t *used;              // (num_rows) slots in use when the row was taken or abandoned
    uint64_t *free;             // one bit per row, set: free
    int32_t low_word;           // no word of `free` below this one has a bit set
    int32_t num_free, num_open; // rows in these states
    PufQueue abandoned, full;   // rows in these states, the oldest first
} PufRows;

int puf_rows_init(PufRows *rows, int32_t num_rows, int32_t horizon); // -> 0, or -1: out of memory
void puf_rows_close(PufRows *rows);                                  // frees the memory
void puf_rows_clear(PufRows *rows);                                  // makes every row free

// Gives the lowest free row to `agent`. -> the row, or -1: none is free.
int32_t puf_rows_take_free(PufRows *rows, int32_t agent);
// Gives the row abandoned longest to `agent`, which continues it at slot rows->used[row]; without
// an abandoned row, as puf_rows_take_free. -> the row, or -1.
int32_t puf_rows_take_abandoned(PufRows *rows, int32_t agent);
// The owner died after `used` slots, 0 < used < horizon.
void puf_rows_abandon(PufRows *rows, int32_t row, int32_t used);
// The owner wrote the last slot.
void puf_rows_fill(PufRows *rows, int32_t row);

// Writes the `count` oldest full rows to `out`, the oldest first. -> 0, or -1: fewer are full.
int puf_rows_oldest(const PufRows *rows, int32_t count, int32_t *out);
// Frees the `count` oldest full rows. -> 0, or -1: fewer are full.
int puf_rows_release(PufRows *rows, int32_t count);

// Checks all rows. -> NULL, or the first invariant that does not hold.
const char *puf_rows_check(const PufRows *rows);

#endif
