// pufferlib/kernels/mingru.h - H steps of a minGRU layer (Feng et al. 2024), after its product.
//
// With z the sigmoid of the first half of gates + bias, and c the second half:
//     h_t = (1 - z_t) * keep_t * h_(t-1) + z_t * c_t,    out_t = x_t + h_t
// `keep` is 0 if a life begins with the step, so that nothing of the previous life remains, and 1
// otherwise. A row is D units, a vector PUF_LANES of them.
#ifndef PUF_MINGRU_H
#define PUF_MINGRU_H

#include "kernels.h"

typedef struct PufMinGRU {
    int64_t num_rows, horizon, size; // B, H, D
    float *gates;                    // (B x H x 2 D) in: product without bias; out: z, c
    const float *bias;               // (2 D)
    const float *keep;               // (B x H) of the step itself, or NULL: 1
    PufOperand x;                    // (B * H x D)
    PufMatrix state;                 // (B x D)
    PufMatrix hidden;                // (B * H x D) out
    PufOperand out;                  // (B * H x D) out; may be x
} PufMinGRU;

typedef struct PufMinGRUBackward {
    int64_t num_rows, horizon, size; // B, H, D
    const float *gates;              // (B x H x 2 D) z, c
    const float *keep;               // (B x H)
    PufMatrix state;                 // (B x D)
    const float *hidden, *grad_out;  // (B x H x D)
    float *grad_state;               // (B x D) in: 0; out
    PufOperand grad_gates;           // (B * H x 2 D) out, of the products; may be the gates
    float *grad_bias;                // (2 D) accumulated
} PufMinGRUBackward;

#ifdef PUF_LANES // the kernels, for one vector width; the bindings need only the arguments
#include "simd.h"

// Units [d, d + n) of step row * H + t; `before` is h_(t-1), or the state if t is 0.
PUF_INLINE void mingru_units(const PufMinGRU *args, int64_t step, const float *before, int64_t d,
                             int64_t n, int x_is_bf16, int is_bf16) {
    const int64_t size = args->size;
    float *gates = args->gates + step * 2 * size + d;
    const PufFloats z = puf_sigmoid(puf_load_n(gates, n) + puf_load_n(args->bias + d, n));
    const PufFloats c = puf_load_n(gates + size, n) + puf_load_n(args->bias + size + d, n);
    const float keep = args->keep ? args->keep[step] : 1.0f;
    const PufFloats h = (1.0f - z) * (keep * puf_load_n(before + d, n)) + z * c;
    puf_store_n(gates, z, n);
    puf_store_n(gates + size, c, n);
    puf_store_n(puf_row(args->hidden, step) + d, h, n);
    puf_store_operand(args->out, step, d, puf_load_operand(args->x, step, d, n, x_is_bf16) + h, n,
                      is_bf16);
}

PUF_INLINE void mingru_rows(const PufMinGRU *args, int x_is_bf16, int is_bf16) {
    const int64_t size = args->size;
    for (int64_t step = 0; step < args->num_rows * args->horizon; step++) {
        const int64_t row = step / args->horizon;
        const float *before =
            step % args->horizon ? puf_row(args->hidden, step - 1) : puf_row(args->state, row);
        int64_t d = 0;
        for (; d + PUF_LANES <= size; d += PUF_LANES)
            mingru_units(args, step, before, d, PUF_LANES, x_is_bf16, is_bf16);
        if (d < size) mingru_units(args, step, before, d, size - d, x_is_bf16, is_bf16);
    }
}

static int puf_mingru(const PufMinGRU *args, PufFault *fault) {
    if (args->x.is_bf16) PUF_EACH_DTYPE(args->out, mingru_rows(args, 1, is_bf16));
    else PUF_EACH_DTYPE(args->out, mingru_rows(args, 0, is_bf16));
    return 0;
}

// grad_state holds the gradient of h that comes from the next step: dh = grad_out_t + grad_state,
// and step t - 1 gets dh * (1 - z) * keep.
PUF_INLINE void mingru_units_backward(const PufMinGRUBackward *args, int64_t step,
                                      const float *before, float *grad_state, int64_t d, int64_t n,
                                      int is_bf16) {
    const int64_t size = args->size;
    const float *gates = args->gates + step * 2 * size + d;
    float *sum = args->grad_bias + d;
    const float keep = args->keep[step];
    const PufFloats z = puf_load_n(gates, n), c = puf_load_n(gates + size, n);
    const PufFloats dh =
        puf_load_n(args->grad_out + step * size + d, n) + puf_load_n(grad_state + d, n);
    const PufFloats seen = keep * puf_load_n(before + d, n);
    const PufFloats grad_z = dh * (c - seen) * (z - z * z), grad_c = dh * z;
    puf_store_operand(args->grad_gates, step, d, grad_z, n, is_bf16);
    puf_store_operand(args->grad_gates, step, size + d, grad_c, n, is_bf16);
    puf_store_n(sum, puf_load_n(sum, n) + grad_z, n);
    puf_store_n(sum + size, puf_load_n(sum + size, n) + grad_c, n);
    puf_store_n(grad_state + d, dh * (1.0f - z) * keep, n);
}

PUF_INLINE void mingru_rows_backward(const PufMinGRUBackward *args, int is_bf16) {
    const int64_t size = args->size;
    for (int64_t step = args->num_rows * args->horizon - 1; step >= 0; step--) {
        const int64_t row = step / args->horizon;
        const float *before =
            step % args->horizon ? args->hidden + (step - 1) * size : puf_row(args->state, row);
        float *grad_state = args->grad_state + row * size;
        int64_t d = 0;
        for (; d + PUF_LANES <= size; d += PUF_LANES)
            mingru_units_backward(args, step, before, grad_state, d, PUF_LANES, is_bf16);
        if (d < size) mingru_units_backward(args, step, before, grad_state, d, size - d, is_bf16);
    }
}

static int puf_mingru_backward(const PufMinGRUBackward *args, PufFault *fault) {
    PUF_EACH_DTYPE(args->grad_gates, mingru_rows_backward(args, is_bf16));
    return 0;
}

#endif
#endif
