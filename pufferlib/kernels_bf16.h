// pufferlib/kernels_bf16.h - a dense layer's arithmetic between products of bfloat16 operands.
//
// What kernels_dense.h does, in float32 as there: what a product left is widened, what the next one
// takes is rounded. A layer beside one of float32 is `wide`: gives and is given float32.
#ifndef PUF_KERNELS_BF16_H
#define PUF_KERNELS_BF16_H

#include "kernels_dense.h"

PUF_INLINE void dense_bf16_rows(const PufDenseBF16 *pass, PufActivation f, int wide) {
    const int64_t size = pass->size;
    for (int64_t row = 0; row < pass->num_rows; row++)
        for (int64_t d = 0; d < size; d += PUF_LANES) {
            const int64_t n = size - d, at = row * size + d;
            const PufFloats x = puf_load_some_bf16(pass->product + at, n);
            const PufFloats y = dense_value(f, x + puf_load_some(pass->bias + d, n));
            if (wide) puf_store_some(pass->wide + at, y, n);
            else puf_store_some_bf16(pass->y + at, y, n);
        }
}

PUF_INLINE void dense_bf16_back_rows(const PufDenseBF16Back *pass, PufActivation f, int wide) {
    const int64_t size = pass->size;
    for (int64_t begin = 0; begin < pass->num_rows; begin += PUF_DENSE_ROWS) {
        const int64_t left = pass->num_rows - begin;
        const int64_t rows = left < PUF_DENSE_ROWS ? left : PUF_DENSE_ROWS;
        for (int64_t d = 0; d < size; d += PUF_LANES) {
            const int64_t n = size - d;
            float *sum = pass->grad_bias + d;
            PufFloats total = puf_load_some(sum, n);
            for (int64_t row = begin; row < begin + rows; row++) {
                const int64_t at = row * size + d;
                const PufFloats y = wide ? puf_load_some(pass->wide_y + at, n)
                                         : puf_load_some_bf16(pass->y + at, n);
                const PufFloats grad = wide ? puf_load_some(pass->wide_grad + at, n)
                                            : puf_load_some_bf16(pass->grad + at, n);
                const PufFloats slope = dense_slope(f, y, grad);
                puf_store_some_bf16(pass->out + at, slope, n);
                total += slope;
            }
            puf_store_some(sum, total, n);
        }
    }
}

static void puf_dense_bf16(const PufDenseBF16 *pass) {
    if (pass->y) PUF_EACH_ACTIVATION(pass->activation, dense_bf16_rows(pass, f, 0));
    else PUF_EACH_ACTIVATION(pass->activation, dense_bf16_rows(pass, f, 1));
}

static void puf_dense_bf16_back(const PufDenseBF16Back *pass) {
    if (pass->y) PUF_EACH_ACTIVATION(pass->activation, dense_bf16_back_rows(pass, f, 0));
    else PUF_EACH_ACTIVATION(pass->activation, dense_bf16_back_rows(pass, f, 1));
}

#endif
