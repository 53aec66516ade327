// pufferlib/kernels/linear.h - bias and activation of a linear layer, after its matrix product.
//
//     y = f(product + bias),    d loss / d product = d loss / d y * f'
// with f the identity, max(x, 0) or tanh. f' follows from y: 1, [y > 0], 1 - y^2. A row is D units, a
// vector PUF_LANES of them. y and the gradient of the product are factors of other products and may
// be rounded to bfloat16; f' of a tanh within 0.002 of 1 is then 0.
#ifndef PUF_LINEAR_H
#define PUF_LINEAR_H

#include "kernels.h"

typedef enum { PUF_IDENTITY, PUF_RELU, PUF_TANH } PufActivation;

typedef struct PufLinear {
    int64_t num_rows, size; // N, D
    PufActivation activation;
    PufMatrix product; // (N x D) without bias
    const float *bias; // (D)
    PufOperand y;      // (N x D) out; may share the product's rows
} PufLinear;

typedef struct PufLinearBackward {
    int64_t num_rows, size; // N, D
    PufActivation activation;
    PufOperand y;     // (N x D)
    PufMatrix grad;   // (N x D) gradient of y
    PufOperand out;   // (N x D) out, gradient of the product; may share grad's rows
    float *grad_bias; // (D) accumulated
} PufLinearBackward;

#ifdef PUF_LANES // the kernels, for one vector width; the bindings need only the arguments
#include "simd.h"

PUF_INLINE PufFloats linear_value(PufActivation f, PufFloats x) {
    if (f == PUF_RELU) return puf_at_least(x, puf_splat(0.0f));
    return f == PUF_TANH ? puf_tanh(x) : x;
}

PUF_INLINE PufFloats linear_slope(PufActivation f, PufFloats y, PufFloats grad) {
    if (f == PUF_RELU) return puf_select(y > 0.0f, grad, puf_splat(0.0f));
    return f == PUF_TANH ? grad * (1.0f - y * y) : grad;
}

// Runs `call` with f as the activation. It is compiled once per activation, so that its loops have
// no branch.
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

PUF_INLINE void linear_rows(const PufLinear *args, PufActivation f, int is_bf16) {
    const int64_t size = args->size;
    for (int64_t row = 0; row < args->num_rows; row++) {
        const float *product = puf_row(args->product, row);
        for (int64_t d = 0; d < size; d += PUF_LANES) {
            const int64_t n = size - d;
            const PufFloats x = puf_load_n(product + d, n) + puf_load_n(args->bias + d, n);
            puf_store_operand(args->y, row, d, linear_value(f, x), n, is_bf16);
        }
    }
}

static int puf_linear(const PufLinear *args, PufFault *fault) {
    PUF_EACH_DTYPE(args->y, PUF_EACH_ACTIVATION(args->activation, linear_rows(args, f, is_bf16)));
    return 0;
}

// Rows that are summed before they are added to the gradient of the bias, to load and store it less
// often.
#define PUF_LINEAR_ROWS 4

PUF_INLINE void linear_backward_rows(const PufLinearBackward *args, PufActivation f, int y_is_bf16,
                                     int is_bf16) {
    const int64_t size = args->size;
    // The gradient of the product equals that of y and is already in place; only the bias is left.
    const int in_place = f == PUF_IDENTITY && args->out.data == args->grad.data &&
                         args->out.stride == args->grad.stride;
    for (int64_t begin = 0; begin < args->num_rows; begin += PUF_LINEAR_ROWS) {
        const int64_t left = args->num_rows - begin;
        const int64_t rows = left < PUF_LINEAR_ROWS ? left : PUF_LINEAR_ROWS;
        for (int64_t d = 0; d < size; d += PUF_LANES) {
            const int64_t n = size - d;
            float *sum = args->grad_bias + d;
            PufFloats total = puf_load_n(sum, n);
            for (int64_t row = begin; row < begin + rows; row++) {
                PufFloats slope = puf_load_n(puf_row(args->grad, row) + d, n);
                if (f != PUF_IDENTITY)
                    slope = linear_slope(f, puf_load_operand(args->y, row, d, n, y_is_bf16), slope);
                if (!in_place) puf_store_operand(args->out, row, d, slope, n, is_bf16);
                total += slope;
            }
            puf_store_n(sum, total, n);
        }
    }
}

static int puf_linear_backward(const PufLinearBackward *args, PufFault *fault) {
    if (args->y.is_bf16)
        PUF_EACH_DTYPE(args->out, PUF_EACH_ACTIVATION(args->activation,
                                                      linear_backward_rows(args, f, 1, is_bf16)));
    else
        PUF_EACH_DTYPE(args->out, PUF_EACH_ACTIVATION(args->activation,
                                                      linear_backward_rows(args, f, 0, is_bf16)));
    return 0;
}

#endif
#endif
