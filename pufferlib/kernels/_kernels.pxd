# cython: language_level=3
"""The C types that all bindings share. Each binding declares its own kernel's arguments itself."""

from libc.stdint cimport int64_t


cdef extern from "kernels.h" nogil:
    # Only names: the C compiler checks every assignment against the types in the headers.
    ctypedef struct PufFault:
        const char *array
        int64_t index, value, begin, end
    ctypedef struct PufMatrix:
        float *data
        int64_t stride
    ctypedef struct PufOperand:
        void *data
        int64_t stride
        int is_bf16
    ctypedef struct PufInput:
        const char *data
        int64_t stride
    ctypedef int (*PufRun)(const void *args, PufFault *fault) noexcept nogil
    ctypedef struct PufKernel:
        const char *name
        PufRun run
    ctypedef struct PufKernels:
        const char *isa
        int64_t count
        const PufKernel *kernels
    const PufKernels *puf_kernels(int isa)


cdef extern from "pufferenv/contract/cpu.h" nogil:
    enum: PUF_NUM_ISAS


cdef extern from "graph.h" nogil:
    ctypedef struct PufThreadPool:
        pass
    PufThreadPool *puf_thread_pool_new(int count, int64_t patience)
    void puf_thread_pool_free(PufThreadPool *threads, int forked)

    ctypedef struct PufEntry:
        PufRun run
        void *args
    ctypedef struct PufStreamSlice:
        const PufEntry *entries
        int64_t length, reached
        double seconds
        PufFault fault
    int puf_replay_slice(PufStreamSlice *part)
    ctypedef struct PufStream:
        PufStreamSlice *slices
        int64_t num_slices
    ctypedef int (*PufSetNumThreads)(int count) noexcept nogil
    void puf_replay(
        PufThreadPool *threads, PufStream *streams, size_t num_streams, PufSetNumThreads set_num_threads
    )
