// pufferlib/kernels/adam.h - one step of AdamW (Loshchilov, Hutter 2019) over weights in one array.
//
// With g the scaled gradient and t the number of steps, this one included:
//     m = m + (1 - beta1) (g - m),    v = beta2 v + (1 - beta2) g^2
//     w = w (1 - rate decay) - rate / (1 - beta1^t) m / (sqrt(v / (1 - beta2^t)) + eps)
// The gradient is set to 0, because backward passes add to it. Tiny moments are set to 0 as well:
// if a weight no longer gets gradients (its unit is never active), they would decay to denormal
// numbers, and a step would take eight times as long.
#ifndef PUF_ADAM_H
#define PUF_ADAM_H

#include "kernels.h"

// The parameters that change between steps.
typedef struct PufAdamParams {
    float grad_scale;    // gradients are multiplied by it
    float step_size;     // learning rate / (1 - beta1^t)
    float root_scale;    // 1 / sqrt(1 - beta2^t)
    float weight_factor; // 1 - learning rate * weight decay
} PufAdamParams;

typedef struct PufAdam {
    int64_t size;           // W
    float *weights, *grads; // (W) in and out; gradients are 0 afterwards
    float *mean, *square;   // (W) in and out, moments of the gradient
    float beta1, beta2, eps;
    const PufAdamParams *params;
} PufAdam;

#ifdef PUF_LANES // the kernel, for one vector width; the bindings need only the arguments
#include "simd.h"

#define PUF_ADAM_MIN_MEAN 1e-30f   // not denormal even after division by a large root
#define PUF_ADAM_MIN_SQUARE 1e-36f // the square of a gradient below the smallest legal eps

// Returns x, or 0 if its magnitude is below `limit`.
PUF_INLINE PufFloats flush_tiny(PufFloats x, float limit) {
    return puf_select((x < limit) & (x > -limit), puf_splat(0.0f), x);
}

// Weights [at, at + n), at most one vector.
PUF_INLINE void adam_vector(const PufAdam *args, PufAdamParams params, int64_t at, int64_t n) {
    const PufFloats g = puf_load_n(args->grads + at, n) * params.grad_scale;
    PufFloats w = puf_load_n(args->weights + at, n), m = puf_load_n(args->mean + at, n);
    PufFloats v = puf_load_n(args->square + at, n);
    m = flush_tiny(m + (1.0f - args->beta1) * (g - m), PUF_ADAM_MIN_MEAN);
    v = flush_tiny(args->beta2 * v + (1.0f - args->beta2) * g * g, PUF_ADAM_MIN_SQUARE);
    const PufFloats root = puf_sqrt(v) * params.root_scale + args->eps;
    w = w * params.weight_factor - params.step_size * (m / root);
    puf_store_n(args->weights + at, w, n);
    puf_store_n(args->mean + at, m, n);
    puf_store_n(args->square + at, v, n);
    puf_store_n(args->grads + at, puf_splat(0.0f), n);
}

static int puf_adam(const PufAdam *args, PufFault *fault) {
    const PufAdamParams params = *args->params; // stores cannot alias a copy
    int64_t at = 0;
    for (; at + PUF_LANES <= args->size; at += PUF_LANES) adam_vector(args, params, at, PUF_LANES);
    if (at < args->size) adam_vector(args, params, at, args->size - at);
    return 0;
}

#endif
#endif
