# spec.h for Cython, as far as the engine and external envs need it.
# Function pointers carry `noexcept nogil` each: without it Cython wraps every call.
from libc.stdint cimport int32_t, uint8_t, uint32_t


cdef extern from "pufferenv/contract/spec.h" nogil:
    enum: PUF_ABI, PUF_MAX_DIMS, PUF_MAX_HEADS, PUF_MAX_AXES, PUF_OK, PUF_ERR_CONFIG
    enum: PUF_LIVE, PUF_TERMINAL, PUF_TRUNCATED
    ctypedef enum PufDtype:
        PUF_U8, PUF_I8, PUF_I32, PUF_F32
    ctypedef struct PufField:
        const char *name
        const char *doc
        uint32_t dtype, offset
        double init, min, max
    ctypedef struct PufHead:
        const char *name
        const char *doc
        int32_t n
    ctypedef struct PufAxis:
        const char *name
        const char *doc
        float low, high
    ctypedef struct PufSpec:
        uint32_t abi, env_size, config_size, log_size
        const char *name
        const char *doc
        const char *source
        const PufField *config
        const PufField *log
        uint32_t num_config, num_log, obs_dtype
        uint8_t has_mask, debug, draws
        const char *cpu_needs
        int (*obs_shape)(const void *config, int32_t *dims) noexcept nogil
        int (*heads)(const void *config, PufHead *heads) noexcept nogil
        int (*axes)(const void *config, PufAxis *axes) noexcept nogil
        int (*num_agents)(const void *config) noexcept nogil
