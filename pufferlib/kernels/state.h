// pufferlib/kernels/state.h - the states that lives, rows and steps begin with; from rows, as
// minibatches have them, to steps, as an LSTM goes through them. B rows, H steps.
#ifndef PUF_KERNELS_TURN_H
#define PUF_KERNELS_TURN_H

#include "simd.h"

// out[t][row] = from[row][t], D numbers each.
static void puf_turn(const PufTurn *pass) {
    const size_t bytes = (size_t)pass->size * sizeof(float);
    for (int64_t row = 0; row < pass->num_rows; row++)
        for (int64_t t = 0; t < pass->num_steps; t++)
            memcpy(pass->out + (t * pass->num_rows + row) * pass->size,
                   pass->from + (row * pass->num_steps + t) * pass->size, bytes);
}

// 0 where a life begins, else 1.
static void puf_keep(const PufKeep *pass) {
    for (int64_t row = 0; row < pass->num_rows; row++)
        for (int64_t t = 0; t < pass->num_steps; t++) {
            const int64_t step = row * pass->num_steps + t;
            const int64_t to = pass->steps_first ? t * pass->num_rows + row : step;
            pass->out[to] = pass->reset[step] ? 0.0f : 1.0f;
        }
}

// A state before the first step, 0 where a life begins with it.
PUF_INLINE void carry_rows(const PufCarry *pass, int narrow) {
    for (int64_t row = 0; row < pass->num_rows; row++)
        for (int64_t d = 0; d < pass->size; d += PUF_LANES) {
            const int64_t n = pass->size - d;
            const PufFloats state = puf_load_some(puf_row(pass->state, row) + d, n);
            puf_leave(pass->out, row, d, state * pass->keep[row], n, narrow);
        }
}

static void puf_carry(const PufCarry *pass) { PUF_EACH_WIDTH(pass->out, carry_rows(pass, narrow)); }

// A life begins with the initial state; a row remembers the state that its first step is seen with.
static int puf_begin(const PufBegin *pass, PufFault *fault) {
    const int64_t horizon = pass->horizon;
    const size_t bytes = (size_t)pass->size * sizeof(float);
    for (int64_t i = 0; i < pass->num_acting; i++) {
        const int64_t agent = pass->agents ? pass->agents[i] : pass->first + i;
        if (puf_outside(fault, "agents", i, agent, 0, pass->num_agents)) return -1;
        const int64_t slot = pass->slot[agent];
        if (puf_outside(fault, "slot", agent, slot, 0, pass->num_rows * horizon)) return -1;
    }
    for (int64_t i = 0; i < pass->num_acting; i++) {
        const int64_t agent = pass->agents ? pass->agents[i] : pass->first + i;
        const int64_t slot = pass->slot[agent];
        float *state = puf_row(pass->state, i);
        if (pass->fresh[agent]) memcpy(state, pass->initial, bytes);
        if (slot % horizon == 0)
            memcpy(pass->row_state + slot / horizon * pass->size, state, bytes);
    }
    return 0;
}

static void puf_fill(const PufFill *pass) {
    for (int64_t row = 0; row < pass->num_rows; row++)
        for (int64_t d = 0; d < pass->size; d++) puf_row(pass->out, row)[d] = pass->value;
}

#endif
