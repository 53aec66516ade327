# cython: language_level=3
"""The structs of kernels.h as _kernels.pyx fills them."""

from libc.stdint cimport int32_t, int64_t, uint8_t, uint16_t, uint64_t


cdef extern from "kernels.h" nogil:
    # Only names: the C compiler holds every assignment below against the types in kernels.h.
    ctypedef struct PufFault:
        const char *array
        int64_t index, value, begin, end
    ctypedef struct PufMatrix:
        float *at
        int64_t stride
    ctypedef struct PufOperand:
        void *at
        int64_t stride
        int narrow
    ctypedef struct PufSample:
        int64_t num_acting, num_agents, num_slots, num_heads, num_choices, num_axes, first
        PufMatrix logits, mean, log_std, values
        const int32_t *sizes
        const uint8_t *pool_mask
        const float *low
        const float *high
        const int32_t *agents
        const int64_t *slot
        int64_t *bootstrap_slot
        uint64_t *counts
        uint64_t seed
        int32_t version
        int greedy
        int32_t *action
        float *axis
        int32_t *pool_action
        float *pool_axis
        float *pool_logprob
        float *pool_value
        float *pool_next_value
        int32_t *pool_version
        float *entropy
    ctypedef struct PufAdvantage:
        int64_t num_rows, batch_rows, horizon
        int in_place
        const int32_t *rows
        const float *pool_reward
        const float *pool_value
        const float *pool_next_value
        const uint8_t *pool_done
        const uint8_t *pool_segment_start
        const float *ratio
        float gamma, gae_lambda, rho_clip, c_clip, reward_scale, reward_clip
        float *advantage
        float *target
    enum:
        PUF_NUM_METRICS
    ctypedef struct PufPPOLoss:
        int64_t num_slots, num_heads, num_choices, num_axes
        double count
        PufMatrix logits, mean, values, grad_logits, grad_mean, grad_values
        const float *log_std
        const int32_t *sizes
        const uint8_t *mask
        const int32_t *action
        const float *axis
        const float *logprob
        const float *old_value
        const float *advantage
        const float *target
        float adv_mean, adv_scale, clip_coef, vf_coef, vf_clip_coef, ent_coef
        int log_std_shared
        float *grad_log_std
        double *metrics
    ctypedef enum PufConvert:
        PUF_COPY, PUF_FROM_U8, PUF_FROM_I8, PUF_FROM_I32, PUF_FROM_F32
    ctypedef struct PufGather:
        int64_t num_items, num_taken, item_elements, item_bytes
        const char *pool
        const int32_t *index32
        const int64_t *index64
        PufConvert convert
        int to_bf16
        float scale
        void *out
    ctypedef struct PufMoments:
        int64_t num_rows, num_taken, size
        const float *pool
        const int32_t *index
        double *mean
        double *deviation
    ctypedef struct PufToFloat:
        int64_t num_rows, size, stride
        const char *from_ "from"
        PufConvert convert
        const float *mean
        const float *scale
        PufOperand out
    ctypedef enum PufActivation:
        pass
    ctypedef struct PufLinear:
        int64_t num_rows, size
        PufActivation activation
        PufMatrix product
        const float *bias
        PufOperand y
    ctypedef struct PufLinearBackward:
        int64_t num_rows, size
        PufActivation activation
        PufMatrix grad
        PufOperand y, out
        float *grad_bias
    ctypedef struct PufLSTM:
        int64_t num_rows, size
        PufMatrix gates, cell, next_cell
        PufOperand out, next_hidden
        const float *bias
        const float *keep
    ctypedef struct PufLSTMBackward:
        int64_t num_rows, size
        PufMatrix gates, cell, grad_out, grad_hidden, grad_cell
        PufOperand grad_gates
        const float *keep
        float *grad_bias
    ctypedef struct PufMinGRU:
        int64_t num_rows, horizon, size
        float *gates
        const float *bias
        const float *keep
        PufMatrix state, hidden
        PufOperand x, out
    ctypedef struct PufMinGRUBackward:
        int64_t num_rows, horizon, size
        const float *gates
        const float *keep
        PufMatrix state
        const float *hidden
        const float *grad_out
        float *grad_state
        PufOperand grad_gates
        float *grad_bias
    ctypedef struct PufTransposeRows:
        int64_t num_rows, num_steps, size
        const float *from_ "from"
        float *out
    ctypedef struct PufNotReset:
        int64_t num_rows, num_steps
        const uint8_t *reset
        float *out
        int steps_first
    ctypedef struct PufMaskState:
        int64_t num_rows, size
        PufMatrix state
        const float *keep
        PufOperand out
    ctypedef struct PufInitStates:
        int64_t num_acting, num_agents, num_rows, horizon, size, first
        const int32_t *agents
        const uint8_t *life_start
        const int64_t *slot
        const float *initial
        PufMatrix state
        float *row_state
    ctypedef struct PufFill:
        int64_t num_rows, size
        PufMatrix out
        float value
    ctypedef struct PufReduceGrads:
        int64_t num_rows, size
        PufMatrix more
        float *out
        double *squares
    ctypedef struct PufAdam:
        int64_t size
        float *weights
        float *grads
        float *mean
        float *square
        float beta1, beta2, eps, scale, step_size, root_scale, keep
    ctypedef struct PufKernels:
        const char *width
        int (*sample)(const PufSample *, PufFault *) noexcept nogil
        int (*advantage)(const PufAdvantage *, PufFault *) noexcept nogil
        int (*ppo_loss)(const PufPPOLoss *, PufFault *) noexcept nogil
        int (*gather)(const PufGather *, PufFault *) noexcept nogil
        int (*moments)(const PufMoments *, PufFault *) noexcept nogil
        void (*to_float)(const PufToFloat *) noexcept nogil
        void (*linear)(const PufLinear *) noexcept nogil
        void (*linear_backward)(const PufLinearBackward *) noexcept nogil
        void (*lstm)(const PufLSTM *) noexcept nogil
        void (*lstm_backward)(const PufLSTMBackward *) noexcept nogil
        void (*mingru)(const PufMinGRU *) noexcept nogil
        void (*mingru_backward)(const PufMinGRUBackward *) noexcept nogil
        void (*transpose_rows)(const PufTransposeRows *) noexcept nogil
        void (*not_reset)(const PufNotReset *) noexcept nogil
        void (*mask_state)(const PufMaskState *) noexcept nogil
        int (*init_states)(const PufInitStates *, PufFault *) noexcept nogil
        void (*fill)(const PufFill *) noexcept nogil
        void (*reduce_grads)(const PufReduceGrads *) noexcept nogil
        void (*adam)(const PufAdam *) noexcept nogil
    const PufKernels *puf_kernels()


cdef extern from "pufferenv/engine/thread_pool.h" nogil:
    ctypedef struct PufThreads:
        pass
    PufThreads *puf_threads_new(int count, int64_t patience)
    void puf_threads_run(
        PufThreads *threads, void (*run)(void *, size_t) noexcept nogil, void *job, size_t chunks
    )
    void puf_threads_free(PufThreads *threads, int forked)


cdef extern from "blas_threads.h" nogil:
    const void *puf_thread()
    void puf_alone(int (*set_num_threads)(int) noexcept nogil)
