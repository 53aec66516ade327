// pufferlib/kernels/gather.h - copies items of a pool, rows or single slots, converting on the way;
// looks at rows, and converts them, where they lie.
#ifndef PUF_KERNELS_GATHER_H
#define PUF_KERNELS_GATHER_H

#include "simd.h"

PUF_INLINE int64_t index_of(const PufGather *pass, int64_t i) {
    return pass->index32 ? pass->index32[i] : pass->index64[i];
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
    if (pass->to_bf16) name##_to_bf16(from, (uint16_t *)pass->out + i * n, n, pass->scale); \
    else name(from, (float *)pass->out + i * n, n, pass->scale)
PUF_INLINE void gather_items(const PufGather *pass) {
    const int64_t n = pass->item_elements;
    for (int64_t i = 0; i < pass->num_taken; i++) {
        const void *from = pass->pool + index_of(pass, i) * pass->item_bytes;
        switch (pass->convert) {
        case PUF_COPY:
            memcpy((char *)pass->out + i * pass->item_bytes, from, (size_t)pass->item_bytes);
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
PUF_INLINE double sum_of_rows(const PufMoments *pass, double middle, int power) {
    double columns[PUF_MOMENT_COLUMNS] = {0}, sum = 0.0;
    for (int64_t i = 0; i < pass->num_taken; i++) {
        const float *x = pass->pool + pass->index[i] * pass->size;
        int64_t h = 0;
        for (; h + PUF_MOMENT_COLUMNS <= pass->size; h += PUF_MOMENT_COLUMNS)
            for (int c = 0; c < PUF_MOMENT_COLUMNS; c++) {
                const double d = (double)x[h + c] - middle;
                columns[c] += power == 2 ? d * d : d;
            }
        for (int c = 0; h + c < pass->size; c++) {
            const double d = (double)x[h + c] - middle;
            columns[c] += power == 2 ? d * d : d;
        }
    }
    for (int c = 0; c < PUF_MOMENT_COLUMNS; c++) sum += columns[c];
    return sum;
}

static int puf_moments(const PufMoments *pass, PufFault *fault) {
    for (int64_t i = 0; i < pass->num_taken; i++)
        if (puf_outside(fault, "index", i, pass->index[i], 0, pass->num_rows)) return -1;
    const double count = (double)pass->num_taken * (double)pass->size;
    *pass->mean = sum_of_rows(pass, 0.0, 1) / count;
    *pass->deviation = sqrt(sum_of_rows(pass, *pass->mean, 2) / count);
    return 0;
}

// A piece of a row at a time: what is made of it is still near when it is normalized and rounded.
#define PUF_PIECE 256
PUF_INLINE void piece_to_float(const PufFloat *pass, const char *from, int64_t d, int64_t n,
                               float *out) {
    switch (pass->convert) {
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
    if (!pass->scale) return;
    const float *restrict mean = pass->mean + d, *restrict scale = pass->scale + d;
    for (int64_t e = 0; e < n; e++) out[e] = (out[e] - mean[e]) * scale[e];
}

static void puf_to_float(const PufFloat *pass) {
    float piece[PUF_PIECE];
    for (int64_t row = 0; row < pass->num_rows; row++) {
        const char *from = pass->from + row * pass->stride;
        const int64_t begin = row * pass->out.stride;
        for (int64_t d = 0; d < pass->size; d += PUF_PIECE) {
            const int64_t left = pass->size - d, n = left < PUF_PIECE ? left : PUF_PIECE;
            if (!pass->out.narrow) {
                piece_to_float(pass, from, d, n, (float *)pass->out.at + begin + d);
                continue;
            }
            const int is = pass->convert == PUF_FROM_F32 && !pass->scale;
            if (!is) piece_to_float(pass, from, d, n, piece);
            from_f32_to_bf16(is ? (const float *)from + d : piece,
                             (uint16_t *)pass->out.at + begin + d, n, 1.0f);
        }
    }
}

static int puf_gather(const PufGather *pass, PufFault *fault) {
    for (int64_t i = 0; i < pass->num_taken; i++)
        if (puf_outside(fault, "index", i, index_of(pass, i), 0, pass->num_items)) return -1;
    gather_items(pass);
    return 0;
}

#endif
