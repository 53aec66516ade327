// pufferlib/kernels/to_float.h - converts.
#ifndef PUF_TO_FLOAT_H
#define PUF_TO_FLOAT_H

#include "kernels.h"

typedef enum { PUF_COPY, PUF_FROM_U8, PUF_FROM_I8, PUF_FROM_I32, PUF_FROM_F32 } PufConvert;

typedef struct PufToFloat {
    int64_t num_rows, size; // N, D
    const PufInput *input;  // rows [begin, begin + N) of it, of the type that `convert` says
    int64_t begin;
    PufConvert convert;
    const float *mean, *scale; // (D), or NULL: (x - mean) * scale
    PufOperand out;            // (N x D) out
} PufToFloat;

#ifdef PUF_LANES // the kernels: compiled once per vector width
#include "simd.h"

// What puf_to_bf16 does, of one number: in a plain loop, which compilers make vectors of any dtype.
PUF_INLINE uint16_t one_to_bf16(float x) {
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    const uint32_t nearest = bits + 0x7fffu + ((bits >> 16) & 1u), nan = bits | 0x00400000u;
    return (uint16_t)((x == x ? nearest : nan) >> 16);
}

// One item of `n` elements; `restrict` is what lets these loops become vectors.
#define CONVERT(name, type) \
    PUF_INLINE void name(const type *restrict from, float *restrict to, int64_t n, float scale) { \
        for (int64_t e = 0; e < n; e++) to[e] = (float)from[e] * scale; \
    } \
    PUF_INLINE void name##_to_bf16(const type *restrict from, uint16_t *restrict to, int64_t n, \
                                   float scale) { \
        for (int64_t e = 0; e < n; e++) to[e] = one_to_bf16((float)from[e] * scale); \
    }
CONVERT(from_u8, uint8_t)
CONVERT(from_i8, int8_t)
CONVERT(from_i32, int32_t)
CONVERT(from_f32, float)
#undef CONVERT

// A piece of a row at a time: what is made of it is still near when it is normalized and rounded.
#define PUF_PIECE 256
PUF_INLINE void piece_to_float(const PufToFloat *args, const char *from, int64_t d, int64_t n,
                               float *out) {
    switch (args->convert) {
    case PUF_FROM_U8:
        from_u8((const uint8_t *)from + d, out, n, 1.0f);
        break;
    case PUF_FROM_I8:
        from_i8((const int8_t *)from + d, out, n, 1.0f);
        break;
    case PUF_FROM_I32:
        from_i32((const int32_t *)from + d, out, n, 1.0f);
        break;
    case PUF_COPY:
    case PUF_FROM_F32:
        memcpy(out, (const float *)from + d, (size_t)n * sizeof(float));
        break;
    }
    if (!args->scale) return;
    const float *restrict mean = args->mean + d, *restrict scale = args->scale + d;
    for (int64_t e = 0; e < n; e++) out[e] = (out[e] - mean[e]) * scale[e];
}

static int puf_to_float(const PufToFloat *args, PufFault *fault) {
    float piece[PUF_PIECE];
    for (int64_t row = 0; row < args->num_rows; row++) {
        const char *from = args->input->data + (args->begin + row) * args->input->stride;
        const int64_t begin = row * args->out.stride;
        for (int64_t d = 0; d < args->size; d += PUF_PIECE) {
            const int64_t left = args->size - d, n = left < PUF_PIECE ? left : PUF_PIECE;
            if (!args->out.narrow) {
                piece_to_float(args, from, d, n, (float *)args->out.at + begin + d);
                continue;
            }
            const int is = args->convert == PUF_FROM_F32 && !args->scale;
            if (!is) piece_to_float(args, from, d, n, piece);
            from_f32_to_bf16(is ? (const float *)from + d : piece,
                             (uint16_t *)args->out.at + begin + d, n, 1.0f);
        }
    }
    return 0;
}

#endif
#endif
