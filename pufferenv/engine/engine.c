// pufferenv/engine/engine.c - sizes, life, resets and phase (a) of a step; see engine.h.
#include <stdlib.h>
#include <string.h>

#include "pufferenv/engine/engine_internal.h"

// --- sizes ------------------------------------------------------------------------------
int puf_engine_plan(PufEngine *e, const PufSpec *spec, const void *config,
                    const PufOptions *options) {
    static const int64_t ITEM[] = {[PUF_U8] = 1, [PUF_I8] = 1, [PUF_I32] = 4, [PUF_F32] = 4};
    *e = (PufEngine){.spec = spec, .options = *options};
    e->config = malloc(spec->config_size + 1);
    if (!e->config) return PUF_ERR_MEMORY;
    memcpy(e->config, config, spec->config_size);
    e->env_agents = spec->num_agents(config);
    e->num_agents = (int64_t)e->env_agents * options->num_envs;
    e->num_heads = spec->heads(config, e->heads);
    e->num_axes = spec->axes(config, e->axes);
    for (int k = 0; k < e->num_heads; k++) e->num_choices += e->heads[k].n;
    e->obs_ndim = spec->obs_shape(config, e->obs_dims);
    e->obs_stride = ITEM[spec->obs_dtype];
    for (int d = 0; d < e->obs_ndim; d++) e->obs_stride *= e->obs_dims[d];
    e->num_slots =
        options->mode == PUF_ROWS ? (int64_t)options->num_rows * options->horizon : e->num_agents;
    return PUF_OK;
}

// --- life -------------------------------------------------------------------------------
static void *aligned(size_t bytes) { // zeroed, aligned to 64 bytes
    const size_t size = (bytes + 64) / 64 * 64;
    void *memory = aligned_alloc(64, size);
    return memory ? memset(memory, 0, size) : NULL;
}

enum {
    PATIENCE = 200000,      // nanoseconds that workers wait for the next step before they sleep
    RESET_GRAIN = 64,       // envs that one thread resets at a time
    CHUNKS_PER_THREAD = 32, // of a step: so small that a slow core delays the others little
    MAX_CHUNKS = 256,       // of a step
};

static int allocate(PufEngine *e) {
    const size_t envs = (size_t)e->options.num_envs, agents = (size_t)e->num_agents;
    e->envs = aligned(envs * e->spec->env_size);
    e->notes = aligned(envs * sizeof(PufNote));
    e->dones = aligned(agents);
    // These four are not zeroed, so that only the part in use takes memory.
    e->final_slots = malloc(agents * sizeof(int64_t));
    e->events = malloc(envs * sizeof(uint32_t));
    e->final_at = malloc((envs + 1) * sizeof(int32_t));
    e->live = malloc(agents * sizeof(int32_t));
    e->stats = aligned(e->spec->num_log * sizeof(PufStat));
    e->threads = puf_thread_pool_new(e->options.num_threads, PATIENCE);
    if (!e->envs || !e->notes || !e->dones || !e->final_slots || !e->events || !e->final_at ||
        !e->live || !e->stats || !e->threads)
        return PUF_ERR_MEMORY;
    if (e->options.mode == PUF_ROWS &&
        puf_rows_init(&e->rows, e->options.num_rows, e->options.horizon))
        return PUF_ERR_MEMORY;
    return PUF_OK;
}

// Gives the games their pointers into the caller's arrays.
static void connect(PufEngine *e) {
    e->io = (PufIO){
        .obs = e->arrays.observation,
        .obs_stride = (size_t)e->obs_stride,
        .mask = e->arrays.mask,
        .mask_stride = e->spec->has_mask ? (size_t)e->num_choices : 0,
        .actions = e->arrays.action,
        .axes = e->arrays.axis,
        .rewards = e->arrays.reward,
        .dones = e->dones,
        .alive = e->arrays.alive,
        .slot = e->arrays.slot,
        .row_end = e->arrays.row_end,
        .shared = e->shared,
        .note = e->notes,
        .num_agents = e->env_agents,
        .num_heads = e->num_heads,
        .num_axes = e->num_axes,
    };
    e->columns =
        (PufColumns){.pool_reward = e->arrays.pool_reward, .pool_done = e->arrays.pool_done};
}

// Makes all envs, or those of `which`; an env that exists is closed first.
static int make_envs(PufEngine *e, const uint64_t *seeds, const uint8_t *which, const char **why) {
    for (int32_t i = 0; i < e->options.num_envs; i++) {
        if (which && !which[i]) continue;
        void *env = e->envs + (size_t)i * e->spec->env_size;
        if (i < e->num_init) e->spec->close(env);
        memset(env, 0, e->spec->env_size);
        if (i >= e->num_init) e->num_init = i + 1;
        int status = e->spec->init(env, e->config, seeds[i], why);
        if (status != PUF_OK) return status;
    }
    return PUF_OK;
}

int puf_engine_open(PufEngine *e, const uint64_t *seeds, const char **why) {
    int status = allocate(e);
    if (status == PUF_OK) status = e->spec->load(e->config, &e->shared, why);
    if (status != PUF_OK) return status;
    connect(e);
    return puf_engine_reset(e, seeds, NULL, why);
}

void puf_engine_close(PufEngine *e, int forked) {
    for (int32_t i = 0; i < e->num_init; i++)
        e->spec->close(e->envs + (size_t)i * e->spec->env_size);
    if (e->shared) e->spec->unload(e->shared);
    puf_thread_pool_free(e->threads, forked);
    puf_rows_close(&e->rows);
    free(e->envs), free(e->notes), free(e->dones), free(e->final_slots), free(e->events);
    free(e->final_at), free(e->live), free(e->stats), free(e->config);
    *e = (PufEngine){0};
}

// --- resets -----------------------------------------------------------------------------
static void reset_range(void *engine, size_t begin, size_t end) {
    PufEngine *e = engine;
    // The log of an episode that the caller's reset cuts off is dropped.
    for (size_t k = begin; k < end; k++)
        memset(e->envs + e->events[k] * (size_t)e->spec->env_size, 0, e->spec->log_size);
    e->spec->reset(e->envs, &e->io, e->events + begin, end - begin);
}

// Gives each agent of an env its slot before the first observation of an episode after a reset.
static void place_agents(PufEngine *e, uint32_t i) {
    PufIO at = puf_io(&e->io, i), *const io = &at;
    const int64_t first = (int64_t)i * io->num_agents, horizon = e->options.horizon;
    for (int a = 0; a < io->num_agents; a++) {
        const int64_t agent = first + a;
        if (e->options.mode != PUF_ROWS) {
            io->slot[a] = agent;
            io->row_end[a] = io->alive[a] ? INT64_MAX : -1;
            if (!io->alive[a]) memset(io->obs + agent * e->obs_stride, 0, (size_t)e->obs_stride);
            continue;
        }
        e->arrays.bootstrap_slot[agent] = -1;
        e->arrays.life_start[agent] = io->alive[a];
        if (!io->alive[a]) {
            io->slot[a] = puf_sink(e, i);
            io->row_end[a] = -1;
            continue;
        }
        const int64_t row = puf_rows_take_free(&e->rows, (int32_t)agent);
        memset(e->arrays.pool_segment_start + row * horizon, 0, (size_t)horizon);
        e->arrays.pool_segment_start[row * horizon] = 1;
        io->slot[a] = row * horizon, io->row_end[a] = (row + 1) * horizon;
        e->num_live += 1;
    }
    memset(io->rewards, 0, (size_t)io->num_agents * sizeof(float));
    memset(io->dones, 0, (size_t)io->num_agents);
    io->note->idle = io->note->over = io->note->event = io->note->record = 0;
    if (e->options.mode != PUF_ROWS) e->arrays.needs_reset[i] = 0;
}

// Clears the reports of the last step about envs [begin, end).
static void clear_step(PufEngine *e, int32_t begin, int32_t end) {
    const size_t first = (size_t)begin * (size_t)e->env_agents;
    const size_t count = (size_t)(end - begin) * (size_t)e->env_agents;
    if (e->options.mode == PUF_ROWS) {
        memset(e->arrays.life_start + first, 0, count);
    } else {
        memset(e->arrays.termination + first, 0, count);
        memset(e->arrays.truncation + first, 0, count);
        memset(e->arrays.has_final + first, 0, count);
    }
    memset(e->arrays.has_final_log + begin, 0, (size_t)(end - begin));
    e->any_final = e->any_log = 0;
}

int puf_engine_reset(PufEngine *e, const uint64_t *seeds, const uint8_t *which, const char **why) {
    size_t count = 0;
    if (seeds) {
        int status = make_envs(e, seeds, which, why);
        if (status != PUF_OK) return status;
    }
    for (int32_t i = 0; i < e->options.num_envs; i++)
        if (!which || which[i]) e->events[count++] = (uint32_t)i;
    if (e->options.mode == PUF_ROWS) puf_rows_clear(&e->rows);
    clear_step(e, 0, e->options.num_envs);
    if (!which) e->steps = 0;
    e->num_final = e->num_live = 0;
    e->starved = 0;
    puf_parallel_for(e->threads, reset_range, e, count, RESET_GRAIN);
    for (size_t k = 0; k < count; k++) place_agents(e, e->events[k]);
    puf_parallel_for(e->threads, puf_observe_events, e, count, RESET_GRAIN);
    return PUF_OK;
}

// --- step -------------------------------------------------------------------------------
typedef struct StepJob {
    PufEngine *engine;
    size_t begin, end, chunk;
    size_t *counts; // events of each chunk
} StepJob;

static void step_chunk(void *job, size_t chunk) {
    const StepJob *j = job;
    PufEngine *e = j->engine;
    const size_t begin = j->begin + chunk * j->chunk;
    const size_t end = begin + j->chunk < j->end ? begin + j->chunk : j->end;
    const int rows = e->options.mode == PUF_ROWS;
    j->counts[chunk] = e->spec->step(e->envs, &e->io, rows ? &e->columns : NULL, begin, end, rows,
                                     e->events + (begin - j->begin));
}

// Steps envs [begin, end) and collects their events, ascending. -> how many.
static size_t step_games(PufEngine *e, size_t begin, size_t end) {
    const size_t envs = end - begin, threads = (size_t)puf_thread_pool_count(e->threads);
    size_t num_chunks = threads == 1 ? 1 : threads * CHUNKS_PER_THREAD;
    if (num_chunks > MAX_CHUNKS) num_chunks = MAX_CHUNKS;
    if (num_chunks > envs) num_chunks = envs;
    size_t counts[MAX_CHUNKS];
    const size_t chunk = (envs + num_chunks - 1) / num_chunks;
    num_chunks = (envs + chunk - 1) / chunk;
    StepJob job = {.engine = e, .begin = begin, .end = end, .chunk = chunk, .counts = counts};
    puf_thread_pool_run(e->threads, step_chunk, &job, num_chunks);
    // Every chunk wrote its events at its own offset; close the gaps between them.
    size_t count = counts[0];
    for (size_t c = 1; c < num_chunks; c++) {
        memmove(e->events + count, e->events + c * chunk, counts[c] * sizeof(uint32_t));
        count += counts[c];
    }
    return count;
}

PufStepStatus puf_engine_step(PufEngine *e, int32_t begin, int32_t end) {
    if (e->options.mode == PUF_ROWS) {
        const int64_t agents = (int64_t)(end - begin) * e->env_agents;
        if (e->options.num_finals - e->num_final < agents) return PUF_STEP_FINALS;
        if (e->rows.num_free < agents) return PUF_STEP_FULL;
    }
    clear_step(e, begin, end);
    if (begin == 0) e->steps += 1; // envs may step in several groups: the first one counts
    puf_handle_events(e, step_games(e, (size_t)begin, (size_t)end));
    const PufStepStatus status = puf_engine_check_faults(e, begin, end);
    if (status != PUF_STEP_OK || e->options.mode != PUF_ROWS) return status;
    if (begin == 0) e->starved = e->num_live ? 0 : e->starved + 1;
    return e->starved > e->options.horizon ? PUF_STEP_EMPTY : PUF_STEP_OK;
}

// --- agents -----------------------------------------------------------------------------
int64_t puf_engine_uniform_first_slot(const PufEngine *e, int32_t begin, int32_t end) {
    const int64_t first = (int64_t)begin * e->env_agents, last = (int64_t)end * e->env_agents;
    const int64_t base = e->arrays.slot[first] - first * e->options.horizon;
    for (int64_t a = first; a < last; a++)
        if (!e->arrays.alive[a] || e->arrays.slot[a] != base + a * e->options.horizon) return -1;
    return e->arrays.slot[first];
}

int32_t puf_engine_live_agents(PufEngine *e, int32_t begin, int32_t end) {
    int32_t count = 0;
    for (int32_t a = begin * e->env_agents; a < end * e->env_agents; a++)
        if (e->arrays.alive[a]) e->live[count++] = a;
    return count;
}
