// pufferlib/kernels/dispatch.c - the passes for any CPU (SSE2, NEON), and who gets which.
#define PUF_LANES 4
#include "kernel_table.h"

static const PufPasses BASELINE = PUF_PASSES("baseline");

#if defined(__x86_64__) && !defined(__clang__)
extern const PufPasses puf_passes_avx512, puf_passes_avx2;

const PufPasses *puf_passes(void) {
    if (__builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") &&
        __builtin_cpu_supports("avx512vl"))
        return &puf_passes_avx512;
    return __builtin_cpu_supports("avx2") ? &puf_passes_avx2 : &BASELINE;
}
#else
const PufPasses *puf_passes(void) { return &BASELINE; }
#endif
