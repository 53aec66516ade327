// pufferlib/kernels_recurrent.h - the arithmetic of recurrent cells between their matrix products.
//
// LSTM (Hochreiter, Schmidhuber 1997), one step of B rows; i, f, o, g are the four quarters of
// gates + bias after their functions:
//     c = f * cell + i * g,    h = o * tanh(c)
// minGRU (Feng et al. 2024), H steps of B rows; z, c are the halves of gates + bias:
//     h_t = (1 - z_t) * keep_t * h_(t-1) + z_t * c_t,    out_t = x_t + h_t
// `keep` is 0 where a life begins, so that nothing before it is seen, else 1. A row is D units;
// PUF_LANES of them are done at once.
#ifndef PUF_KERNELS_RECURRENT_H
#define PUF_KERNELS_RECURRENT_H

#include "kernels_math.h"

// The last vector of a row may be short: the lanes behind `n` are 0 and never stored.
PUF_INLINE PufFloats load_units(const float *from, int64_t n) {
    if (n >= PUF_LANES) return puf_load(from);
    PufFloats x = {0};
    memcpy(&x, from, (size_t)n * sizeof(float));
    return x;
}
PUF_INLINE void store_units(float *to, PufFloats x, int64_t n) {
    if (n >= PUF_LANES) puf_store(to, x);
    else memcpy(to, &x, (size_t)n * sizeof(float));
}
PUF_INLINE float *row_of(PufRows rows, int64_t row) { return rows.at + row * rows.stride; }

PUF_INLINE void lstm_units(const PufLSTM *pass, int64_t row, int64_t d, int64_t n) {
    const int64_t size = pass->size;
    float *gates = row_of(pass->gates, row) + d;
    const float *bias = pass->bias + d;
    const float keep = pass->keep ? pass->keep[row] : 1.0f;
    PufFloats value[4];
    for (int k = 0; k < 4; k++) {
        const PufFloats x = load_units(gates + k * size, n) + load_units(bias + k * size, n);
        value[k] = k < 3 ? puf_sigmoid(x) : puf_tanh(x);
        store_units(gates + k * size, value[k], n);
    }
    const PufFloats before = load_units(row_of(pass->cell, row) + d, n);
    const PufFloats cell = value[1] * before + value[0] * value[3];
    const PufFloats hidden = value[2] * puf_tanh(cell);
    store_units(row_of(pass->out, row) + d, hidden, n);
    store_units(row_of(pass->next_cell, row) + d, cell * keep, n);
    if (pass->next_hidden.at) store_units(row_of(pass->next_hidden, row) + d, hidden * keep, n);
}

static void puf_lstm(const PufLSTM *pass) {
    for (int64_t row = 0; row < pass->num_rows; row++) {
        int64_t d = 0;
        for (; d + PUF_LANES <= pass->size; d += PUF_LANES) lstm_units(pass, row, d, PUF_LANES);
        if (d < pass->size) lstm_units(pass, row, d, pass->size - d);
    }
}

// With t = tanh(c), dh and dc the gradients of h and of c:
//     dc = keep * grad_cell + dh * o * (1 - t^2),    dh = grad_out + keep * grad_hidden
PUF_INLINE void lstm_units_back(const PufLSTMBack *pass, int64_t row, int64_t d, int64_t n) {
    const int64_t size = pass->size;
    const float *gates = row_of(pass->gates, row) + d;
    float *grad = row_of(pass->grad_gates, row) + d, *grad_cell = row_of(pass->grad_cell, row) + d;
    const float keep = pass->keep ? pass->keep[row] : 1.0f;
    const PufFloats i = load_units(gates, n), f = load_units(gates + size, n);
    const PufFloats o = load_units(gates + 2 * size, n), g = load_units(gates + 3 * size, n);
    const PufFloats before = load_units(row_of(pass->cell, row) + d, n);
    const PufFloats t = puf_tanh(f * before + i * g);
    const PufFloats dh = load_units(row_of(pass->grad_out, row) + d, n) +
                         keep * load_units(row_of(pass->grad_hidden, row) + d, n);
    const PufFloats dc = keep * load_units(grad_cell, n) + dh * o * (1.0f - t * t);
    const PufFloats slopes[4] = {dc * g * (i - i * i), dc * before * (f - f * f),
                                 dh * t * (o - o * o), dc * i * (1.0f - g * g)};
    for (int k = 0; k < 4; k++) {
        float *sum = pass->grad_bias + k * size + d;
        store_units(grad + k * size, slopes[k], n);
        store_units(sum, load_units(sum, n) + slopes[k], n);
    }
    store_units(grad_cell, dc * f, n);
}

static void puf_lstm_back(const PufLSTMBack *pass) {
    for (int64_t row = 0; row < pass->num_rows; row++) {
        int64_t d = 0;
        for (; d + PUF_LANES <= pass->size; d += PUF_LANES)
            lstm_units_back(pass, row, d, PUF_LANES);
        if (d < pass->size) lstm_units_back(pass, row, d, pass->size - d);
    }
}

// `step` is row * H + t; `before` is h_(t-1), of the first step the state.
PUF_INLINE void mingru_units(const PufMinGRU *pass, int64_t step, const float *before, int64_t d,
                             int64_t n) {
    const int64_t size = pass->size;
    float *gates = pass->gates + step * 2 * size + d;
    const PufFloats z = puf_sigmoid(load_units(gates, n) + load_units(pass->bias + d, n));
    const PufFloats c = load_units(gates + size, n) + load_units(pass->bias + size + d, n);
    const float keep = pass->keep ? pass->keep[step] : 1.0f;
    const PufFloats h = (1.0f - z) * (keep * load_units(before + d, n)) + z * c;
    store_units(gates, z, n);
    store_units(gates + size, c, n);
    store_units(pass->hidden + step * size + d, h, n);
    store_units(pass->out + step * size + d, load_units(pass->x + step * size + d, n) + h, n);
}

static void puf_mingru(const PufMinGRU *pass) {
    const int64_t size = pass->size;
    for (int64_t step = 0; step < pass->num_rows * pass->horizon; step++) {
        const int64_t row = step / pass->horizon;
        const float *before =
            step % pass->horizon ? pass->hidden + (step - 1) * size : row_of(pass->state, row);
        int64_t d = 0;
        for (; d + PUF_LANES <= size; d += PUF_LANES)
            mingru_units(pass, step, before, d, PUF_LANES);
        if (d < size) mingru_units(pass, step, before, d, size - d);
    }
}

// dh = grad_out_t + what comes from t + 1, and to t - 1 goes dh * (1 - z) * keep: `grad_state`.
PUF_INLINE void mingru_units_back(const PufMinGRUBack *pass, int64_t step, const float *before,
                                  float *grad_state, int64_t d, int64_t n) {
    const int64_t size = pass->size;
    const float *gates = pass->gates + step * 2 * size + d;
    float *grad = pass->grad_gates + step * 2 * size + d;
    float *sum = pass->grad_bias + d;
    const float keep = pass->keep[step];
    const PufFloats z = load_units(gates, n), c = load_units(gates + size, n);
    const PufFloats dh =
        load_units(pass->grad_out + step * size + d, n) + load_units(grad_state + d, n);
    const PufFloats seen = keep * load_units(before + d, n);
    const PufFloats grad_z = dh * (c - seen) * (z - z * z), grad_c = dh * z;
    store_units(grad, grad_z, n);
    store_units(grad + size, grad_c, n);
    store_units(sum, load_units(sum, n) + grad_z, n);
    store_units(sum + size, load_units(sum + size, n) + grad_c, n);
    store_units(grad_state + d, dh * (1.0f - z) * keep, n);
}

static void puf_mingru_back(const PufMinGRUBack *pass) {
    const int64_t size = pass->size;
    for (int64_t step = pass->num_rows * pass->horizon - 1; step >= 0; step--) {
        const int64_t row = step / pass->horizon;
        const float *before =
            step % pass->horizon ? pass->hidden + (step - 1) * size : row_of(pass->state, row);
        float *grad_state = pass->grad_state + row * size;
        int64_t d = 0;
        for (; d + PUF_LANES <= size; d += PUF_LANES)
            mingru_units_back(pass, step, before, grad_state, d, PUF_LANES);
        if (d < size) mingru_units_back(pass, step, before, grad_state, d, size - d);
    }
}

#endif
