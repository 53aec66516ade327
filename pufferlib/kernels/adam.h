// pufferlib/kernels/adam.h - one step of AdamW (Loshchilov, Hutter 2019) over weights in one array,
// and what comes before it: the gradients of several threads made one, and its sum of squares.
//
// With g the scaled gradient, t the steps taken with this one:
//     m = m + (1 - beta1) (g - m),    v = beta2 v + (1 - beta2) g^2
//     w = w (1 - rate decay) - rate / (1 - beta1^t) m / (sqrt(v / (1 - beta2^t)) + eps)
// The gradient is 0 afterwards: the next one is added up in its place. Moments that are next to
// nothing become 0: where gradients have ceased (a unit that is never active), they would shrink to
// denormal numbers and stay there, with which a step takes eight times as long.
#ifndef PUF_ADAM_H
#define PUF_ADAM_H

#include "kernels.h"

// What changes from step to step.
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

#ifdef PUF_LANES // the kernels: compiled once per vector width
#include "simd.h"

#define PUF_ADAM_LEAST_MEAN 1e-30f   // divided by a large root it is not denormal yet
#define PUF_ADAM_LEAST_SQUARE 1e-36f // of gradients below the smallest legal eps

PUF_INLINE PufFloats adam_moment(PufFloats x, float least) {
    return puf_select((x < least) & (x > -least), puf_all(0.0f), x);
}

PUF_INLINE void adam_some(const PufAdam *args, PufAdamParams params, int64_t at, int64_t n) {
    const PufFloats g = puf_load_some(args->grads + at, n) * params.grad_scale;
    PufFloats w = puf_load_some(args->weights + at, n), m = puf_load_some(args->mean + at, n);
    PufFloats v = puf_load_some(args->square + at, n);
    m = adam_moment(m + (1.0f - args->beta1) * (g - m), PUF_ADAM_LEAST_MEAN);
    v = adam_moment(args->beta2 * v + (1.0f - args->beta2) * g * g, PUF_ADAM_LEAST_SQUARE);
    const PufFloats root = puf_sqrt(v) * params.root_scale + args->eps;
    w = w * params.weight_factor - params.step_size * (m / root);
    puf_store_some(args->weights + at, w, n);
    puf_store_some(args->mean + at, m, n);
    puf_store_some(args->square + at, v, n);
    puf_store_some(args->grads + at, puf_all(0.0f), n);
}

static int puf_adam(const PufAdam *args, PufFault *fault) {
    const PufAdamParams params = *args->params;
    int64_t at = 0;
    for (; at + PUF_LANES <= args->size; at += PUF_LANES) adam_some(args, params, at, PUF_LANES);
    if (at < args->size) adam_some(args, params, at, args->size - at);
    return 0;
}

#endif
#endif
