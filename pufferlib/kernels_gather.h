// pufferlib/kernels_gather.h - copies items of a pool, rows or single slots, converting on the way.
#ifndef PUF_KERNELS_GATHER_H
#define PUF_KERNELS_GATHER_H

#include "kernels_math.h"

PUF_INLINE int64_t index_of(const PufGather *pass, int64_t i) {
    return pass->index32 ? pass->index32[i] : pass->index64[i];
}

// One item of `n` elements; `restrict` is what lets these loops become vectors.
#define CONVERT(name, type) \
    PUF_INLINE void name(const type *restrict from, float *restrict to, int64_t n, float scale) { \
        for (int64_t e = 0; e < n; e++) to[e] = (float)from[e] * scale; \
    } \
    PUF_INLINE void name##_to_bf16(const type *restrict from, uint16_t *restrict to, int64_t n, \
                                   float scale) { \
        for (int64_t begin = 0; begin < n; begin += PUF_LANES) { \
            const int64_t left = n - begin < PUF_LANES ? n - begin : PUF_LANES; \
            float some[PUF_LANES] = {0}; \
            name(from + begin, some, left, scale); \
            puf_store_some_bf16(to + begin, puf_load(some), left); \
        } \
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

static int puf_gather(const PufGather *pass, PufFault *fault) {
    for (int64_t i = 0; i < pass->num_taken; i++)
        if (puf_outside(fault, "index", i, index_of(pass, i), 0, pass->num_items)) return -1;
    gather_items(pass);
    return 0;
}

#endif
