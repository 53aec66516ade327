// pufferlib/kernels/product.h - a matrix product by a BLAS, which a graph records like a kernel.
#ifndef PUF_PRODUCT_H
#define PUF_PRODUCT_H

#include "kernels.h"

// gemm as BLAS defines it, column-major, with factors in float32 or bfloat16 and sums in float32.
// The library reads sizes as 32 or 64 bits, depending on how it was built.
typedef void (*PufGemm)(const char *transposed_a, const char *transposed_b, const int64_t *m,
                        const int64_t *n, const int64_t *k, const float *alpha, const void *a,
                        const int64_t *lda, const void *b, const int64_t *ldb, const float *beta,
                        float *c, const int64_t *ldc);

typedef struct PufFactor {
    const void *data;      // first element, if `input` is NULL
    int64_t stride;        // elements from line to line, if `input` is NULL
    const PufInput *input; // rows of it from `begin` on, float32; or NULL
    int64_t begin;
    char transposed; // 'N': lines are rows; 'T': they are columns
} PufFactor;

// out (N x D) = left (N x F) @ right (F x D) + beta * out
typedef struct PufProduct {
    PufGemm gemm;
    int64_t num_rows, inner, num_columns; // N, F, D
    PufFactor left, right;
    PufMatrix out;
    float beta; // 0 or 1
} PufProduct;

int puf_product(const void *args, PufFault *fault);

#endif
