// pufferlib/kernels/recurrent.h - the arithmetic of recurrent cells between their matrix products.
//
// LSTM (Hochreiter, Schmidhuber 1997), one step of B rows; i, f, o, g are the four quarters of
// gates + bias after their functions:
//     c = f * cell + i * g,    h = o * tanh(c)
// minGRU (Feng et al. 2024), H steps of B rows; z, c are the halves of gates + bias:
//     h_t = (1 - z_t) * keep_t * h_(t-1) + z_t * c_t,    out_t = x_t + h_t
// `keep` is 0 where a life begins, so that nothing before it is seen, else 1. A row is D units;
// PUF_LANES of them are done at once. What a product takes next may be bfloat16: PufOperand.
#ifndef PUF_MINGRU_H
#define PUF_MINGRU_H

#include "kernels.h"

typedef struct PufMinGRU {
    int64_t num_rows, horizon, size; // B, H, D
    float *gates;                    // (B x H x 2 D) as above
    const float *bias;               // (2 D)
    const float *keep;               // (B x H) of the step itself, or NULL: 1
    PufOperand x;                    // (B * H x D)
    PufMatrix state;                 // (B x D)
    PufMatrix hidden;                // (B * H x D) out
    PufOperand out;                  // (B * H x D) out; may be x
} PufMinGRU;

typedef struct PufMinGRUBackward {
    int64_t num_rows, horizon, size; // B, H, D
    const float *gates;              // (B x H x 2 D) after their functions
    const float *keep;               // (B x H)
    PufMatrix state;                 // (B x D)
    const float *hidden, *grad_out;  // (B x H x D)
    float *grad_state;               // (B x D) in: 0; out
    PufOperand grad_gates;           // (B * H x 2 D) out, of the products; may be the gates
    float *grad_bias;                // (2 D) added to
} PufMinGRUBackward;

#ifdef PUF_LANES // the kernels: compiled once per vector width
#include "simd.h"

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

static int puf_mingru(const PufMinGRU *args, PufFault *fault) {
    if (args->x.narrow) PUF_EACH_WIDTH(args->out, mingru_rows(args, 1, narrow));
    else PUF_EACH_WIDTH(args->out, mingru_rows(args, 0, narrow));
    return 0;
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

static int puf_mingru_backward(const PufMinGRUBackward *args, PufFault *fault) {
    PUF_EACH_WIDTH(args->grad_gates, mingru_rows_back(args, narrow));
    return 0;
}

#endif
#endif
