// pufferlib/kernels/avx512.c - the kernels for AVX-512. Empty where #pragma GCC target is unknown.
#if defined(__x86_64__) && !defined(__clang__)
#pragma GCC target("avx512f,avx512bw,avx512dq,avx512vl")
#define PUF_LANES 16
#include "kernel_table.h"

extern const PufKernels puf_kernels_avx512;
const PufKernels puf_kernels_avx512 = PUF_KERNELS("avx512");
#endif
