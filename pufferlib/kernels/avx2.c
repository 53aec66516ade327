// pufferlib/kernels/avx2.c - the kernels for AVX2. Empty where #pragma GCC target is unknown.
#if defined(__x86_64__) && !defined(__clang__)
#pragma GCC target("avx2")
#define PUF_LANES 8
#include "kernel_table.h"

extern const PufKernels puf_kernels_avx2;
const PufKernels puf_kernels_avx2 = PUF_KERNELS("avx2");
#endif
