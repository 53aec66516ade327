# cython: language_level=3
"""Python's door to the native passes of kernels.h: checks arrays, fills a struct, releases the GIL.

The signatures, with every shape, are documented in _kernels.pyi.
"""

from cpython.buffer cimport (
    PyBUF_FORMAT,
    PyBUF_STRIDES,
    PyBuffer_IsContiguous,
    PyBuffer_Release,
    PyObject_CheckBuffer,
    PyObject_GetBuffer,
)
from libc.stdint cimport int32_t, int64_t, uint8_t, uint64_t
from libc.stdlib cimport free, malloc, realloc
from libc.string cimport memcpy
from posix.time cimport CLOCK_MONOTONIC, clock_gettime, timespec
from posix.types cimport pid_t
from posix.unistd cimport getpid


cdef const PufKernels *KERNELS = puf_kernels()
WIDTH = KERNELS.width.decode()

include "_arrays.pxi"
include "_graph.pxi"


ACTIVATIONS = ("identity", "relu", "tanh")  # as PufActivation has them


cdef int activation_of(str name) except -1:
    if name not in ACTIVATIONS:
        raise ValueError(f"activation: expected one of {', '.join(ACTIVATIONS)}, got {name!r}")
    return ACTIVATIONS.index(name)


def sample(
    *, values, logits=None, sizes=None, pool_mask=None, mean=None, log_std=None, low=None, high=None,
    agents=None, int64_t first=0, slot, bootstrap_slot, counts, seed, int32_t version=0, moment=None,
    bint greedy=False, action=None, axis=None, pool_action=None, pool_axis=None, pool_logprob,
    pool_value, pool_next_value, pool_version, entropy=None, Graph graph=None,
):
    """Choose an action for each acting agent; write it where the game and the pool want it."""
    cdef Sample both
    cdef PufSample *p = &both.sample
    cdef Arrays a = Arrays()
    cdef int64_t n = length("values", values)
    cdef int64_t num_agents = length("slot", slot)
    cdef int64_t num_slots = slots_of("pool_logprob", pool_logprob)
    cdef int64_t heads = 0 if logits is None else length("sizes", sizes)
    cdef int64_t num_axes = 0 if mean is None else length("mean", mean, 1)
    cdef int64_t choices
    if not heads and not num_axes:
        raise ValueError("nothing to sample: give logits and sizes, or mean and log_std, or both")
    p.num_acting, p.num_agents, p.num_slots = n, num_agents, num_slots
    p.num_heads, p.num_choices, p.num_axes = heads, 0, num_axes
    p.first, p.version, p.greedy = first, version, greedy
    both.most, both.moment = n, NULL
    if moment is not None:
        both.moment = <const int64_t *>a.take("moment", moment, I64, 2)
    p.seed = <uint64_t>(int(seed) & 0xFFFFFFFFFFFFFFFF)
    p.pool_mask, p.agents, p.entropy = NULL, NULL, NULL
    if heads:
        p.sizes = <const int32_t *>a.take("sizes", sizes, I32, heads)
        choices = p.num_choices = choices_of(p.sizes, heads)
        p.logits = a.rows("logits", logits, n, choices)
        p.action = <int32_t *>a.take("action", action, I32, num_agents, heads, True)
        p.pool_action = <int32_t *>a.take("pool_action", pool_action, I32, num_slots, heads, True, True)
        if pool_mask is not None:
            p.pool_mask = <const uint8_t *>a.take("pool_mask", pool_mask, U8, num_slots, choices, False, True)
    if num_axes:
        p.mean = a.rows("mean", mean, n, num_axes)
        if getattr(log_std, "ndim", 2) == 1:
            p.log_std.at = <float *>a.take("log_std", log_std, F32, num_axes)
            p.log_std.stride = 0
        else:
            p.log_std = a.rows("log_std", log_std, n, num_axes)
        p.low = <const float *>a.take("low", low, F32, num_axes)
        p.high = <const float *>a.take("high", high, F32, num_axes)
        p.axis = <float *>a.take("axis", axis, F32, num_agents, num_axes, True)
        p.pool_axis = <float *>a.take("pool_axis", pool_axis, F32, num_slots, num_axes, True, True)
    p.values = a.column("values", values, n)
    if agents is not None:
        p.agents = <const int32_t *>a.take("agents", agents, I32, n)
    p.slot = <const int64_t *>a.take("slot", slot, I64, num_agents)
    p.bootstrap_slot = <int64_t *>a.take("bootstrap_slot", bootstrap_slot, I64, num_agents, -1, True)
    p.counts = <uint64_t *>a.take("counts", counts, U64, num_agents, -1, True)
    p.pool_logprob = <float *>a.take("pool_logprob", pool_logprob, F32, num_slots, -1, True, True)
    p.pool_value = <float *>a.take("pool_value", pool_value, F32, num_slots, -1, True, True)
    p.pool_next_value = <float *>a.take("pool_next_value", pool_next_value, F32, num_slots, -1, True, True)
    p.pool_version = <int32_t *>a.take("pool_version", pool_version, I32, num_slots, -1, True, True)
    if entropy is not None:
        p.entropy = <float *>a.take("entropy", entropy, F32, n, -1, True)
    do(SAMPLE, &both, sizeof(both), a, graph)


def advantage(
    *, rows, pool_reward, pool_value, pool_next_value, pool_done, pool_segment_start, ratio=None,
    float gamma, float gae_lambda, float rho_clip=1.0, float c_clip=1.0, float reward_scale=1.0, float reward_clip=0.0,
    out_advantage=None, out_target=None,
):
    """Compute advantages and value targets of whole rows."""
    cdef PufAdvantage p
    cdef PufFault fault
    cdef Arrays a = Arrays()
    cdef int64_t batch = length("rows", rows)
    cdef int64_t num_rows = length("pool_reward", pool_reward)
    cdef int64_t horizon = length("pool_reward", pool_reward, 1)
    cdef int bad
    if horizon == 0:
        raise ValueError(f"pool_reward: rows without slots, shape {tuple(pool_reward.shape)}")
    p.batch_rows, p.num_rows, p.horizon = batch, num_rows, horizon
    p.gamma, p.gae_lambda, p.rho_clip, p.c_clip = gamma, gae_lambda, rho_clip, c_clip
    p.reward_scale, p.reward_clip = reward_scale, reward_clip
    p.ratio = NULL
    p.rows = <const int32_t *>a.take("rows", rows, I32, batch)
    p.in_place = out_advantage is None and out_target is None
    p.pool_reward = <const float *>a.take("pool_reward", pool_reward, F32, num_rows, horizon, p.in_place)
    p.pool_value = <const float *>a.take("pool_value", pool_value, F32, num_rows, horizon)
    p.pool_next_value = <const float *>a.take("pool_next_value", pool_next_value, F32, num_rows, horizon, p.in_place)
    p.pool_done = <const uint8_t *>a.take("pool_done", pool_done, U8, num_rows, horizon)
    p.pool_segment_start = <const uint8_t *>a.take("pool_segment_start", pool_segment_start, U8, num_rows, horizon)
    if ratio is not None:
        p.ratio = <const float *>a.take("ratio", ratio, F32, batch, horizon)
    p.advantage, p.target = <float *>p.pool_reward, <float *>p.pool_next_value
    if not p.in_place:
        p.advantage = <float *>a.take("out_advantage", out_advantage, F32, batch, horizon, True)
        p.target = <float *>a.take("out_target", out_target, F32, batch, horizon, True)
    with nogil:
        bad = KERNELS.advantage(&p, &fault)
    if bad:
        raise_fault(&fault, "")


def ppo_loss(
    *, values, logits=None, sizes=None, mask=None, mean=None, log_std=None, action=None, axis=None,
    logprob, old_value, advantage, target, float adv_mean=0.0, float adv_scale=1.0, float clip_coef,
    float vf_coef, float vf_clip_coef=0.0, float ent_coef, int64_t count=0, grad_logits=None,
    grad_mean=None, grad_log_std=None, grad_values, numbers=None, metrics=None, Graph graph=None,
):
    """Compute PPO's clipped loss and its gradient in one pass; returns the seven metrics."""
    cdef Loss both
    cdef PufPPOLoss *p = &both.loss
    cdef Arrays a = Arrays()
    cdef double[PUF_NUM_METRICS] found
    cdef int64_t m = length("values", values)
    cdef int64_t heads = 0 if logits is None else length("sizes", sizes)
    cdef int64_t num_axes = 0 if mean is None else length("mean", mean, 1)
    cdef int64_t choices
    cdef int i
    if m == 0:
        raise ValueError("values: a minibatch without slots has no mean loss")
    if not heads and not num_axes:
        raise ValueError("no policy: give logits and sizes, or mean and log_std, or both")
    if count and count < m:
        raise ValueError(f"count={count}: means are over these {m} slots or more")
    p.num_slots, p.num_heads, p.num_choices, p.num_axes = m, heads, 0, num_axes
    p.count = count or m
    p.adv_mean, p.adv_scale, p.clip_coef = adv_mean, adv_scale, clip_coef
    p.vf_coef, p.vf_clip_coef, p.ent_coef = vf_coef, vf_clip_coef, ent_coef
    p.mask, p.log_std_shared, p.metrics, both.numbers = NULL, 0, found, NULL
    for i in range(PUF_NUM_METRICS):
        found[i] = 0.0
    if metrics is not None:
        p.metrics = <double *>a.take("metrics", metrics, F64, PUF_NUM_METRICS, -1, True)
    elif graph is not None:
        raise TypeError("metrics: missing; on a graph they are added to an array")
    if numbers is not None:
        both.numbers = <const double *>a.take("numbers", numbers, F64, 4)
    if heads:
        p.sizes = <const int32_t *>a.take("sizes", sizes, I32, heads)
        choices = p.num_choices = choices_of(p.sizes, heads)
        p.logits = a.rows("logits", logits, m, choices)
        p.action = <const int32_t *>a.take("action", action, I32, m, heads)
        p.grad_logits = a.rows("grad_logits", grad_logits, m, choices, True)
        if mask is not None:
            p.mask = <const uint8_t *>a.take("mask", mask, U8, m, choices)
    if num_axes:
        p.mean = a.rows("mean", mean, m, num_axes)
        p.axis = <const float *>a.take("axis", axis, F32, m, num_axes)
        p.grad_mean = a.rows("grad_mean", grad_mean, m, num_axes, True)
        p.log_std_shared = getattr(log_std, "ndim", 2) == 1
        if p.log_std_shared:
            p.log_std = <const float *>a.take("log_std", log_std, F32, num_axes)
            p.grad_log_std = <float *>a.take("grad_log_std", grad_log_std, F32, num_axes, -1, True)
        else:
            p.log_std = <const float *>a.take("log_std", log_std, F32, m, num_axes)
            p.grad_log_std = <float *>a.take("grad_log_std", grad_log_std, F32, m, num_axes, True)
    p.values = a.column("values", values, m)
    p.logprob = <const float *>a.take("logprob", logprob, F32, m)
    p.old_value = <const float *>a.take("old_value", old_value, F32, m)
    p.advantage = <const float *>a.take("advantage", advantage, F32, m)
    p.target = <const float *>a.take("target", target, F32, m)
    p.grad_values = a.column("grad_values", grad_values, m, True)
    do(LOSS, &both, sizeof(both), a, graph)
    return tuple([found[i] for i in range(PUF_NUM_METRICS)]) if metrics is None else None


CONVERT = {U8: PUF_FROM_U8, I8: PUF_FROM_I8, I32: PUF_FROM_I32, F32: PUF_FROM_F32}

# Bytes up to which a copy is over sooner than Python's lock is had back from another thread.
cdef enum:
    WORTH_LETTING_GO = 1 << 16


cdef take_items(str index_name, pool, index, out, float scale, int leading, Graph graph):
    """Gather by `index`; `leading` is how many dimensions of the pool one index runs over, 0: any."""
    cdef PufGather p
    cdef Arrays a = Arrays()
    cdef Py_buffer *from_view = a.hold("pool", pool)
    cdef Py_buffer *index_view = a.hold(index_name, index)
    cdef Py_buffer *out_view = a.hold("out", out, True)
    cdef Kind kind = kind_of(from_view), out_kind = kind_of(out_view)
    cdef Kind index_kind = kind_of(index_view)
    cdef int i, spare = from_view.ndim - (out_view.ndim - 1)
    cdef bint fits = out_view.ndim >= 1 and spare >= 1 and (spare == leading or leading == 0)
    if index_view.ndim != 1 or index_kind not in (I32, I64):
        raise ValueError(
            f"{index_name}: expected int32 or int64 of one dimension, got {described(index_view)}"
        )
    if kind not in (F32, I32, U8, I8):
        raise ValueError(f"pool: expected uint8, int8, int32 or float32, got {described(from_view)}")
    p.num_taken, p.num_items, p.item_elements = index_view.shape[0], 1, 1
    if fits:
        for i in range(spare):
            p.num_items *= from_view.shape[i]
        for i in range(spare, from_view.ndim):
            p.item_elements *= from_view.shape[i]
            fits = fits and from_view.shape[i] == out_view.shape[i - spare + 1]
        fits = fits and out_view.shape[0] == p.num_taken
    if not fits:
        raise ValueError(
            f"out: expected one item of pool, {described(from_view)}, for each of {p.num_taken}"
            f" {index_name}, got {described(out_view)}"
        )
    if out_kind not in (F32, BF16) and (out_kind != kind or scale != 1.0):
        raise ValueError(
            "out: expected float32, bfloat16 as uint16, or the dtype of pool and scale 1; got"
            f" {described(out_view)}"
            f" for pool of {described(from_view)} and scale {scale:g}"
        )
    p.item_bytes = p.item_elements * from_view.itemsize
    p.pool, p.out, p.scale = <const char *>from_view.buf, out_view.buf, scale
    p.index32 = <const int32_t *>index_view.buf if index_kind == I32 else NULL
    p.index64 = <const int64_t *>index_view.buf if index_kind == I64 else NULL
    p.to_bf16 = out_kind == BF16
    if out_kind == kind and scale == 1.0:
        p.convert = PUF_COPY
    else:
        p.convert = CONVERT[kind]
    do(GATHER, &p, sizeof(p), a, graph, index_name, p.num_taken * p.item_bytes >= WORTH_LETTING_GO)


def gather(pool, rows, out, float scale=1.0, Graph graph=None):
    """Copy whole rows of the pool, converted and scaled if `out` is float32 or bfloat16."""
    take_items("rows", pool, rows, out, scale, 1, graph)


def gather_slots(pool, slots, out, float scale=1.0, Graph graph=None):
    """Copy single slots of the pool, converted and scaled if `out` is float32 or bfloat16."""
    take_items("slots", pool, slots, out, scale, 0, graph)


def moments(pool, rows):
    """Return mean and deviation of whole rows of the pool."""
    cdef PufMoments p
    cdef Arrays a = Arrays()
    cdef double mean, deviation
    p.num_rows, p.size, p.num_taken = length("pool", pool), length("pool", pool, 1), length("rows", rows)
    if not p.num_taken or not p.size:
        raise ValueError("rows: nothing has no mean")
    p.pool = <const float *>a.take("pool", pool, F32, p.num_rows, p.size)
    p.index = <const int32_t *>a.take("rows", rows, I32, p.num_taken)
    p.mean, p.deviation = &mean, &deviation
    do(MOMENTS, &p, sizeof(p), a, None, "rows")
    return mean, deviation


def to_float(*, GraphInput rows not None, out, mean=None, scale=None, Graph graph=None):
    """Make floats of what is given."""
    cdef Float p
    cdef Arrays a = Arrays()
    cdef GraphInput source
    p.rows.num_rows, p.rows.size = rows.shape
    p.rows.mean, p.rows.scale = NULL, NULL
    if rows.kind not in (F32, I32, U8, I8):
        raise ValueError(f"rows: expected uint8, int8, int32 or float32, got {KIND_NAMES[rows.kind]}")
    if (mean is None) != (scale is None):
        raise TypeError("mean and scale: give both, or neither")
    if scale is not None:
        p.rows.mean = <const float *>a.take("mean", mean, F32, p.rows.size)
        p.rows.scale = <const float *>a.take("scale", scale, F32, p.rows.size)
    p.rows.convert = CONVERT[rows.kind]
    p.rows.out = a.operand("out", out, p.rows.num_rows, p.rows.size, True)
    source = rows.source()
    p.at, p.stride, p.begin = <char *const *>&source.at, &source.stride, rows.begin
    if graph is not None:
        graph.inputs.append(source)
    elif source.at == NULL:
        raise ValueError("rows: nothing was put")
    do(TO_FLOAT, &p, sizeof(p), a, graph)


def linear(*, product, y, bias, str activation, Graph graph=None):
    """Do the arithmetic of a dense layer behind its product."""
    cdef PufLinear p
    cdef Arrays a = Arrays()
    p.num_rows, p.size = length("product", product), length("product", product, 1)
    p.activation = <PufActivation>activation_of(activation)
    p.product = a.rows("product", product, p.num_rows, p.size)
    p.bias = <const float *>a.take("bias", bias, F32, p.size)
    p.y = a.operand("y", y, p.num_rows, p.size, True)
    do(DENSE, &p, sizeof(p), a, graph)


def linear_backward(*, y, grad, out, grad_bias, str activation, Graph graph=None):
    """Go back through a dense layer, from its result to its product."""
    cdef PufLinearBackward p
    cdef Arrays a = Arrays()
    p.num_rows, p.size = length("y", y), length("y", y, 1)
    p.activation = <PufActivation>activation_of(activation)
    p.y = a.operand("y", y, p.num_rows, p.size)
    p.grad = a.rows("grad", grad, p.num_rows, p.size)
    p.out = a.operand("out", out, p.num_rows, p.size, True)
    p.grad_bias = <float *>a.take("grad_bias", grad_bias, F32, p.size, -1, True)
    do(DENSE_BACK, &p, sizeof(p), a, graph)


def lstm(
    *, gates, bias, cell, keep=None, out, next_cell, next_hidden=None, Graph graph=None,
):
    """Do the arithmetic of one LSTM step behind its products."""
    cdef PufLSTM p
    cdef Arrays a = Arrays()
    cdef int64_t n = length("cell", cell), size = length("cell", cell, 1)
    p.num_rows, p.size, p.keep = n, size, NULL
    p.next_hidden.at, p.next_hidden.narrow = NULL, 0
    p.gates = a.rows("gates", gates, n, 4 * size, True)
    p.bias = <const float *>a.take("bias", bias, F32, 4 * size)
    p.cell = a.rows("cell", cell, n, size)
    p.out = a.operand("out", out, n, size, True)
    p.next_cell = a.rows("next_cell", next_cell, n, size, True)
    if next_hidden is not None:
        p.next_hidden = a.operand("next_hidden", next_hidden, n, size, True)
    if keep is not None:
        p.keep = <const float *>a.take("keep", keep, F32, n)
    do(LSTM, &p, sizeof(p), a, graph)


def lstm_backward(
    *, gates, cell, keep=None, grad_out, grad_hidden, grad_cell, grad_gates, grad_bias,
    Graph graph=None,
):
    """Go back through one LSTM step, from its states to its products."""
    cdef PufLSTMBackward p
    cdef Arrays a = Arrays()
    cdef int64_t n = length("cell", cell), size = length("cell", cell, 1)
    p.num_rows, p.size, p.keep = n, size, NULL
    p.gates = a.rows("gates", gates, n, 4 * size)
    p.cell = a.rows("cell", cell, n, size)
    p.grad_out = a.rows("grad_out", grad_out, n, size)
    p.grad_hidden = a.rows("grad_hidden", grad_hidden, n, size)
    p.grad_cell = a.rows("grad_cell", grad_cell, n, size, True)
    p.grad_gates = a.operand("grad_gates", grad_gates, n, 4 * size, True)
    p.grad_bias = <float *>a.take("grad_bias", grad_bias, F32, 4 * size, -1, True)
    if keep is not None:
        p.keep = <const float *>a.take("keep", keep, F32, n)
    do(LSTM_BACK, &p, sizeof(p), a, graph)


def mingru(*, gates, bias, keep=None, x, state, hidden, out, Graph graph=None):
    """Do the arithmetic of all steps of minGRU behind their product."""
    cdef PufMinGRU p
    cdef Arrays a = Arrays()
    cdef int64_t n = length("x", x), horizon = length("x", x, 1), size = length("x", x, 2)
    cdef int64_t steps = n * horizon
    p.num_rows, p.horizon, p.size, p.keep = n, horizon, size, NULL
    p.gates = <float *>a.take("gates", gates, F32, steps, 2 * size, True, True)
    p.bias = <const float *>a.take("bias", bias, F32, 2 * size)
    p.x = a.operand("x", x, steps, size, False, True)
    p.state = a.rows("state", state, n, size)
    p.hidden = a.steps("hidden", hidden, n, horizon, size)
    p.out = a.operand("out", out, steps, size, True, True)
    if keep is not None:
        p.keep = <const float *>a.take("keep", keep, F32, steps, -1, False, True)
    do(MINGRU, &p, sizeof(p), a, graph)


def mingru_backward(
    *, gates, keep, state, hidden, grad_out, grad_state, grad_gates, grad_bias, Graph graph=None,
):
    """Go back through all steps of minGRU, from their results to the product."""
    cdef PufMinGRUBackward p
    cdef Arrays a = Arrays()
    cdef int64_t n = length("hidden", hidden), horizon = length("hidden", hidden, 1)
    cdef int64_t size = length("hidden", hidden, 2), steps = n * horizon
    p.num_rows, p.horizon, p.size = n, horizon, size
    p.gates = <const float *>a.take("gates", gates, F32, steps, 2 * size, False, True)
    p.keep = <const float *>a.take("keep", keep, F32, steps, -1, False, True)
    p.state = a.rows("state", state, n, size)
    p.hidden = <const float *>a.take("hidden", hidden, F32, steps, size, False, True)
    p.grad_out = <const float *>a.take("grad_out", grad_out, F32, steps, size, False, True)
    p.grad_state = <float *>a.take("grad_state", grad_state, F32, n, size, True)
    p.grad_gates = a.operand("grad_gates", grad_gates, steps, 2 * size, True, True)
    p.grad_bias = <float *>a.take("grad_bias", grad_bias, F32, 2 * size, -1, True)
    do(MINGRU_BACK, &p, sizeof(p), a, graph)


def transpose_rows(*, rows, out, Graph graph=None):
    """Copy rows of steps to steps of rows."""
    cdef PufTransposeRows p
    cdef Arrays a = Arrays()
    cdef int64_t n = length("rows", rows), steps = length("rows", rows, 1)
    p.num_rows, p.num_steps, p.size = n, steps, length("rows", rows, 2)
    p.from_ = <const float *>a.take("rows", rows, F32, n * steps, p.size, False, True)
    if tuple(out.shape) != (steps, n, p.size):
        raise ValueError(f"out: expected shape {(steps, n, p.size)}, got {tuple(out.shape)}")
    p.out = <float *>a.take("out", out, F32, n * steps, p.size, True, True)
    do(TURN, &p, sizeof(p), a, graph)


def not_reset(*, reset, out, bint steps_first=False, Graph graph=None):
    """Write 0 where a life begins, else 1."""
    cdef PufNotReset p
    cdef Arrays a = Arrays()
    cdef int64_t n = length("reset", reset), steps = length("reset", reset, 1)
    p.num_rows, p.num_steps, p.steps_first = n, steps, steps_first
    p.reset = <const uint8_t *>a.take("reset", reset, U8, n, steps)
    n, steps = (steps, n) if steps_first else (n, steps)
    p.out = <float *>a.take("out", out, F32, n, steps, True)
    do(KEEP, &p, sizeof(p), a, graph)


def mask_state(*, state, keep, out, Graph graph=None):
    """Copy states, 0 where a life begins."""
    cdef PufMaskState p
    cdef Arrays a = Arrays()
    p.num_rows, p.size = length("state", state), length("state", state, 1)
    p.state = a.rows("state", state, p.num_rows, p.size)
    p.keep = <const float *>a.take("keep", keep, F32, p.num_rows)
    p.out = a.operand("out", out, p.num_rows, p.size, True)
    do(CARRY, &p, sizeof(p), a, graph)


def init_states(
    *, state, agents=None, int64_t first=0, life_start, slot, initial, row_state, int64_t horizon,
):
    """Give lives that begin the initial state, and rows that begin theirs."""
    cdef PufInitStates p
    cdef Arrays a = Arrays()
    cdef int64_t n = length("state", state)
    if horizon < 1:
        raise ValueError(f"horizon={horizon}: a row has at least one slot")
    p.num_acting, p.num_agents, p.num_rows = n, length("slot", slot), length("row_state", row_state)
    p.horizon, p.size, p.first, p.agents = horizon, length("initial", initial), first, NULL
    if agents is not None:
        p.agents = <const int32_t *>a.take("agents", agents, I32, n)
    p.life_start = <const uint8_t *>a.take("life_start", life_start, U8, p.num_agents)
    p.slot = <const int64_t *>a.take("slot", slot, I64, p.num_agents)
    p.initial = <const float *>a.take("initial", initial, F32, p.size)
    p.state = a.rows("state", state, n, p.size, True)
    p.row_state = <float *>a.take("row_state", row_state, F32, p.num_rows, p.size, True)
    do(BEGIN, &p, sizeof(p), a, None)


def fill(*, out, float value=0.0, Graph graph=None):
    """Write the same everywhere."""
    cdef PufFill p
    cdef Arrays a = Arrays()
    p.num_rows, p.size = length("out", out), length("out", out, 1)
    p.out, p.value = a.rows("out", out, p.num_rows, p.size, True), value
    do(FILL, &p, sizeof(p), a, graph)


def reduce_grads(*, out, more, squares, Graph graph=None):
    """Add rows to a vector, forget them, and sum its squares."""
    cdef PufReduceGrads p
    cdef Arrays a = Arrays()
    p.size, p.num_rows = length("out", out), length("more", more)
    p.out = <float *>a.take("out", out, F32, p.size, -1, True)
    p.more = a.rows("more", more, p.num_rows, p.size, True)
    p.squares = <double *>a.take("squares", squares, F64, 1, -1, True)
    do(JOIN, &p, sizeof(p), a, graph)


def adam(
    *, weights, grads, mean, square, numbers, double beta1, double beta2, double eps, Graph graph=None,
):
    """Take one step of AdamW; forget the gradients."""
    cdef Adam both
    cdef PufAdam *p = &both.adam
    cdef Arrays a = Arrays()
    p.size = length("weights", weights)
    p.weights = <float *>a.take("weights", weights, F32, p.size, -1, True)
    p.grads = <float *>a.take("grads", grads, F32, p.size, -1, True)
    p.mean = <float *>a.take("mean", mean, F32, p.size, -1, True)
    p.square = <float *>a.take("square", square, F32, p.size, -1, True)
    p.beta1, p.beta2, p.eps = beta1, beta2, eps
    both.numbers = <const double *>a.take("numbers", numbers, F64, 4)
    do(ADAM, &both, sizeof(both), a, graph)
