// pufferlib/kernels/reduce_grads.h - adds the gradients of all threads to those of the first, and
// sums the squares of the result, for its norm.
#ifndef PUF_REDUCE_GRADS_H
#define PUF_REDUCE_GRADS_H

#include "kernels.h"

typedef struct PufReduceGrads {
    int64_t num_rows, size; // n, W
    PufMatrix more;         // (n x W) in and out; 0 afterwards
    float *out;             // (W) in and out
    double *squares;        // (1) out
} PufReduceGrads;

#ifdef PUF_LANES // the kernel, for one vector width; the bindings need only the arguments
#include "simd.h"

// Gradients [at, at + n), at most one vector; those of the other threads become 0.
PUF_INLINE void reduce_vector(const PufReduceGrads *args, int64_t at, int64_t n) {
    PufFloats sum = puf_load_n(args->out + at, n);
    for (int64_t row = 0; row < args->num_rows; row++) {
        float *more = puf_row(args->more, row) + at;
        sum += puf_load_n(more, n);
        puf_store_n(more, puf_splat(0.0f), n);
    }
    puf_store_n(args->out + at, sum, n);
}

// Squares are summed in 16 columns of doubles at every vector width, so that all give the same bits.
#define PUF_SQUARE_COLUMNS 16

static int puf_reduce_grads(const PufReduceGrads *args, PufFault *fault) {
    const float *x = args->out;
    double columns[PUF_SQUARE_COLUMNS] = {0}, sum = 0.0;
    int64_t at = 0;
    for (; at + PUF_LANES <= args->size; at += PUF_LANES) reduce_vector(args, at, PUF_LANES);
    if (at < args->size) reduce_vector(args, at, args->size - at);
    for (at = 0; at + PUF_SQUARE_COLUMNS <= args->size; at += PUF_SQUARE_COLUMNS)
        for (int c = 0; c < PUF_SQUARE_COLUMNS; c++)
            columns[c] += (double)x[at + c] * (double)x[at + c];
    for (; at < args->size; at++) columns[0] += (double)x[at] * (double)x[at];
    for (int c = 0; c < PUF_SQUARE_COLUMNS; c++) sum += columns[c];
    *args->squares = sum;
    return 0;
}

#endif
#endif
