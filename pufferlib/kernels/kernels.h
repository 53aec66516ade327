// pufferlib/kernels/kernels.h - shared by all kernels: types of arguments, faults, the table.
//
// A kernel is one C function over arrays that belong to the caller. It has no state and no threads.
// Its header holds a struct of arguments and the function, which is compiled once per vector width
// (kernel_table.h). The bindings in _bindings_*.pxi check dtypes and shapes; a kernel checks every
// index that it reads before it writes anything. pufferlib/ops/reference.py has readable versions.
//
// Letters in shapes: N agents that act, A all agents, R rows of the pool, H horizon, S = R * H slots,
// B rows of a batch, M transitions of a minibatch, K discrete heads, C the sum of their choices,
// X continuous axes, D units of a layer, W weights. A pointer may be NULL only where its comment says
// so; arguments of heads are not read if K is 0, nor those of axes if X is 0.
#ifndef PUF_KERNELS_H
#define PUF_KERNELS_H

#include <stdint.h>

// The first index out of range: array[index] is `value`, which should be in [begin, end).
typedef struct PufFault {
    const char *array; // NULL: out of memory
    int64_t index;     // -1 if `array` names a single number
    int64_t value, begin, end;
} PufFault;

// A float32 matrix with contiguous rows: row r begins at data + r * stride.
typedef struct PufMatrix {
    float *data; // NULL: there is none
    int64_t stride;
} PufMatrix;
static inline float *puf_row(PufMatrix rows, int64_t row) { return rows.data + row * rows.stride; }

// A factor of a matrix product, with contiguous rows: float32, or bfloat16 in 16-bit words.
typedef struct PufOperand {
    void *data;     // NULL: there is none
    int64_t stride; // elements from row to row
    int is_bf16;    // boolean
} PufOperand;

// A matrix whose memory may change between replays of a graph; GraphInput.bind sets it.
typedef struct PufInput {
    const char *data; // NULL: not bound yet
    int64_t stride;   // bytes from row to row
} PufInput;

// Runs a kernel on its arguments, a struct from its header. Returns 0, or -1 with the fault filled
// in; a kernel that fails has written nothing.
typedef int (*PufRun)(const void *args, PufFault *fault);

typedef struct PufKernel {
    const char *name;
    PufRun run;
} PufKernel;

// All kernels, compiled for one vector width: the rows of kernel_table.h.
typedef struct PufKernels {
    const char *isa; // "baseline", "avx2" or "avx512"
    int64_t count;
    const PufKernel *kernels; // (count)
} PufKernels;

// The kernels for a PufISA (pufferenv/contract/cpu.h); NULL if this CPU or this build lacks it.
const PufKernels *puf_kernels(int isa);

#endif
