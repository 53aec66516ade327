// pufferlib/kernels/dispatch.c - the passes for any CPU (SSE2, NEON), and who gets which.
#define PUF_LANES 4
#include "kernel_table.h"

static const PufKernels BASELINE = PUF_KERNELS("baseline");

#if defined(__x86_64__) && !defined(__clang__)
extern const PufKernels puf_kernels_avx512, puf_kernels_avx2;

const PufKernels *puf_kernels(void) {
    if (__builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") &&
        __builtin_cpu_supports("avx512vl"))
        return &puf_kernels_avx512;
    return __builtin_cpu_supports("avx2") ? &puf_kernels_avx2 : &BASELINE;
}
#else
const PufKernels *puf_kernels(void) { return &BASELINE; }
#endif
