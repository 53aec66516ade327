// pufferenv/engine/rows.h - which row of the pool is whose. Knows row numbers, never memory or games.
//
//                 take_free                 puf_rows_fill
//   FREE ------------------------> OPEN ------------------------> FULL
//     ^                            |  ^                             |
//     |            puf_rows_abandon|  |take_abandoned               |
//     |                            v  |                             |
//     |                         ABANDONED                           |
//     +------------------------ puf_rows_release -------------------+
//
// An open row has one owner; an abandoned one waits, partly filled, for an agent that spawns; a
// full one waits to be trained on. Free rows are handed out lowest first, abandoned and full ones
// in the order in which they became so. Which slot is filled next and how many rows are full are
// two numbers.
#ifndef PUF_ROWS_H
#define PUF_ROWS_H

#include <stdint.h>

typedef enum { PUF_ROW_FREE, PUF_ROW_OPEN, PUF_ROW_ABANDONED, PUF_ROW_FULL } PufRowState;

// Row numbers, first in first out.
typedef struct PufQueue {
    int32_t *items; // (num_rows) a ring
    int32_t head, count;
} PufQueue;

typedef struct PufRows {
    int32_t num_rows, horizon;
    uint8_t *state; // (num_rows) PufRowState
    int32_t *owner; // (num_rows) agent, of an open row
    int32_t *used;  // (num_rows) slots used when it was taken, or abandoned; of a free row nothing
    uint64_t *free; // one bit per row
    int32_t low_word; // no free row lies in a word below
    int32_t num_free, num_open;
    PufQueue abandoned, full;
} PufRows;

// 0, or -1: out of memory.
int puf_rows_init(PufRows *rows, int32_t num_rows, int32_t horizon);
void puf_rows_close(PufRows *rows);
void puf_rows_clear(PufRows *rows); // every row free

// -> a row that `agent` now owns; -1: none left.
int32_t puf_rows_take_free(PufRows *rows, int32_t agent);
// -> the row abandoned longest, its first unused slot in rows->used; else as take_free.
int32_t puf_rows_take_abandoned(PufRows *rows, int32_t agent);
void puf_rows_abandon(PufRows *rows, int32_t row, int32_t used); // 0 < used < horizon
void puf_rows_fill(PufRows *rows, int32_t row);

// The `count` rows that are full longest, oldest first. -> 0, or -1: fewer are full.
int puf_rows_oldest(const PufRows *rows, int32_t count, int32_t *out);
// Frees those rows. -> 0, or -1: fewer are full.
int puf_rows_release(PufRows *rows, int32_t count);

// O(rows). -> NULL, or the first invariant that does not hold.
const char *puf_rows_check(const PufRows *rows);

#endif
