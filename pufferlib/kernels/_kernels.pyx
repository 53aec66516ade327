# cython: language_level=3
"""Python bindings of the kernels: they check arrays, fill a C struct, and call or record a kernel.

Every function here takes numpy arrays (of a CPU tensor: runtime.tensors.as_array), float32 unless its
docstring names another dtype, C-contiguous unless it says "contiguous rows". uint8 and bool are
interchangeable. A pool column has shape (S, ...) or (R, H, ...). An "operand" is a factor of a
matrix product: float32, or bfloat16 as uint16, rounded to nearest, ties to even.

Letters: N agents that act, A all agents, R rows of the pool, H horizon, S = R * H slots, B rows of a
batch, M transitions of a minibatch, K discrete heads, C the sum of their choices, X continuous axes,
F inputs and D units of a layer, W weights of a policy.

With `graph` a call is recorded instead of run. Otherwise it runs in the calling thread without the
GIL. A wrong array raises TypeError or ValueError that names it, the expected dtype and shape, and
the given ones. An index outside its array raises IndexError before anything is written.
pufferlib.ops.reference has readable versions of all but the simplest kernels.
"""

from cpython.buffer cimport (
    PyBUF_FORMAT,
    PyBUF_STRIDES,
    PyBuffer_IsContiguous,
    PyBuffer_Release,
    PyObject_CheckBuffer,
    PyObject_GetBuffer,
)
from cpython.ref cimport PyObject
from libc.stdint cimport int32_t, int64_t, uint8_t, uint64_t
from libc.stdlib cimport free, malloc, realloc
from libc.string cimport memcpy, strcmp
from posix.types cimport pid_t
from posix.unistd cimport getpid

from pufferenv._installation import choose_isa


# The table of the kernels in use. All tables have the same rows in the same order, and their kernels
# give the same bits.
cdef const PufKernels *KERNELS


def instruction_sets():
    """Return the instruction sets that this build and this CPU have kernels for, narrowest first."""
    return [puf_kernels(i).isa.decode() for i in range(PUF_NUM_ISAS) if puf_kernels(i) != NULL]


def instruction_set():
    """Return the instruction set of the kernels in use."""
    return KERNELS.isa.decode()


def use_instruction_set(isa):
    """Run the kernels for `isa` from now on, for tests; graphs keep the kernels they recorded."""
    global KERNELS
    KERNELS = puf_kernels(instruction_sets().index(isa))


use_instruction_set(choose_isa(instruction_sets()))


cdef int64_t find_kernel(const char *name) except -1:
    """Return the row of a kernel in the tables."""
    cdef int64_t row
    for row in range(KERNELS.count):
        if strcmp(KERNELS.kernels[row].name, name) == 0:
            return row
    raise ImportError(f"kernel_table.h has no row {name.decode()}")


include "_arrays.pxi"
include "_graph.pxi"
include "_product.pxi"
include "_bindings_data.pxi"
include "_bindings_linear.pxi"
include "_bindings_recurrent.pxi"
include "_bindings_ppo.pxi"
include "_bindings_optimizer.pxi"
