// pufferlib/kernels/gather.h - copies items of a pool, whole rows or single slots, and converts them.
#ifndef PUF_GATHER_H
#define PUF_GATHER_H

#include "kernels.h"
#include "to_float.h"

typedef struct PufGather {
    int64_t num_items, num_taken;      // items of the pool, and of `out`
    int64_t item_elements, item_bytes; // of one item of the pool
    const char *pool;                  // (num_items x item_elements)
    const int32_t *index32;            // (num_taken), or NULL: index64
    const int64_t *index64;            // (num_taken)
    PufConvert convert;                // PUF_COPY copies bytes; else the dtype to convert from
    int to_bf16;                       // boolean: convert to bfloat16, else to float32
    float scale;                       // factor of the converted values
    void *out;                         // (num_taken x item_elements)
} PufGather;

#ifdef PUF_LANES // the kernel, for one vector width; the bindings need only the arguments
#include "simd.h"

PUF_INLINE int64_t index_of(const PufGather *args, int64_t i) {
    return args->index32 ? args->index32[i] : args->index64[i];
}

// Converts item i.
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

static int puf_gather(const PufGather *args, PufFault *fault) {
    for (int64_t i = 0; i < args->num_taken; i++)
        if (puf_out_of_range(fault, "index", i, index_of(args, i), 0, args->num_items)) return -1;
    gather_items(args);
    return 0;
}

#endif
#endif
