// pufferlib/kernels/fill.h - fills a matrix with one number.
#ifndef PUF_FILL_H
#define PUF_FILL_H

#include "kernels.h"

typedef struct PufFill {
    int64_t num_rows, size; // B, D
    PufMatrix out;          // (B x D)
    float value;
} PufFill;

#ifdef PUF_LANES // the kernel, for one vector width; the bindings need only the arguments
#include "simd.h"

static int puf_fill(const PufFill *args, PufFault *fault) {
    for (int64_t row = 0; row < args->num_rows; row++)
        for (int64_t d = 0; d < args->size; d++) puf_row(args->out, row)[d] = args->value;
    return 0;
}

#endif
#endif
