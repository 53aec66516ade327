// pufferlib/kernels/gather.h - copies items of a pool, rows or single slots, converting on the way;
// looks at rows, and converts them, where they lie.
#ifndef PUF_GATHER_H
#define PUF_GATHER_H

#include "simd.h"

PUF_INLINE int64_t index_of(const PufGather *args, int64_t i) {
    return args->index32 ? args->index32[i] : args->index64[i];
}

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

#define ITEM(name) \
    if (args->to_bf16) name##_to_bf16(from, (uint16_t *)args->out + i * n, n, args->scale); \
    else name(from, (float *)args->out + i * n, n, args->scale)
PUF_INLINE void gather_items(const PufGather *args) {
    const int64_t n = args->item_elements;
    for (int64_t i = 0; i < args->num_taken; i++) {
        const void *from = args->pool + index_of(args, i) * args->item_bytes;
        switch (args->convert) {
        case PUF_COPY:
            memcpy((char *)args->out + i * args->item_bytes, from, (size_t)args->item_bytes);
            break;
        case PUF_FROM_U8:
            ITEM(from_u8);
            break;
        case PUF_FROM_I8:
            ITEM(from_i8);
            break;
        case PUF_FROM_I32:
            ITEM(from_i32);
            break;
        case PUF_FROM_F32:
            ITEM(from_f32);
            break;
        }
    }
}
#undef ITEM

// The sum of (x - middle)^power, power 1 or 2, over the rows that are taken: in columns of doubles,
// as many whatever the width, so that all give the same bits.
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
        if (puf_outside(fault, "index", i, args->index[i], 0, args->num_rows)) return -1;
    const double count = (double)args->num_taken * (double)args->size;
    *args->mean = sum_of_rows(args, 0.0, 1) / count;
    *args->deviation = sqrt(sum_of_rows(args, *args->mean, 2) / count);
    return 0;
}

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

static void puf_to_float(const PufToFloat *args) {
    float piece[PUF_PIECE];
    for (int64_t row = 0; row < args->num_rows; row++) {
        const char *from = args->from + row * args->stride;
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
}

static int puf_gather(const PufGather *args, PufFault *fault) {
    for (int64_t i = 0; i < args->num_taken; i++)
        if (puf_outside(fault, "index", i, index_of(args, i), 0, args->num_items)) return -1;
    gather_items(args);
    return 0;
}

#endif
