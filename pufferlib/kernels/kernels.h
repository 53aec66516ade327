// pufferlib/kernels/kernels.h - the native passes: one struct of named arrays and one function each.
//
// Plain C17 over raw memory, no state, one thread. _kernels.pyx has checked every dtype and shape;
// the passes check every index they follow, before they write anything. Each pass is a header,
// compiled once per instruction set (dispatch.c).
// reference.py says the same in Python; the definitions stand at the bodies.
//
// Letters in shapes: N agents that act now, A all agents, R rows, H horizon, S = R * H slots,
// B rows of a batch, M slots of a minibatch, K discrete heads, C the sum of their choices,
// X continuous axes. A pointer marked "or NULL" may be; what belongs to heads (axes) is not looked
// at if K (X) is 0.
#ifndef PUF_KERNELS_H
#define PUF_KERNELS_H

#include <stdint.h>

// The first index that does not fit: array[index] is `value`, legal is [begin, end).
typedef struct PufFault {
    const char *array; // NULL: out of memory
    int64_t index;     // -1: `array` is a single number
    int64_t value, begin, end;
} PufFault;

// A matrix of which only the rows are contiguous: row r begins at `at + r * stride` floats.
typedef struct PufMatrix {
    float *at; // NULL: there is none
    int64_t stride;
} PufMatrix;
static inline float *puf_row(PufMatrix rows, int64_t row) { return rows.at + row * rows.stride; }

// The same as a product takes it: float32, or `narrow`, bfloat16 held as 16-bit words.
typedef struct PufOperand {
    void *at;       // NULL: there is none
    int64_t stride; // numbers from row to row
    int narrow;     // boolean
} PufOperand;

// A matrix that a recorded graph reads and that is bound anew between replays (GraphInput.bind).
typedef struct PufInput {
    const char *data; // NULL: nothing was bound yet
    int64_t stride;   // bytes from row to row
} PufInput;

// Runs a kernel on its arguments, a struct of its own header -> 0, or -1 with the fault filled in
// and no output written.
typedef int (*PufRun)(const void *args, PufFault *fault);

typedef struct PufKernel {
    const char *name;
    PufRun run;
} PufKernel;

// All kernels, compiled for one vector width: one row each of the table in kernel_table.h.
typedef struct PufKernels {
    const char *isa; // "baseline", "avx2" or "avx512"
    int64_t count;
    const PufKernel *kernels; // (count)
} PufKernels;

// The kernels for a PufISA (pufferenv/contract/cpu.h); NULL where this CPU or this build lacks it.
const PufKernels *puf_kernels(int isa);

#endif
