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

#include "simd.h"

#define PUF_ADAM_LEAST_MEAN 1e-30f   // divided by a large root it is not denormal yet
#define PUF_ADAM_LEAST_SQUARE 1e-36f // of gradients below the smallest legal eps

PUF_INLINE PufFloats adam_moment(PufFloats x, float least) {
    return puf_select((x < least) & (x > -least), puf_all(0.0f), x);
}

PUF_INLINE void adam_some(const PufAdam *args, int64_t at, int64_t n) {
    const PufFloats g = puf_load_some(args->grads + at, n) * args->scale;
    PufFloats w = puf_load_some(args->weights + at, n), m = puf_load_some(args->mean + at, n);
    PufFloats v = puf_load_some(args->square + at, n);
    m = adam_moment(m + (1.0f - args->beta1) * (g - m), PUF_ADAM_LEAST_MEAN);
    v = adam_moment(args->beta2 * v + (1.0f - args->beta2) * g * g, PUF_ADAM_LEAST_SQUARE);
    const PufFloats root = puf_sqrt(v) * args->root_scale + args->eps;
    w = w * args->keep - args->step_size * (m / root);
    puf_store_some(args->weights + at, w, n);
    puf_store_some(args->mean + at, m, n);
    puf_store_some(args->square + at, v, n);
    puf_store_some(args->grads + at, puf_all(0.0f), n);
}

static void puf_adam(const PufAdam *args) {
    int64_t at = 0;
    for (; at + PUF_LANES <= args->size; at += PUF_LANES) adam_some(args, at, PUF_LANES);
    if (at < args->size) adam_some(args, at, args->size - at);
}

PUF_INLINE void reduce_some(const PufReduceGrads *args, int64_t at, int64_t n) {
    PufFloats sum = puf_load_some(args->out + at, n);
    for (int64_t row = 0; row < args->num_rows; row++) {
        float *more = puf_row(args->more, row) + at;
        sum += puf_load_some(more, n);
        puf_store_some(more, puf_all(0.0f), n);
    }
    puf_store_some(args->out + at, sum, n);
}

// Squares are summed in 16 columns of doubles, whatever the width: the same bits everywhere.
#define PUF_SQUARE_COLUMNS 16

static void puf_reduce_grads(const PufReduceGrads *args) {
    const float *x = args->out;
    double columns[PUF_SQUARE_COLUMNS] = {0}, sum = 0.0;
    int64_t at = 0;
    for (; at + PUF_LANES <= args->size; at += PUF_LANES) reduce_some(args, at, PUF_LANES);
    if (at < args->size) reduce_some(args, at, args->size - at);
    for (at = 0; at + PUF_SQUARE_COLUMNS <= args->size; at += PUF_SQUARE_COLUMNS)
        for (int c = 0; c < PUF_SQUARE_COLUMNS; c++)
            columns[c] += (double)x[at + c] * (double)x[at + c];
    for (; at < args->size; at++) columns[0] += (double)x[at] * (double)x[at];
    for (int c = 0; c < PUF_SQUARE_COLUMNS; c++) sum += columns[c];
    *args->squares = sum;
}

#endif
