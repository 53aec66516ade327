# rows.h and engine.h for Cython, as far as _engine.pyx needs them.
from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t, uint64_t

from pufferenv.contract.spec cimport PufAxis, PufHead, PufSpec


cdef extern from "pufferenv/engine/rows.h" nogil:
    ctypedef struct PufQueue:
        int32_t count
    ctypedef struct PufRows:
        int32_t num_free, num_open
        PufQueue abandoned, full
    int puf_rows_oldest(const PufRows *rows, int32_t count, int32_t *out)
    int puf_rows_release(PufRows *rows, int32_t count)


ctypedef void **Member  # the place of a pointer in PufArrays


cdef extern from "pufferenv/engine/engine.h" nogil:
    enum: PUF_ROWS, PUF_SAME_STEP, PUF_NEXT_STEP, PUF_DISABLED, PUF_MAX_ARRAYS
    ctypedef enum PufStepStatus:
        PUF_STEP_OK, PUF_STEP_FAULT, PUF_STEP_FINALS, PUF_STEP_FULL, PUF_STEP_EMPTY
        PUF_STEP_INVARIANT
    ctypedef struct PufOptions:
        int32_t mode, num_envs, num_threads, horizon, num_rows, batch_rows, num_finals, check
    ctypedef struct PufArrayInfo:
        const char *name
        const char *code
        int64_t *dims
        int64_t usual
        int32_t ndim, present
    ctypedef struct PufStat:
        double mean, m2, min, max
    ctypedef struct PufFault:
        const char *text
        const char *head
        int32_t env, agent
        int64_t step
    ctypedef struct PufIO:
        uint8_t *alive
        void *shared
    ctypedef struct PufEngine:
        const PufSpec *spec
        PufOptions options
        int32_t env_agents, num_heads, num_axes, num_choices, num_final, num_live
        int64_t num_agents, num_slots
        PufHead *heads
        PufAxis *axes
        PufRows rows
        PufIO io
        char *envs
        int32_t *live
        PufStat *stats
        double num_logs
        uint8_t any_final, any_log
        PufFault fault
    int puf_engine_plan(PufEngine *e, const PufSpec *spec, const void *config, const PufOptions *o)
    int puf_engine_arrays(PufEngine *e, PufArrayInfo *out, Member *member)
    int puf_engine_open(PufEngine *e, const uint64_t *seeds, const char **why)
    void puf_engine_close(PufEngine *e, int forked)
    int puf_engine_reset(PufEngine *e, const uint64_t *seeds, const uint8_t *which,
                         const char **why)
    PufStepStatus puf_engine_step(PufEngine *e, int32_t begin, int32_t end)
    PufStepStatus puf_engine_check_faults(PufEngine *e, int32_t begin, int32_t end)
    int64_t puf_engine_set_discrete_actions(PufEngine *e, const void *actions, int item_bytes)
    int64_t puf_engine_set_continuous_actions(PufEngine *e, const void *axes, int item_bytes)
    int64_t puf_engine_uniform_first_slot(const PufEngine *e, int32_t begin, int32_t end)
    int32_t puf_engine_live_agents(PufEngine *e, int32_t begin, int32_t end)
    const char *puf_engine_check(const PufEngine *e)
