// pufferlib/kernels/moments.h - mean and standard deviation (over n, not n - 1) of rows.
#ifndef PUF_MOMENTS_H
#define PUF_MOMENTS_H

#include "kernels.h"

typedef struct PufMoments {
    int64_t num_rows, num_taken, size; // R, m, H
    const float *pool;                 // (R x H)
    const int32_t *index;              // (m)
    double *mean, *deviation;          // out
} PufMoments;

#ifdef PUF_LANES // the kernel, for one vector width; the bindings need only the arguments
#include "simd.h"

// Returns the sum of (x - middle)^power over the rows, with power 1 or 2. It is summed in 16 columns
// of doubles at every vector width, so that all give the same bits.
#define PUF_MOMENT_COLUMNS 16
PUF_INLINE double sum_of_rows(const PufMoments *args, double middle, int power) {
    double columns[PUF_MOMENT_COLUMNS] = {0}, sum = 0.0;
    for (int64_t i = 0; i < args->num_taken; i++) {
        const float *x = args->pool + args->index[i] * args->size;
        int64_t h = 0;
        for (; h + PUF_MOMENT_COLUMNS <= args->size; h += PUF_MOMENT_COLUMNS)
            for (int c = 0; c < PUF_MOMENT_COLUMNS; c++) {
                const double d = (double)x[h + c] - middle;
                columns[c] += power == 2 ? d * d : d;
            }
        for (int c = 0; h + c < args->size; c++) {
            const double d = (double)x[h + c] - middle;
            columns[c] += power == 2 ? d * d : d;
        }
    }
    for (int c = 0; c < PUF_MOMENT_COLUMNS; c++) sum += columns[c];
    return sum;
}

static int puf_moments(const PufMoments *args, PufFault *fault) {
    for (int64_t i = 0; i < args->num_taken; i++)
        if (puf_out_of_range(fault, "index", i, args->index[i], 0, args->num_rows)) return -1;
    const double count = (double)args->num_taken * (double)args->size;
    // The data is read twice, because a one-pass sum of squares loses the digits of a small
    // deviation.
    *args->mean = sum_of_rows(args, 0.0, 1) / count;
    *args->deviation = sqrt(sum_of_rows(args, *args->mean, 2) / count);
    return 0;
}

#endif
#endif
