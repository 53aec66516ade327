// pufferlib/kernels/linear.h - the arithmetic of a dense layer between its matrix products.
//
//     y = f(product + bias),    d loss / d product = d loss / d y * f'
// with f the identity, max(x, 0) or tanh. f' follows from y: 1, [y > 0], 1 - y^2. A row is D
// units; PUF_LANES of them are done at once, where the product left them in the cache. What another
// product takes, y and the second gradient, is rounded if that takes bfloat16: of a tanh that is
// nearer to 1 than 0.002 the slope is then 0.
#ifndef PUF_LINEAR_H
#define PUF_LINEAR_H

#include "kernels.h"

typedef enum { PUF_IDENTITY, PUF_RELU, PUF_TANH } PufActivation;

typedef struct PufLinear {
    int64_t num_rows, size; // N, D
    PufActivation activation;
    PufMatrix product; // (N x D) without bias
    const float *bias; // (D)
    PufOperand y;      // (N x D) out; may be the product
} PufLinear;

typedef struct PufLinearBackward {
    int64_t num_rows, size; // N, D
    PufActivation activation;
    PufOperand y;     // (N x D)
    PufMatrix grad;   // (N x D) of y
    PufOperand out;   // (N x D) out, of the product; may be grad
    float *grad_bias; // (D) added to
} PufLinearBackward;

#ifdef PUF_LANES // the kernels: compiled once per vector width
#include "simd.h"

PUF_INLINE PufFloats linear_value(PufActivation f, PufFloats x) {
    if (f == PUF_RELU) return puf_at_least(x, puf_all(0.0f));
    return f == PUF_TANH ? puf_tanh(x) : x;
}

PUF_INLINE PufFloats linear_slope(PufActivation f, PufFloats y, PufFloats grad) {
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

PUF_INLINE void linear_rows(const PufLinear *args, PufActivation f, int narrow) {
    const int64_t size = args->size;
    for (int64_t row = 0; row < args->num_rows; row++) {
        const float *product = puf_row(args->product, row);
        for (int64_t d = 0; d < size; d += PUF_LANES) {
            const int64_t n = size - d;
            const PufFloats x = puf_load_some(product + d, n) + puf_load_some(args->bias + d, n);
            puf_leave(args->y, row, d, linear_value(f, x), n, narrow);
        }
    }
}

static int puf_linear(const PufLinear *args, PufFault *fault) {
    PUF_EACH_WIDTH(args->y, PUF_EACH_ACTIVATION(args->activation, linear_rows(args, f, narrow)));
    return 0;
}

// Sums of a few rows at a time are added to the bias's gradient: fewer visits to it.
#define PUF_LINEAR_ROWS 4

PUF_INLINE void linear_backward_rows(const PufLinearBackward *args, PufActivation f, int narrow_y,
                                     int narrow) {
    const int64_t size = args->size;
    const int stays =
        f == PUF_IDENTITY && args->out.at == args->grad.at && args->out.stride == args->grad.stride;
    for (int64_t begin = 0; begin < args->num_rows; begin += PUF_LINEAR_ROWS) {
        const int64_t left = args->num_rows - begin;
        const int64_t rows = left < PUF_LINEAR_ROWS ? left : PUF_LINEAR_ROWS;
        for (int64_t d = 0; d < size; d += PUF_LANES) {
            const int64_t n = size - d;
            float *sum = args->grad_bias + d;
            PufFloats total = puf_load_some(sum, n);
            for (int64_t row = begin; row < begin + rows; row++) {
                PufFloats slope = puf_load_some(puf_row(args->grad, row) + d, n);
                if (f != PUF_IDENTITY)
                    slope = linear_slope(f, puf_take(args->y, row, d, n, narrow_y), slope);
                if (!stays) puf_leave(args->out, row, d, slope, n, narrow);
                total += slope;
            }
            puf_store_some(sum, total, n);
        }
    }
}

static int puf_linear_backward(const PufLinearBackward *args, PufFault *fault) {
    if (args->y.narrow)
        PUF_EACH_WIDTH(args->out, PUF_EACH_ACTIVATION(args->activation,
                                                      linear_backward_rows(args, f, 1, narrow)));
    else
        PUF_EACH_WIDTH(args->out, PUF_EACH_ACTIVATION(args->activation,
                                                      linear_backward_rows(args, f, 0, narrow)));
    return 0;
}

#endif
#endif
