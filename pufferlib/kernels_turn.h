// pufferlib/kernels_turn.h - from rows, as minibatches have them, to steps, as an LSTM goes through
// them; and the states that steps begin with. B rows, H steps.
#ifndef PUF_KERNELS_TURN_H
#define PUF_KERNELS_TURN_H

#include "kernels_math.h"

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
static void puf_carry(const PufCarry *pass) {
    for (int64_t row = 0; row < pass->num_rows; row++) {
        const float *state = puf_row(pass->state, row), keep = pass->keep[row];
        float *out = puf_row(pass->out, row);
        for (int64_t d = 0; d < pass->size; d++) out[d] = state[d] * keep;
    }
}

static void puf_fill(const PufFill *pass) {
    for (int64_t row = 0; row < pass->num_rows; row++)
        for (int64_t d = 0; d < pass->size; d++) puf_row(pass->out, row)[d] = pass->value;
}

#endif
