// pufferlib/kernels/lstm.h - one step of an LSTM (Hochreiter, Schmidhuber 1997), between its products.
//
// With i, f, o the sigmoids of the first three quarters of gates + bias, g the tanh of the last:
//     c = f * cell + i * g,    h = o * tanh(c)
// The next step reads c and h times `keep`, which is 0 if a life begins with that step, so that
// nothing of the previous life remains, and 1 otherwise. A row is D units, a vector PUF_LANES of
// them.
#ifndef PUF_LSTM_H
#define PUF_LSTM_H

#include "kernels.h"

typedef struct PufLSTM {
    int64_t num_rows, size; // B, D
    PufMatrix gates;        // (B x 4 D) in: products without bias; out: i, f, o, g
    const float *bias;      // (4 D)
    const float *keep;      // (B) of the next step, or NULL: 1
    PufMatrix cell;         // (B x D)
    PufOperand out;         // (B x D) out, hidden state
    PufMatrix next_cell;    // (B x D) out, times keep; may be the cell
    PufOperand next_hidden; // (B x D) out, times keep; or none
} PufLSTM;

typedef struct PufLSTMBackward {
    int64_t num_rows, size; // B, D
    PufMatrix gates;        // (B x 4 D) i, f, o, g
    const float *keep;      // (B) of the next step, or NULL: 1
    PufMatrix cell;         // (B x D)
    PufMatrix grad_out;     // (B x D)
    PufMatrix grad_hidden;  // (B x D) of next_hidden
    PufMatrix grad_cell;    // (B x D) in: of next_cell; out: of cell
    PufOperand grad_gates;  // (B x 4 D) out, of the products
    float *grad_bias;       // (4 D) accumulated
} PufLSTMBackward;

#ifdef PUF_LANES // the kernels, for one vector width; the bindings need only the arguments
#include "simd.h"

// The gates and the cell of a row, in two short loops, which use a core better than one long loop.
PUF_INLINE void lstm_cells(float *gates, const float *bias, const float *cell, float *next_cell,
                           int64_t size) {
    for (int64_t d = 0; d < size; d += PUF_LANES) {
        const int64_t n = size - d;
        PufFloats value[4];
        for (int k = 0; k < 4; k++)
            value[k] = puf_load_n(gates + k * size + d, n) + puf_load_n(bias + k * size + d, n);
        puf_gates(value);
        for (int k = 0; k < 4; k++) puf_store_n(gates + k * size + d, value[k], n);
        puf_store_n(next_cell + d, value[1] * puf_load_n(cell + d, n) + value[0] * value[3], n);
    }
}

// The states of a row: next_cell holds c and becomes c * keep.
PUF_INLINE void lstm_states(const PufLSTM *args, int64_t row, const float *output, int is_bf16,
                            int next_is_bf16) {
    const float keep = args->keep ? args->keep[row] : 1.0f;
    float *next_cell = puf_row(args->next_cell, row);
    for (int64_t d = 0; d < args->size; d += PUF_LANES) {
        const int64_t n = args->size - d;
        const PufFloats cell = puf_load_n(next_cell + d, n);
        const PufFloats hidden = puf_load_n(output + d, n) * puf_tanh(cell);
        puf_store_operand(args->out, row, d, hidden, n, is_bf16);
        puf_store_n(next_cell + d, cell * keep, n);
        if (args->next_hidden.data)
            puf_store_operand(args->next_hidden, row, d, hidden * keep, n, next_is_bf16);
    }
}

PUF_INLINE void lstm_rows(const PufLSTM *args, int is_bf16, int next_is_bf16) {
    const int64_t size = args->size;
    for (int64_t row = 0; row < args->num_rows; row++) {
        float *gates = puf_row(args->gates, row);
        lstm_cells(gates, args->bias, puf_row(args->cell, row), puf_row(args->next_cell, row),
                   size);
        lstm_states(args, row, gates + 2 * size, is_bf16, next_is_bf16);
    }
}

static int puf_lstm(const PufLSTM *args, PufFault *fault) {
    if (args->next_hidden.is_bf16) PUF_EACH_DTYPE(args->out, lstm_rows(args, is_bf16, 1));
    else PUF_EACH_DTYPE(args->out, lstm_rows(args, is_bf16, 0));
    return 0;
}

// With t = tanh(c), and dh, dc the gradients of h and c:
//     dc = keep * grad_cell + dh * o * (1 - t^2),    dh = grad_out + keep * grad_hidden
PUF_INLINE void lstm_units_backward(const PufLSTMBackward *args, int64_t row, int64_t d, int64_t n,
                                    int is_bf16) {
    const int64_t size = args->size;
    const float *gates = puf_row(args->gates, row) + d;
    float *grad_cell = puf_row(args->grad_cell, row) + d;
    const float keep = args->keep ? args->keep[row] : 1.0f;
    const PufFloats i = puf_load_n(gates, n), f = puf_load_n(gates + size, n);
    const PufFloats o = puf_load_n(gates + 2 * size, n), g = puf_load_n(gates + 3 * size, n);
    const PufFloats before = puf_load_n(puf_row(args->cell, row) + d, n);
    const PufFloats t = puf_tanh(f * before + i * g);
    const PufFloats dh = puf_load_n(puf_row(args->grad_out, row) + d, n) +
                         keep * puf_load_n(puf_row(args->grad_hidden, row) + d, n);
    const PufFloats dc = keep * puf_load_n(grad_cell, n) + dh * o * (1.0f - t * t);
    const PufFloats slopes[4] = {dc * g * (i - i * i), dc * before * (f - f * f),
                                 dh * t * (o - o * o), dc * i * (1.0f - g * g)};
    for (int k = 0; k < 4; k++) {
        float *sum = args->grad_bias + k * size + d;
        puf_store_operand(args->grad_gates, row, k * size + d, slopes[k], n, is_bf16);
        puf_store_n(sum, puf_load_n(sum, n) + slopes[k], n);
    }
    puf_store_n(grad_cell, dc * f, n);
}

PUF_INLINE void lstm_rows_backward(const PufLSTMBackward *args, int is_bf16) {
    for (int64_t row = 0; row < args->num_rows; row++) {
        int64_t d = 0;
        for (; d + PUF_LANES <= args->size; d += PUF_LANES)
            lstm_units_backward(args, row, d, PUF_LANES, is_bf16);
        if (d < args->size) lstm_units_backward(args, row, d, args->size - d, is_bf16);
    }
}

static int puf_lstm_backward(const PufLSTMBackward *args, PufFault *fault) {
    PUF_EACH_DTYPE(args->grad_gates, lstm_rows_backward(args, is_bf16));
    return 0;
}

#endif
#endif
