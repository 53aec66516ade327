// pufferlib/kernels/state.h - the states that lives, rows and steps begin with; from rows, as
// minibatches have them, to steps, as an LSTM goes through them. B rows, H steps.
#ifndef PUF_STATE_H
#define PUF_STATE_H

#include "simd.h"

// out[t][row] = from[row][t], D numbers each.
static void puf_transpose_rows(const PufTransposeRows *args) {
    const size_t bytes = (size_t)args->size * sizeof(float);
    for (int64_t row = 0; row < args->num_rows; row++)
        for (int64_t t = 0; t < args->num_steps; t++)
            memcpy(args->out + (t * args->num_rows + row) * args->size,
                   args->from + (row * args->num_steps + t) * args->size, bytes);
}

// 0 where a life begins, else 1.
static void puf_not_reset(const PufNotReset *args) {
    for (int64_t row = 0; row < args->num_rows; row++)
        for (int64_t t = 0; t < args->num_steps; t++) {
            const int64_t step = row * args->num_steps + t;
            const int64_t to = args->steps_first ? t * args->num_rows + row : step;
            args->out[to] = args->reset[step] ? 0.0f : 1.0f;
        }
}

// A state before the first step, 0 where a life begins with it.
PUF_INLINE void mask_state_rows(const PufMaskState *args, int narrow) {
    for (int64_t row = 0; row < args->num_rows; row++)
        for (int64_t d = 0; d < args->size; d += PUF_LANES) {
            const int64_t n = args->size - d;
            const PufFloats state = puf_load_some(puf_row(args->state, row) + d, n);
            puf_leave(args->out, row, d, state * args->keep[row], n, narrow);
        }
}

static void puf_mask_state(const PufMaskState *args) {
    PUF_EACH_WIDTH(args->out, mask_state_rows(args, narrow));
}

// A life begins with the initial state; a row remembers the state that its first step is seen with.
static int puf_init_states(const PufInitStates *args, PufFault *fault) {
    const int64_t horizon = args->horizon;
    const size_t bytes = (size_t)args->size * sizeof(float);
    for (int64_t i = 0; i < args->num_acting; i++) {
        const int64_t agent = args->agents ? args->agents[i] : args->first + i;
        if (puf_outside(fault, "agents", i, agent, 0, args->num_agents)) return -1;
        const int64_t slot = args->slot[agent];
        if (puf_outside(fault, "slot", agent, slot, 0, args->num_rows * horizon)) return -1;
    }
    for (int64_t i = 0; i < args->num_acting; i++) {
        const int64_t agent = args->agents ? args->agents[i] : args->first + i;
        const int64_t slot = args->slot[agent];
        float *state = puf_row(args->state, i);
        if (args->life_start[agent]) memcpy(state, args->initial, bytes);
        if (slot % horizon == 0)
            memcpy(args->row_state + slot / horizon * args->size, state, bytes);
    }
    return 0;
}

static void puf_fill(const PufFill *args) {
    for (int64_t row = 0; row < args->num_rows; row++)
        for (int64_t d = 0; d < args->size; d++) puf_row(args->out, row)[d] = args->value;
}

#endif
