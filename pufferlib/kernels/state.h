// pufferlib/kernels/state.h - recurrent states at the start of lives and rows, and transposition of
// rows and steps.
//
// A minibatch is stored by rows (B x H); an LSTM processes it step by step (H x B).
#ifndef PUF_STATE_H
#define PUF_STATE_H

#include "kernels.h"

typedef struct PufTransposeRows {
    int64_t num_rows, num_steps, size; // B, H, D
    const float *from;                 // (B x H x D)
    float *out;                        // (H x B x D)
} PufTransposeRows;

typedef struct PufNotReset {
    int64_t num_rows, num_steps; // B, H
    const uint8_t *reset;        // (B x H) boolean
    float *out;                  // (B x H) or (H x B)
    int steps_first;             // boolean: (H x B)
} PufNotReset;

typedef struct PufMaskState {
    int64_t num_rows, size; // B, D
    PufMatrix state;        // (B x D)
    const float *keep;      // (B)
    PufOperand out;         // (B x D) out
} PufMaskState;

typedef struct PufInitStates {
    int64_t num_acting, num_agents, num_rows, horizon, size; // N, A, R, H, S
    const int32_t *agents;                                   // (N), or NULL: [first, first + N)
    int64_t first;                                           // of the agents that act
    const uint8_t *life_start;                               // (A) boolean: a life begins
    const int64_t *slot;                                     // (A)
    const float *initial;                                    // (S)
    PufMatrix state;                                         // (N x S) in and out
    float *row_state;                                        // (R x S) out, of rows that begin
} PufInitStates;

#ifdef PUF_LANES // the kernels, for one vector width; the bindings need only the arguments
#include "simd.h"

// Copies from[row][t] to out[t][row], D numbers each.
static int puf_transpose_rows(const PufTransposeRows *args, PufFault *fault) {
    const size_t bytes = (size_t)args->size * sizeof(float);
    for (int64_t row = 0; row < args->num_rows; row++)
        for (int64_t t = 0; t < args->num_steps; t++)
            memcpy(args->out + (t * args->num_rows + row) * args->size,
                   args->from + (row * args->num_steps + t) * args->size, bytes);
    return 0;
}

// Writes 0 where a life begins, 1 elsewhere.
static int puf_not_reset(const PufNotReset *args, PufFault *fault) {
    for (int64_t row = 0; row < args->num_rows; row++)
        for (int64_t t = 0; t < args->num_steps; t++) {
            const int64_t step = row * args->num_steps + t;
            const int64_t to = args->steps_first ? t * args->num_rows + row : step;
            args->out[to] = args->reset[step] ? 0.0f : 1.0f;
        }
    return 0;
}

// Copies the state before the first step, with 0 where a life begins at that step.
PUF_INLINE void mask_state_rows(const PufMaskState *args, int is_bf16) {
    for (int64_t row = 0; row < args->num_rows; row++)
        for (int64_t d = 0; d < args->size; d += PUF_LANES) {
            const int64_t n = args->size - d;
            const PufFloats state = puf_load_n(puf_row(args->state, row) + d, n);
            puf_store_operand(args->out, row, d, state * args->keep[row], n, is_bf16);
        }
}

static int puf_mask_state(const PufMaskState *args, PufFault *fault) {
    PUF_EACH_DTYPE(args->out, mask_state_rows(args, is_bf16));
    return 0;
}

// Runs before agents act. A life begins with the initial state. If an agent is at slot 0 of its
// row, the row gets a copy of the state, from which training unrolls it.
static int puf_init_states(const PufInitStates *args, PufFault *fault) {
    const int64_t horizon = args->horizon;
    const size_t bytes = (size_t)args->size * sizeof(float);
    for (int64_t i = 0; i < args->num_acting; i++) {
        const int64_t agent = args->agents ? args->agents[i] : args->first + i;
        if (puf_out_of_range(fault, "agents", i, agent, 0, args->num_agents)) return -1;
        const int64_t slot = args->slot[agent];
        if (puf_out_of_range(fault, "slot", agent, slot, 0, args->num_rows * horizon)) return -1;
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

#endif
#endif
