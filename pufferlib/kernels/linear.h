// pufferlib/kernels/linear.h - the arithmetic of a dense layer between its matrix products.
//
//     y = f(product + bias),    d loss / d product = d loss / d y * f'
// with f the identity, max(x, 0) or tanh. f' follows from y: 1, [y > 0], 1 - y^2. A row is D
// units; PUF_LANES of them are done at once, where the product left them in the cache. What another
// product takes, y and the second gradient, is rounded if that takes bfloat16: of a tanh that is
// nearer to 1 than 0.002 the slope is then 0.
#ifndef PUF_KERNELS_DENSE_H
#define PUF_KERNELS_DENSE_H

#include "simd.h"

PUF_INLINE PufFloats dense_value(PufActivation f, PufFloats x) {
    if (f == PUF_RELU) return puf_at_least(x, puf_all(0.0f));
    return f == PUF_TANH ? puf_tanh(x) : x;
}

PUF_INLINE PufFloats dense_slope(PufActivation f, PufFloats y, PufFloats grad) {
    if (f == PUF_RELU) return puf_select(y > 0.0f, grad, puf_all(0.0f));
    return f == PUF_TANH ? grad * (1.0f - y * y) : grad;
}

// Runs `call`, which names the activation f, compiled for each of them.
#define PUF_EACH_ACTIVATION(activation, call) \
    do { \
        if ((activation) == PUF_RELU) { \
            const PufActivation f = PUF_RELU; \
            call; \
        } else if ((activation) == PUF_TANH) { \
            const PufActivation f = PUF_TANH; \
            call; \
        } else { \
            const PufActivation f = PUF_IDENTITY; \
            call; \
        } \
    } while (0)

PUF_INLINE void dense_rows(const PufDense *pass, PufActivation f, int narrow) {
    const int64_t size = pass->size;
    for (int64_t row = 0; row < pass->num_rows; row++) {
        const float *product = puf_row(pass->product, row);
        for (int64_t d = 0; d < size; d += PUF_LANES) {
            const int64_t n = size - d;
            const PufFloats x = puf_load_some(product + d, n) + puf_load_some(pass->bias + d, n);
            puf_leave(pass->y, row, d, dense_value(f, x), n, narrow);
        }
    }
}

static void puf_dense(const PufDense *pass) {
    PUF_EACH_WIDTH(pass->y, PUF_EACH_ACTIVATION(pass->activation, dense_rows(pass, f, narrow)));
}

// Sums of a few rows at a time are added to the bias's gradient: fewer visits to it.
#define PUF_DENSE_ROWS 4

PUF_INLINE void dense_back_rows(const PufDenseBack *pass, PufActivation f, int narrow_y,
                                int narrow) {
    const int64_t size = pass->size;
    const int stays =
        f == PUF_IDENTITY && pass->out.at == pass->grad.at && pass->out.stride == pass->grad.stride;
    for (int64_t begin = 0; begin < pass->num_rows; begin += PUF_DENSE_ROWS) {
        const int64_t left = pass->num_rows - begin;
        const int64_t rows = left < PUF_DENSE_ROWS ? left : PUF_DENSE_ROWS;
        for (int64_t d = 0; d < size; d += PUF_LANES) {
            const int64_t n = size - d;
            float *sum = pass->grad_bias + d;
            PufFloats total = puf_load_some(sum, n);
            for (int64_t row = begin; row < begin + rows; row++) {
                PufFloats slope = puf_load_some(puf_row(pass->grad, row) + d, n);
                if (f != PUF_IDENTITY)
                    slope = dense_slope(f, puf_take(pass->y, row, d, n, narrow_y), slope);
                if (!stays) puf_leave(pass->out, row, d, slope, n, narrow);
                total += slope;
            }
            puf_store_some(sum, total, n);
        }
    }
}

static void puf_dense_back(const PufDenseBack *pass) {
    if (pass->y.narrow)
        PUF_EACH_WIDTH(pass->out,
                       PUF_EACH_ACTIVATION(pass->activation, dense_back_rows(pass, f, 1, narrow)));
    else
        PUF_EACH_WIDTH(pass->out,
                       PUF_EACH_ACTIVATION(pass->activation, dense_back_rows(pass, f, 0, narrow)));
}

#endif
