// pufferlib/kernels/recurrent.h - the arithmetic of recurrent cells between their matrix products.
//
// LSTM (Hochreiter, Schmidhuber 1997), one step of B rows; i, f, o, g are the four quarters of
// gates + bias after their functions:
//     c = f * cell + i * g,    h = o * tanh(c)
// minGRU (Feng et al. 2024), H steps of B rows; z, c are the halves of gates + bias:
//     h_t = (1 - z_t) * keep_t * h_(t-1) + z_t * c_t,    out_t = x_t + h_t
// `keep` is 0 where a life begins, so that nothing before it is seen, else 1. A row is D units;
// PUF_LANES of them are done at once. What a product takes next may be bfloat16: PufOperand.
#ifndef PUF_LSTM_H
#define PUF_LSTM_H

#include "kernels.h"

typedef struct PufLSTM {
    int64_t num_rows, size; // B, D
    PufMatrix gates;        // (B x 4 D) in: products without bias; out: after their functions
    const float *bias;      // (4 D)
    const float *keep;      // (B) of the next step, or NULL: 1
    PufMatrix cell;         // (B x D)
    PufOperand out;         // (B x D) out, hidden state
    PufMatrix next_cell;    // (B x D) out, times keep; may be the cell
    PufOperand next_hidden; // (B x D) out, times keep; or none
} PufLSTM;

typedef struct PufLSTMBackward {
    int64_t num_rows, size; // B, D
    PufMatrix gates;        // (B x 4 D) after their functions
    const float *keep;      // (B) of the next step, or NULL: 1
    PufMatrix cell;         // (B x D)
    PufMatrix grad_out;     // (B x D)
    PufMatrix grad_hidden;  // (B x D) of next_hidden
    PufMatrix grad_cell;    // (B x D) in: of next_cell; out: of cell
    PufOperand grad_gates;  // (B x 4 D) out, of the products
    float *grad_bias;       // (4 D) added to
} PufLSTMBackward;

#ifdef PUF_LANES // the kernels: compiled once per vector width
#include "simd.h"

// A row's gates, and its cell: two short loops keep more of a core busy than a long one.
PUF_INLINE void lstm_cells(float *gates, const float *bias, const float *cell, float *next_cell,
                           int64_t size) {
    for (int64_t d = 0; d < size; d += PUF_LANES) {
        const int64_t n = size - d;
        PufFloats value[4];
        for (int k = 0; k < 4; k++)
            value[k] =
                puf_load_some(gates + k * size + d, n) + puf_load_some(bias + k * size + d, n);
        puf_gates(value);
        for (int k = 0; k < 4; k++) puf_store_some(gates + k * size + d, value[k], n);
        puf_store_some(next_cell + d, value[1] * puf_load_some(cell + d, n) + value[0] * value[3],
                       n);
    }
}

// What a row gives: `next_cell` is its cell before, and times keep after.
PUF_INLINE void lstm_states(const PufLSTM *args, int64_t row, const float *output, int narrow,
                            int narrow_next) {
    const float keep = args->keep ? args->keep[row] : 1.0f;
    float *next_cell = puf_row(args->next_cell, row);
    for (int64_t d = 0; d < args->size; d += PUF_LANES) {
        const int64_t n = args->size - d;
        const PufFloats cell = puf_load_some(next_cell + d, n);
        const PufFloats hidden = puf_load_some(output + d, n) * puf_tanh(cell);
        puf_leave(args->out, row, d, hidden, n, narrow);
        puf_store_some(next_cell + d, cell * keep, n);
        if (args->next_hidden.at)
            puf_leave(args->next_hidden, row, d, hidden * keep, n, narrow_next);
    }
}

PUF_INLINE void lstm_rows(const PufLSTM *args, int narrow, int narrow_next) {
    const int64_t size = args->size;
    for (int64_t row = 0; row < args->num_rows; row++) {
        float *gates = puf_row(args->gates, row);
        lstm_cells(gates, args->bias, puf_row(args->cell, row), puf_row(args->next_cell, row),
                   size);
        lstm_states(args, row, gates + 2 * size, narrow, narrow_next);
    }
}

static int puf_lstm(const PufLSTM *args, PufFault *fault) {
    if (args->next_hidden.narrow) PUF_EACH_WIDTH(args->out, lstm_rows(args, narrow, 1));
    else PUF_EACH_WIDTH(args->out, lstm_rows(args, narrow, 0));
    return 0;
}

// With t = tanh(c), dh and dc the gradients of h and of c:
//     dc = keep * grad_cell + dh * o * (1 - t^2),    dh = grad_out + keep * grad_hidden
PUF_INLINE void lstm_units_back(const PufLSTMBackward *args, int64_t row, int64_t d, int64_t n,
                                int narrow) {
    const int64_t size = args->size;
    const float *gates = puf_row(args->gates, row) + d;
    float *grad_cell = puf_row(args->grad_cell, row) + d;
    const float keep = args->keep ? args->keep[row] : 1.0f;
    const PufFloats i = puf_load_some(gates, n), f = puf_load_some(gates + size, n);
    const PufFloats o = puf_load_some(gates + 2 * size, n), g = puf_load_some(gates + 3 * size, n);
    const PufFloats before = puf_load_some(puf_row(args->cell, row) + d, n);
    const PufFloats t = puf_tanh(f * before + i * g);
    const PufFloats dh = puf_load_some(puf_row(args->grad_out, row) + d, n) +
                         keep * puf_load_some(puf_row(args->grad_hidden, row) + d, n);
    const PufFloats dc = keep * puf_load_some(grad_cell, n) + dh * o * (1.0f - t * t);
    const PufFloats slopes[4] = {dc * g * (i - i * i), dc * before * (f - f * f),
                                 dh * t * (o - o * o), dc * i * (1.0f - g * g)};
    for (int k = 0; k < 4; k++) {
        float *sum = args->grad_bias + k * size + d;
        puf_leave(args->grad_gates, row, k * size + d, slopes[k], n, narrow);
        puf_store_some(sum, puf_load_some(sum, n) + slopes[k], n);
    }
    puf_store_some(grad_cell, dc * f, n);
}

PUF_INLINE void lstm_rows_back(const PufLSTMBackward *args, int narrow) {
    for (int64_t row = 0; row < args->num_rows; row++) {
        int64_t d = 0;
        for (; d + PUF_LANES <= args->size; d += PUF_LANES)
            lstm_units_back(args, row, d, PUF_LANES, narrow);
        if (d < args->size) lstm_units_back(args, row, d, args->size - d, narrow);
    }
}

static int puf_lstm_backward(const PufLSTMBackward *args, PufFault *fault) {
    PUF_EACH_WIDTH(args->grad_gates, lstm_rows_back(args, narrow));
    return 0;
}

#endif
#endif
