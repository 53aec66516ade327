# Bindings of the kernels of PPO: sample.h, advantage.h, ppo_loss.h.

cdef extern from "sample.h" nogil:
    ctypedef struct PufSampleParams:
        int64_t num_acting
        int32_t version
    ctypedef struct PufSample:
        int64_t max_acting, num_agents, num_slots, num_heads, num_choices, num_axes, first
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
        const PufSampleParams *params

cdef extern from "advantage.h" nogil:
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

cdef extern from "ppo_loss.h" nogil:
    enum:
        PUF_NUM_METRICS
    ctypedef struct PufLossParams:
        float adv_mean, adv_scale, ent_coef
        double count
    ctypedef struct PufPPOLoss:
        int64_t num_transitions, num_heads, num_choices, num_axes
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
        float clip_coef, vf_coef, vf_clip_coef
        const PufLossParams *params
        int log_std_shared
        float *grad_log_std
        double *metrics


cdef int64_t SAMPLE = find_kernel(b"sample"), ADVANTAGE = find_kernel(b"advantage")
cdef int64_t PPO_LOSS = find_kernel(b"ppo_loss")


cdef int64_t choices_of(const int32_t *sizes, int64_t num_heads) except -1:
    """Return C, the sum of the heads' choices."""
    cdef int64_t k, total = 0
    for k in range(num_heads):
        if sizes[k] < 1:
            raise ValueError(f"sizes[{k}] = {sizes[k]}: a head needs at least one choice")
        total += sizes[k]
    return total


cdef class SampleParams:
    """The parameters of sampling that change between steps.

    version     of the policy that acts
    num_acting  number of agents that act, the first of those that the call was recorded for
    """

    cdef PufSampleParams values

    def set(self, *, int32_t version, int64_t num_acting):
        """Set both; a recorded call reads them at replay."""
        self.values.version, self.values.num_acting = version, num_acting


def sample(
    *, values, logits=None, sizes=None, pool_mask=None, mean=None, log_std=None, low=None, high=None,
    agents=None, int64_t first=0, slot, bootstrap_slot, counts, seed, int32_t version=0,
    SampleParams params=None, bint greedy=False, action=None, axis=None, pool_action=None,
    pool_axis=None, pool_logprob, pool_value, pool_next_value, pool_version, entropy=None,
    Graph graph=None,
):
    """Sample an action for each of N agents; write it for the game and into the pool.

    An agent's draw depends only on (seed, agent, counts[agent]) and its own logits, mean and mask.
    If logits are NaN, +inf or all -inf, or the mask allows no choice, the log-probability is NaN
    and the action is the lowest legal choice (0 if there is none).

    values           (N,) of any stride
    logits           (N, C), contiguous rows; None: no discrete heads
    sizes            (K,) int32, choices of each head
    pool_mask        (S, C) uint8, 0: never chosen; or None
    mean             (N, X), contiguous rows; None: no continuous axes
    log_std          (N, X), contiguous rows, or (X,)
    low, high        (X,) the game gets the action clipped to [low, high]
    agents           (N,) int32, each once; None: agents [first, first + N)
    slot             (A,) int64: the slot of each agent's current observation
    bootstrap_slot   (A,) int64 in and out: slot whose next_value is this value, or -1; -1 afterwards
    counts           (A,) uint64 in and out: steps that each agent has acted, + 1 afterwards
    seed             key of the random numbers, modulo 2**64
    version          of the policy that acts
    params           SampleParams, read at replay instead of `version` and N
    greedy           take the likeliest choice (the lowest of equals) and the mean
    action           (A, K) int32, out
    axis             (A, X) out, clipped
    pool_action      (S, K) int32, out
    pool_axis        (S, X) out, unclipped
    pool_logprob     (S,) out, sum over heads and axes
    pool_value       (S,) out
    pool_next_value  (S,) out at bootstrap_slot
    pool_version     (S,) int32, out
    entropy          (N,) out, or None
    """
    cdef PufSample p
    cdef Arrays a = Arrays()
    cdef int64_t n = length("values", values)
    cdef int64_t num_agents = length("slot", slot)
    cdef int64_t num_slots = slots_of("pool_logprob", pool_logprob)
    cdef int64_t heads = 0 if logits is None else length("sizes", sizes)
    cdef int64_t num_axes = 0 if mean is None else length("mean", mean, 1)
    cdef int64_t choices
    if not heads and not num_axes:
        raise ValueError("nothing to sample: give logits and sizes, or mean and log_std, or both")
    if params is None:
        params = SampleParams()
        params.values.version, params.values.num_acting = version, n
    a.keep(params)
    p.params, p.max_acting, p.num_agents, p.num_slots = &params.values, n, num_agents, num_slots
    p.num_heads, p.num_choices, p.num_axes = heads, 0, num_axes
    p.first, p.greedy, p.seed = first, greedy, <uint64_t>(int(seed) & 0xFFFFFFFFFFFFFFFF)
    p.pool_mask, p.agents, p.entropy = NULL, NULL, NULL
    # Arguments of heads are read only if there are heads, those of axes only if there are axes.
    if heads:
        p.sizes = <const int32_t *>a.array("sizes", sizes, I32, heads)
        choices = p.num_choices = choices_of(p.sizes, heads)
        p.logits = a.matrix("logits", logits, n, choices)
        p.action = <int32_t *>a.array("action", action, I32, num_agents, heads, True)
        p.pool_action = <int32_t *>a.array("pool_action", pool_action, I32, num_slots, heads, True, True)
        if pool_mask is not None:
            p.pool_mask = <const uint8_t *>a.array(
                "pool_mask", pool_mask, U8, num_slots, choices, False, True
            )
    if num_axes:
        p.mean = a.matrix("mean", mean, n, num_axes)
        if getattr(log_std, "ndim", 2) == 1:
            p.log_std.data = <float *>a.array("log_std", log_std, F32, num_axes)
            p.log_std.stride = 0
        else:
            p.log_std = a.matrix("log_std", log_std, n, num_axes)
        p.low = <const float *>a.array("low", low, F32, num_axes)
        p.high = <const float *>a.array("high", high, F32, num_axes)
        p.axis = <float *>a.array("axis", axis, F32, num_agents, num_axes, True)
        p.pool_axis = <float *>a.array("pool_axis", pool_axis, F32, num_slots, num_axes, True, True)
    p.values = a.column("values", values, n)
    if agents is not None:
        p.agents = <const int32_t *>a.array("agents", agents, I32, n)
    p.slot = <const int64_t *>a.array("slot", slot, I64, num_agents)
    p.bootstrap_slot = <int64_t *>a.array("bootstrap_slot", bootstrap_slot, I64, num_agents, -1, True)
    p.counts = <uint64_t *>a.array("counts", counts, U64, num_agents, -1, True)
    p.pool_logprob = <float *>a.array("pool_logprob", pool_logprob, F32, num_slots, -1, True, True)
    p.pool_value = <float *>a.array("pool_value", pool_value, F32, num_slots, -1, True, True)
    p.pool_next_value = <float *>a.array("pool_next_value", pool_next_value, F32, num_slots, -1, True, True)
    p.pool_version = <int32_t *>a.array("pool_version", pool_version, I32, num_slots, -1, True, True)
    if entropy is not None:
        p.entropy = <float *>a.array("entropy", entropy, F32, n, -1, True)
    call_or_record(SAMPLE, &p, sizeof(p), a, graph)


def advantage(
    *, rows, pool_reward, pool_value, pool_next_value, pool_done, pool_segment_start, ratio=None,
    float gamma, float gae_lambda, float rho_clip=1.0, float c_clip=1.0, float reward_scale=1.0,
    float reward_clip=0.0, out_advantage=None, out_target=None,
):
    """Compute advantages and value targets of whole rows; advantage.h has the formulas.

    rows                (B,) int32
    pool_reward         (R, H) raw
    pool_value          (R, H)
    pool_next_value     (R, H) read only if TRUNCATED or in the last slot of a segment
    pool_done           (R, H) uint8
    pool_segment_start  (R, H) bool
    ratio               (B, H) exp(logp_prox - logp_stored); None: 1
    reward_clip         above 0: reward * reward_scale is clipped to [-reward_clip, reward_clip]
    out_advantage       (B, H) out
    out_target          (B, H) out, value + advantage

    Without outputs, the advantage replaces pool_reward and the target pool_next_value in these
    rows.
    """
    cdef PufAdvantage p
    cdef Arrays a = Arrays()
    cdef int64_t batch = length("rows", rows)
    cdef int64_t num_rows = length("pool_reward", pool_reward)
    cdef int64_t horizon = length("pool_reward", pool_reward, 1)
    if horizon == 0:
        raise ValueError(f"pool_reward: the rows have no slots, shape {tuple(pool_reward.shape)}")
    p.batch_rows, p.num_rows, p.horizon = batch, num_rows, horizon
    p.gamma, p.gae_lambda, p.rho_clip, p.c_clip = gamma, gae_lambda, rho_clip, c_clip
    p.reward_scale, p.reward_clip = reward_scale, reward_clip
    p.ratio = NULL
    p.rows = <const int32_t *>a.array("rows", rows, I32, batch)
    p.in_place = out_advantage is None and out_target is None
    p.pool_reward = <const float *>a.array("pool_reward", pool_reward, F32, num_rows, horizon, p.in_place)
    p.pool_value = <const float *>a.array("pool_value", pool_value, F32, num_rows, horizon)
    p.pool_next_value = <const float *>a.array(
        "pool_next_value", pool_next_value, F32, num_rows, horizon, p.in_place
    )
    p.pool_done = <const uint8_t *>a.array("pool_done", pool_done, U8, num_rows, horizon)
    p.pool_segment_start = <const uint8_t *>a.array(
        "pool_segment_start", pool_segment_start, U8, num_rows, horizon
    )
    if ratio is not None:
        p.ratio = <const float *>a.array("ratio", ratio, F32, batch, horizon)
    p.advantage, p.target = <float *>p.pool_reward, <float *>p.pool_next_value
    if not p.in_place:
        p.advantage = <float *>a.array("out_advantage", out_advantage, F32, batch, horizon, True)
        p.target = <float *>a.array("out_target", out_target, F32, batch, horizon, True)
    call_or_record(ADVANTAGE, &p, sizeof(p), a, None)


cdef class LossParams:
    """The parameters of the loss that change between minibatches.

    adv_mean, adv_scale  the advantage is used as (advantage - adv_mean) * adv_scale
    ent_coef             weight of the entropy
    count                number of transitions that means are taken over: those of the whole minibatch,
                         of which a call may get a chunk
    """

    cdef PufLossParams values

    def set(self, *, float adv_mean, float adv_scale, float ent_coef, double count):
        """Set all four; a recorded loss reads them at replay."""
        self.values.adv_mean, self.values.adv_scale = adv_mean, adv_scale
        self.values.ent_coef, self.values.count = ent_coef, count


def ppo_loss(
    *, values, logits=None, sizes=None, mask=None, mean=None, log_std=None, action=None, axis=None,
    logprob, old_value, advantage, target, float adv_mean=0.0, float adv_scale=1.0, float clip_coef,
    float vf_coef, float vf_clip_coef=0.0, float ent_coef=0.0, int64_t count=0, LossParams params=None,
    grad_logits=None, grad_mean=None, grad_log_std=None, grad_values, metrics=None, Graph graph=None,
):
    """Compute PPO's clipped loss and its gradient; ppo_loss.h has the formulas.

    values         (M,) of any stride
    logits         (M, C), contiguous rows; None: no discrete heads
    sizes          (K,) int32, choices of each head
    mask           (M, C) uint8, 0: never chosen; or None
    mean           (M, X), contiguous rows; None: no continuous axes
    log_std        (M, X) or (X,)
    action         (M, K) int32
    axis           (M, X)
    logprob        (M,) logp_prox
    old_value      (M,)
    advantage      (M,) used as (advantage - adv_mean) * adv_scale
    target         (M,)
    vf_clip_coef   <= 0: the value loss is not clipped
    count          number of transitions that means are taken over, at least M; 0: M
    params         LossParams, read at replay instead of adv_mean, adv_scale, ent_coef and count
    grad_logits    (M, C) out, contiguous rows
    grad_mean      (M, X) out, contiguous rows
    grad_log_std   as log_std: (M, X) out, or (X,) accumulated
    grad_values    (M,) out, of any stride
    metrics        (7,) float64, accumulated; required with `graph`

    The metrics are sums over M divided by `count`: loss, policy loss, value loss, entropy,
    approximate KL (r - 1) - log r, share of |r - 1| > clip_coef, old approximate KL -log r. They
    are returned if `metrics` is None.
    """
    cdef PufPPOLoss p
    cdef Arrays a = Arrays()
    cdef double[PUF_NUM_METRICS] found
    cdef int64_t m = length("values", values)
    cdef int64_t heads = 0 if logits is None else length("sizes", sizes)
    cdef int64_t num_axes = 0 if mean is None else length("mean", mean, 1)
    cdef int64_t choices
    cdef int i
    if m == 0:
        raise ValueError("values: the minibatch has no transitions")
    if not heads and not num_axes:
        raise ValueError("no action heads: give logits and sizes, or mean and log_std, or both")
    if count and count < m:
        raise ValueError(f"count={count} must be at least {m}, the number of transitions given")
    if params is None:
        params = LossParams()
        params.values.adv_mean, params.values.adv_scale = adv_mean, adv_scale
        params.values.ent_coef, params.values.count = ent_coef, count or m
    a.keep(params)
    p.num_transitions, p.num_heads, p.num_choices, p.num_axes = m, heads, 0, num_axes
    p.clip_coef, p.vf_coef, p.vf_clip_coef, p.params = clip_coef, vf_coef, vf_clip_coef, &params.values
    p.mask, p.log_std_shared, p.metrics = NULL, 0, found
    for i in range(PUF_NUM_METRICS):
        found[i] = 0.0
    if metrics is not None:
        p.metrics = <double *>a.array("metrics", metrics, F64, PUF_NUM_METRICS, -1, True)
    elif graph is not None:
        raise TypeError("metrics: missing; a recorded loss needs an array to add them to")
    # Arguments of heads are read only if there are heads, those of axes only if there are axes.
    if heads:
        p.sizes = <const int32_t *>a.array("sizes", sizes, I32, heads)
        choices = p.num_choices = choices_of(p.sizes, heads)
        p.logits = a.matrix("logits", logits, m, choices)
        p.action = <const int32_t *>a.array("action", action, I32, m, heads)
        p.grad_logits = a.matrix("grad_logits", grad_logits, m, choices, True)
        if mask is not None:
            p.mask = <const uint8_t *>a.array("mask", mask, U8, m, choices)
    if num_axes:
        p.mean = a.matrix("mean", mean, m, num_axes)
        p.axis = <const float *>a.array("axis", axis, F32, m, num_axes)
        p.grad_mean = a.matrix("grad_mean", grad_mean, m, num_axes, True)
        p.log_std_shared = getattr(log_std, "ndim", 2) == 1
        if p.log_std_shared:
            p.log_std = <const float *>a.array("log_std", log_std, F32, num_axes)
            p.grad_log_std = <float *>a.array("grad_log_std", grad_log_std, F32, num_axes, -1, True)
        else:
            p.log_std = <const float *>a.array("log_std", log_std, F32, m, num_axes)
            p.grad_log_std = <float *>a.array("grad_log_std", grad_log_std, F32, m, num_axes, True)
    p.values = a.column("values", values, m)
    p.logprob = <const float *>a.array("logprob", logprob, F32, m)
    p.old_value = <const float *>a.array("old_value", old_value, F32, m)
    p.advantage = <const float *>a.array("advantage", advantage, F32, m)
    p.target = <const float *>a.array("target", target, F32, m)
    p.grad_values = a.column("grad_values", grad_values, m, True)
    call_or_record(PPO_LOSS, &p, sizeof(p), a, graph)
    return tuple([found[i] for i in range(PUF_NUM_METRICS)]) if metrics is None else None
