// pufferlib/kernels/dispatch.c - the kernels for any CPU (SSE2, NEON), and the table of each
// instruction set. It is compiled for the baseline and checks the CPU before anything wider runs.
#include "pufferenv/contract/cpu.h"

#define PUF_LANES 4
#include "kernel_table.h"

static const PufKernels BASELINE = PUF_KERNELS("baseline");

#if defined(__x86_64__) && !defined(__clang__)
extern const PufKernels puf_kernels_avx2, puf_kernels_avx512;
static const PufKernels *const TABLES[PUF_NUM_ISAS] = {&BASELINE, &puf_kernels_avx2,
                                                       &puf_kernels_avx512};
#else
static const PufKernels *const TABLES[PUF_NUM_ISAS] = {&BASELINE};
#endif

const PufKernels *puf_kernels(int isa) { return isa <= (int)puf_widest_isa() ? TABLES[isa] : NULL; }
