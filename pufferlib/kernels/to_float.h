// pufferlib/kernels/to_float.h - converts rows of an input to floats, and normalizes them:
// clip((x - mean) * scale, -bound, bound), where NaN stays NaN. gather.h converts by the same loops.
#ifndef PUF_TO_FLOAT_H
#define PUF_TO_FLOAT_H

#include "kernels.h"

// The source: bytes to copy, or elements of this dtype to convert.
typedef enum { PUF_COPY, PUF_FROM_U8, PUF_FROM_I8, PUF_FROM_I32, PUF_FROM_F32 } PufConvert;

typedef struct PufToFloat {
    int64_t num_rows, size; // N, D
    const PufInput *input;  // its rows [begin, begin + N), of the dtype that `convert` names
    int64_t begin;
    PufConvert convert;
    const float *mean, *scale; // (D), or NULL: not normalized
    float bound;               // at least 0; not read if there is no scale
    PufOperand out;            // (N x D) out
} PufToFloat;

#ifdef PUF_LANES // the kernel, for one vector width; the bindings need only the arguments
#include "simd.h"

// puf_to_bf16 for one number. Compilers vectorize a loop over it for any source dtype.
PUF_INLINE uint16_t scalar_to_bf16(float x) {
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    const uint32_t nearest = bits + 0x7fffu + ((bits >> 16) & 1u), nan = bits | 0x00400000u;
    return (uint16_t)((x == x ? nearest : nan) >> 16);
}

// Converts n elements. Compilers vectorize these loops only with `restrict`.
#define CONVERT(name, type) \
    PUF_INLINE void name(const type *restrict from, float *restrict to, int64_t n, float scale) { \
        for (int64_t e = 0; e < n; e++) to[e] = (float)from[e] * scale; \
    } \
    PUF_INLINE void name##_to_bf16(const type *restrict from, uint16_t *restrict to, int64_t n, \
                                   float scale) { \
        for (int64_t e = 0; e < n; e++) to[e] = scalar_to_bf16((float)from[e] * scale); \
    }
CONVERT(from_u8, uint8_t)
CONVERT(from_i8, int8_t)
CONVERT(from_i32, int32_t)
CONVERT(from_f32, float)
#undef CONVERT

// A row is converted in chunks that stay in the cache until they are normalized and rounded.
#define PUF_CONVERT_CHUNK 256

PUF_INLINE void normalize(float *restrict x, const float *restrict mean,
                          const float *restrict scale, int64_t n, float bound) {
    for (int64_t e = 0; e < n; e++) {
        float y = (x[e] - mean[e]) * scale[e];
        y = y < -bound ? -bound : y;
        x[e] = y > bound ? bound : y;
    }
}

// Converts elements [d, d + n) of a row, and normalizes them if there is a scale.
PUF_INLINE void chunk_to_float(const PufToFloat *args, const char *from, int64_t d, int64_t n,
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
    normalize(out, args->mean + d, args->scale + d, n, args->bound);
}

static int puf_to_float(const PufToFloat *args, PufFault *fault) {
    float chunk[PUF_CONVERT_CHUNK];
    for (int64_t row = 0; row < args->num_rows; row++) {
        const char *from = args->input->data + (args->begin + row) * args->input->stride;
        const int64_t begin = row * args->out.stride;
        for (int64_t d = 0; d < args->size; d += PUF_CONVERT_CHUNK) {
            const int64_t left = args->size - d,
                          n = left < PUF_CONVERT_CHUNK ? left : PUF_CONVERT_CHUNK;
            if (!args->out.is_bf16) {
                chunk_to_float(args, from, d, n, (float *)args->out.data + begin + d);
                continue;
            }
            // Floats that are only rounded need no intermediate copy.
            const int only_round = args->convert == PUF_FROM_F32 && !args->scale;
            if (!only_round) chunk_to_float(args, from, d, n, chunk);
            from_f32_to_bf16(only_round ? (const float *)from + d : chunk,
                             (uint16_t *)args->out.data + begin + d, n, 1.0f);
        }
    }
    return 0;
}

#endif
#endif
