// pufferlib/kernels/recurrent.h - the arithmetic of recurrent cells between their matrix products.
//
// LSTM (Hochreiter, Schmidhuber 1997), one step of B rows; i, f, o, g are the four quarters of
// gates + bias after their functions:
//     c = f * cell + i * g,    h = o * tanh(c)
// minGRU (Feng et al. 2024), H steps of B rows; z, c are the halves of gates + bias:
//     h_t = (1 - z_t) * keep_t * h_(t-1) + z_t * c_t,    out_t = x_t + h_t
// `keep` is 0 where a life begins, so that nothing before it is seen, else 1. A row is D units;
// PUF_LANES of them are done at once. What a product takes next may be bfloat16: PufOperand.
#ifndef PUF_RECURRENT_H
#define PUF_RECURRENT_H

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

static void puf_lstm(const PufLSTM *args) {
    if (args->next_hidden.narrow) PUF_EACH_WIDTH(args->out, lstm_rows(args, narrow, 1));
    else PUF_EACH_WIDTH(args->out, lstm_rows(args, narrow, 0));
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

static void puf_lstm_backward(const PufLSTMBackward *args) {
    PUF_EACH_WIDTH(args->grad_gates, lstm_rows_back(args, narrow));
}

// `step` is row * H + t; `before` is h_(t-1), of the first step the state.
PUF_INLINE void mingru_units(const PufMinGRU *args, int64_t step, const float *before, int64_t d,
                             int64_t n, int narrow_x, int narrow) {
    const int64_t size = args->size;
    float *gates = args->gates + step * 2 * size + d;
    const PufFloats z = puf_sigmoid(puf_load_some(gates, n) + puf_load_some(args->bias + d, n));
    const PufFloats c = puf_load_some(gates + size, n) + puf_load_some(args->bias + size + d, n);
    const float keep = args->keep ? args->keep[step] : 1.0f;
    const PufFloats h = (1.0f - z) * (keep * puf_load_some(before + d, n)) + z * c;
    puf_store_some(gates, z, n);
    puf_store_some(gates + size, c, n);
    puf_store_some(puf_row(args->hidden, step) + d, h, n);
    puf_leave(args->out, step, d, puf_take(args->x, step, d, n, narrow_x) + h, n, narrow);
}

PUF_INLINE void mingru_rows(const PufMinGRU *args, int narrow_x, int narrow) {
    const int64_t size = args->size;
    for (int64_t step = 0; step < args->num_rows * args->horizon; step++) {
        const int64_t row = step / args->horizon;
        const float *before =
            step % args->horizon ? puf_row(args->hidden, step - 1) : puf_row(args->state, row);
        int64_t d = 0;
        for (; d + PUF_LANES <= size; d += PUF_LANES)
            mingru_units(args, step, before, d, PUF_LANES, narrow_x, narrow);
        if (d < size) mingru_units(args, step, before, d, size - d, narrow_x, narrow);
    }
}

static void puf_mingru(const PufMinGRU *args) {
    if (args->x.narrow) PUF_EACH_WIDTH(args->out, mingru_rows(args, 1, narrow));
    else PUF_EACH_WIDTH(args->out, mingru_rows(args, 0, narrow));
}

// dh = grad_out_t + what comes from t + 1, and to t - 1 goes dh * (1 - z) * keep: `grad_state`.
PUF_INLINE void mingru_units_back(const PufMinGRUBackward *args, int64_t step, const float *before,
                                  float *grad_state, int64_t d, int64_t n, int narrow) {
    const int64_t size = args->size;
    const float *gates = args->gates + step * 2 * size + d;
    float *sum = args->grad_bias + d;
    const float keep = args->keep[step];
    const PufFloats z = puf_load_some(gates, n), c = puf_load_some(gates + size, n);
    const PufFloats dh =
        puf_load_some(args->grad_out + step * size + d, n) + puf_load_some(grad_state + d, n);
    const PufFloats seen = keep * puf_load_some(before + d, n);
    const PufFloats grad_z = dh * (c - seen) * (z - z * z), grad_c = dh * z;
    puf_leave(args->grad_gates, step, d, grad_z, n, narrow);
    puf_leave(args->grad_gates, step, size + d, grad_c, n, narrow);
    puf_store_some(sum, puf_load_some(sum, n) + grad_z, n);
    puf_store_some(sum + size, puf_load_some(sum + size, n) + grad_c, n);
    puf_store_some(grad_state + d, dh * (1.0f - z) * keep, n);
}

PUF_INLINE void mingru_rows_back(const PufMinGRUBackward *args, int narrow) {
    const int64_t size = args->size;
    for (int64_t step = args->num_rows * args->horizon - 1; step >= 0; step--) {
        const int64_t row = step / args->horizon;
        const float *before =
            step % args->horizon ? args->hidden + (step - 1) * size : puf_row(args->state, row);
        float *grad_state = args->grad_state + row * size;
        int64_t d = 0;
        for (; d + PUF_LANES <= size; d += PUF_LANES)
            mingru_units_back(args, step, before, grad_state, d, PUF_LANES, narrow);
        if (d < size) mingru_units_back(args, step, before, grad_state, d, size - d, narrow);
    }
}

static void puf_mingru_backward(const PufMinGRUBackward *args) {
    PUF_EACH_WIDTH(args->grad_gates, mingru_rows_back(args, narrow));
}

#endif
