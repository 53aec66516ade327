// pufferenv/engine/engine.c - see engine.h: sizes, life, resets and the parallel part of a step.
#include "pufferenv/engine/engine.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

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

// The macros below spell the words of PUF_ARRAYS: which modes have an array, its rows, its shape.
enum { ALL, FLAT, ROWS };
enum { AGENTS, ENVS, POOL, FINALS, SLOTS };
enum { ONE, HEADS, AXES, CHOICES, LOGS, OBS };

static void describe(const PufEngine *e, PufArrayInfo *info, int modes, int rows, int shape) {
    const int in_rows = e->options.mode == PUF_ROWS;
    const int64_t extra = in_rows ? e->options.num_finals + (int64_t)e->options.num_envs : 0;
    const int64_t length[] = {
        [AGENTS] = e->num_agents,       [ENVS] = e->options.num_envs,
        [POOL] = e->options.num_rows,   [FINALS] = e->options.num_finals,
        [SLOTS] = e->num_slots + extra,
    };
    const int64_t used = e->options.batch_rows + e->num_agents; // lowest rows first, see rows.h
    const int64_t usual[] = {
        [AGENTS] = length[AGENTS],
        [ENVS] = length[ENVS],
        [POOL] = used,
        [FINALS] = 0,
        [SLOTS] = in_rows ? used * e->options.horizon : length[SLOTS],
    };
    const int64_t width[] = {
        [ONE] = 1,
        [HEADS] = e->num_heads,
        [AXES] = e->num_axes,
        [CHOICES] = e->spec->has_mask ? e->num_choices : 0,
        [LOGS] = e->spec->num_log,
        [OBS] = 1,
    };
    info->present = (modes == ALL || (modes == ROWS) == in_rows) &&
                    (width[shape] > 0 || shape == LOGS || shape == HEADS || shape == AXES);
    info->usual = usual[rows] < length[rows] ? usual[rows] : length[rows];
    info->dims[info->ndim++] = length[rows];
    if (rows == POOL) info->dims[info->ndim++] = e->options.horizon;
    if (shape == OBS)
        for (int d = 0; d < e->obs_ndim; d++) info->dims[info->ndim++] = e->obs_dims[d];
    else if (shape != ONE) info->dims[info->ndim++] = width[shape];
}

int puf_engine_arrays(PufEngine *e, PufArrayInfo out[PUF_MAX_ARRAYS],
                      void **member[PUF_MAX_ARRAYS]) {
    int count = 0;
#define PUF_DESCRIBE(name_, T, code_, modes, rows, shape) \
    out[count] = (PufArrayInfo){.name = #name_, .code = code_}; \
    member[count] = (void **)(void *)&e->arrays.name_; \
    describe(e, &out[count++], modes, rows, shape);
    PUF_ARRAYS(PUF_DESCRIBE)
#undef PUF_DESCRIBE
    return count;
}

// --- life -------------------------------------------------------------------------------
static void *aligned(size_t bytes) { // to 64 bytes, and zeroed
    const size_t size = (bytes + 64) / 64 * 64;
    void *memory = aligned_alloc(64, size);
    return memory ? memset(memory, 0, size) : NULL;
}

enum { PATIENCE = 200000 }; // nanoseconds that workers wait for the next step before they sleep

static int allocate(PufEngine *e) {
    const size_t envs = (size_t)e->options.num_envs, agents = (size_t)e->num_agents;
    e->envs = aligned(envs * e->spec->env_size);
    e->notes = aligned(envs * sizeof(PufNote));
    e->dones = aligned(agents);
    e->final_slots = malloc(agents * sizeof(int64_t)); // these four: as much as is used is touched
    e->events = malloc(envs * sizeof(uint32_t));
    e->final_at = malloc((envs + 1) * sizeof(int32_t));
    e->live = malloc(agents * sizeof(int32_t));
    e->stats = aligned(e->spec->num_log * sizeof(PufStat));
    e->threads = puf_threads_new(e->options.num_threads, PATIENCE);
    if (!e->envs || !e->notes || !e->dones || !e->final_slots || !e->events || !e->final_at ||
        !e->live || !e->stats || !e->threads)
        return PUF_ERR_MEMORY;
    if (e->options.mode == PUF_ROWS &&
        puf_rows_init(&e->rows, e->options.num_rows, e->options.horizon))
        return PUF_ERR_MEMORY;
    return PUF_OK;
}

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
    e->columns = (PufColumns){.reward = e->arrays.pool_reward, .done = e->arrays.pool_done};
}

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
    puf_threads_free(e->threads, forked);
    puf_rows_close(&e->rows);
    free(e->envs), free(e->notes), free(e->dones), free(e->final_slots), free(e->events);
    free(e->final_at), free(e->live), free(e->stats), free(e->config);
    *e = (PufEngine){0};
}

// --- work in blocks ---------------------------------------------------------------------
typedef struct Blocks {
    PufEngine *engine;
    PufItems run;
    size_t count, block;
} Blocks;

static void run_block(void *job, size_t chunk) {
    const Blocks *b = job;
    const size_t begin = chunk * b->block, end = begin + b->block;
    b->run(b->engine, begin, end < b->count ? end : b->count);
}

void puf_blocks(PufEngine *e, PufItems run, size_t count, size_t block) {
    Blocks job = {.engine = e, .run = run, .count = count, .block = block};
    if (count < 2 * block || puf_threads_count(e->threads) == 1) run(e, 0, count);
    else puf_threads_run(e->threads, run_block, &job, (count + block - 1) / block);
}

// --- resets -----------------------------------------------------------------------------
static void reset_block(PufEngine *e, size_t begin, size_t end) {
    for (size_t k = begin; k < end; k++) // what an episode broken off amounted to is nobody's
        memset(e->envs + e->events[k] * (size_t)e->spec->env_size, 0, e->spec->log_size);
    e->spec->reset(e->envs, &e->io, e->events + begin, end - begin);
}
void puf_observe_events(PufEngine *e, size_t begin, size_t end) {
    e->spec->observe(e->envs, &e->io, e->events + begin, end - begin);
}

// Before a first observation: what an agent of a plain vector env, or of rows, starts with.
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
            io->slot[a] = e->num_slots + e->options.num_finals + i;
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
    puf_blocks(e, reset_block, count, 64);
    for (size_t k = 0; k < count; k++) place_agents(e, e->events[k]);
    puf_blocks(e, puf_observe_events, count, 64);
    return PUF_OK;
}

// --- step -------------------------------------------------------------------------------
typedef struct StepJob {
    PufEngine *engine;
    size_t begin, end, chunk;
    size_t *counts; // events of each chunk
} StepJob;

enum { MAX_CHUNKS = 256 };

static void step_chunk(void *job, size_t chunk) {
    const StepJob *j = job;
    PufEngine *e = j->engine;
    const size_t begin = j->begin + chunk * j->chunk;
    const size_t end = begin + j->chunk < j->end ? begin + j->chunk : j->end;
    const int rows = e->options.mode == PUF_ROWS;
    j->counts[chunk] = e->spec->step(e->envs, &e->io, rows ? &e->columns : NULL, begin, end, rows,
                                     e->events + (begin - j->begin));
}

// Chunks are small enough that a slow core delays nobody for long.
static size_t step_games(PufEngine *e, size_t begin, size_t end) {
    const size_t envs = end - begin, threads = (size_t)puf_threads_count(e->threads);
    size_t num_chunks = threads == 1 ? 1 : threads * 32;
    if (num_chunks > MAX_CHUNKS) num_chunks = MAX_CHUNKS;
    if (num_chunks > envs) num_chunks = envs;
    size_t counts[MAX_CHUNKS];
    const size_t chunk = (envs + num_chunks - 1) / num_chunks;
    num_chunks = (envs + chunk - 1) / chunk;
    StepJob job = {.engine = e, .begin = begin, .end = end, .chunk = chunk, .counts = counts};
    puf_threads_run(e->threads, step_chunk, &job, num_chunks);
    size_t count = counts[0];
    for (size_t c = 1; c < num_chunks; c++) {
        memmove(e->events + count, e->events + c * chunk, counts[c] * sizeof(uint32_t));
        count += counts[c];
    }
    return count;
}

// The first discrete head of which no choice is legal for this agent, or NULL.
static const char *masked_head(const PufEngine *e, const PufIO *io, int a) {
    const uint8_t *mask = io->mask + (size_t)io->slot[a] * io->mask_stride;
    for (int k = 0; k < e->num_heads; mask += e->heads[k++].n)
        if (!memchr(mask, 1, (size_t)e->heads[k].n)) return e->heads[k].name;
    return NULL;
}

static int find_masked_head(PufEngine *e, int32_t begin, int32_t end) {
    for (int32_t i = begin; i < end; i++)
        for (int a = 0; a < e->env_agents; a++) {
            const PufIO io = puf_io(&e->io, (size_t)i);
            const char *head = io.alive[a] ? masked_head(e, &io, a) : NULL;
            if (!head) continue;
            e->fault = (PufFault){.text = "masks every choice of",
                                  .head = head,
                                  .env = i,
                                  .agent = a,
                                  .step = e->steps};
            return 1;
        }
    return 0;
}

PufStepStatus puf_engine_look(PufEngine *e, int32_t begin, int32_t end) {
    if (e->spec->debug)
        for (int32_t i = begin; i < end; i++) {
            PufNote *note = e->notes + i;
            if (!note->fault) continue;
            e->fault = (PufFault){
                .text = note->fault, .env = i, .agent = note->fault_agent, .step = e->steps};
            note->fault = NULL;
            return PUF_STEP_FAULT;
        }
    if (e->spec->debug && e->spec->has_mask && find_masked_head(e, begin, end))
        return PUF_STEP_FAULT;
    if (e->options.check) {
        const char *text = puf_engine_check(e);
        if (text) {
            e->fault = (PufFault){.text = text, .env = -1, .agent = -1, .step = e->steps};
            return PUF_STEP_INVARIANT;
        }
    }
    return PUF_STEP_OK;
}

PufStepStatus puf_engine_step(PufEngine *e, int32_t begin, int32_t end) {
    if (e->options.mode == PUF_ROWS) {
        const int64_t agents = (int64_t)(end - begin) * e->env_agents;
        if (e->options.num_finals - e->num_final < agents) return PUF_STEP_FINALS;
        if (e->rows.num_free < agents) return PUF_STEP_FULL;
    }
    clear_step(e, begin, end);
    if (begin == 0) e->steps += 1;
    puf_finish(e, step_games(e, (size_t)begin, (size_t)end));
    const PufStepStatus status = puf_engine_look(e, begin, end);
    if (status != PUF_STEP_OK || e->options.mode != PUF_ROWS) return status;
    if (begin == 0) e->starved = e->num_live ? 0 : e->starved + 1;
    return e->starved > e->options.horizon ? PUF_STEP_EMPTY : PUF_STEP_OK;
}

// --- actions from outside -----------------------------------------------------------------
int64_t puf_engine_act(PufEngine *e, const void *actions, int item_bytes) {
    const int64_t count = e->num_agents * e->num_heads;
    const int32_t *narrow = actions;
    const int64_t *wide = actions;
    uint64_t bad = 0;
    for (int k = 0; k < e->num_heads; k++) {
        const uint32_t n = (uint32_t)e->heads[k].n;
        if (item_bytes == 4)
            for (int64_t i = k; i < count; i += e->num_heads) bad |= (uint32_t)narrow[i] >= n;
        else
            for (int64_t i = k; i < count; i += e->num_heads) bad |= (uint64_t)wide[i] >= n;
    }
    if (bad)
        for (int64_t i = 0; i < count; i++) {
            const int64_t action = item_bytes == 4 ? narrow[i] : wide[i];
            if (action < 0 || action >= e->heads[i % e->num_heads].n) return i;
        }
    if (item_bytes == 4) memcpy(e->arrays.action, narrow, (size_t)count * sizeof(int32_t));
    else
        for (int64_t i = 0; i < count; i++) e->arrays.action[i] = (int32_t)wide[i];
    return -1;
}

int64_t puf_engine_steer(PufEngine *e, const void *axes, int item_bytes) {
    const int64_t count = e->num_agents * e->num_axes;
    for (int64_t i = 0; i < count; i++) {
        const double given = item_bytes == 4 ? ((const float *)axes)[i] : ((const double *)axes)[i];
        if (isnan(given)) return i;
    }
    for (int64_t i = 0; i < count; i++) {
        const PufAxis *axis = &e->axes[i % e->num_axes];
        const double given = item_bytes == 4 ? ((const float *)axes)[i] : ((const double *)axes)[i];
        e->arrays.axis[i] = given < axis->low    ? axis->low
                            : given > axis->high ? axis->high
                                                 : (float)given;
    }
    return -1;
}

// --- what an episode amounted to ----------------------------------------------------------
void puf_take_log(PufEngine *e, uint32_t i) {
    void *log = e->envs + (size_t)i * e->spec->env_size; // its first member
    memcpy(e->arrays.final_log + (size_t)i * e->spec->num_log, log,
           e->spec->num_log * sizeof(double));
    memset(log, 0, e->spec->log_size);
    e->arrays.has_final_log[i] = 1;
}

void puf_count_log(PufEngine *e, uint32_t i) {
    const double *log = e->arrays.final_log + (size_t)i * e->spec->num_log;
    e->any_log = 1;
    e->num_logs += 1;
    for (uint32_t f = 0; f < e->spec->num_log; f++) {
        PufStat *s = &e->stats[f];
        if (e->num_logs == 1) *s = (PufStat){.min = log[f], .max = log[f]};
        const double delta = log[f] - s->mean;
        s->mean += delta / e->num_logs;
        s->m2 += delta * (log[f] - s->mean);
        s->min = log[f] < s->min ? log[f] : s->min;
        s->max = log[f] > s->max ? log[f] : s->max;
    }
}

// --- who is where ---------------------------------------------------------------------------
int64_t puf_engine_lattice(const PufEngine *e, int32_t begin, int32_t end) {
    const int64_t first = (int64_t)begin * e->env_agents, last = (int64_t)end * e->env_agents;
    const int64_t base = e->arrays.slot[first] - first * e->options.horizon;
    for (int64_t a = first; a < last; a++)
        if (!e->arrays.alive[a] || e->arrays.slot[a] != base + a * e->options.horizon) return -1;
    return e->arrays.slot[first];
}

int32_t puf_engine_live(PufEngine *e, int32_t begin, int32_t end) {
    int32_t count = 0;
    for (int32_t a = begin * e->env_agents; a < end * e->env_agents; a++)
        if (e->arrays.alive[a]) e->live[count++] = a;
    return count;
}

const char *puf_engine_check(const PufEngine *e) {
    if (e->options.mode != PUF_ROWS) return NULL;
    const char *text = puf_rows_check(&e->rows);
    if (text) return text;
    const int64_t horizon = e->options.horizon;
    int32_t live = 0;
    for (int64_t a = 0; a < e->num_agents; a++) {
        const int64_t slot = e->arrays.slot[a], row_end = e->arrays.row_end[a];
        const int64_t sink = e->num_slots + e->options.num_finals + a / e->env_agents;
        if (!e->arrays.alive[a]) {
            if (slot != sink || row_end != -1) return "a dead agent has a row";
            if (e->arrays.bootstrap_slot[a] >= 0) return "a dead agent waits for a value";
            continue;
        }
        live += 1;
        if (row_end <= 0 || row_end > e->num_slots || row_end % horizon ||
            slot < row_end - horizon || slot >= row_end)
            return "a live agent's slot is not in its row";
        if (e->rows.owner[row_end / horizon - 1] != a) return "a live agent does not own its row";
    }
    if (live != e->num_live) return "num_live is not the number of live agents";
    if (live != e->rows.num_open) return "there are not as many open rows as live agents";
    if (e->rows.num_open + e->rows.abandoned.count > e->num_agents)
        return "there are more open and abandoned rows than agents";
    return NULL;
}
