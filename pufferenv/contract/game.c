// pufferenv/contract/game.c - turns one game header into one spec. Compiled once per game:
//     GAME='-DPUF_GAME="ocean/squared.h"'
//     cc -O3 -I. -shared -fPIC "$GAME" -o squared.so pufferenv/contract/game.c
// -DPUF_DRAWING_OBJECT makes the game's drawing object instead, see drawing.h.
// The loops over envs are here, in the game's own translation unit, so that env_step is inlined.
// The object exports one symbol, `puf_spec`; another name with -DPUF_SYMBOL=name.
#include PUF_GAME

#ifndef PUF_ENV_H
#error "the game lacks #include \"pufferenv/env.h\", which goes right below its PUF_ macros"
#endif
#include "pufferenv/contract/cpu.h"

#ifndef PUF_SYMBOL
#define PUF_SYMBOL puf_spec
#endif
#ifndef PUF_SOURCE
#define PUF_SOURCE ""
#endif

_Static_assert(offsetof(Env, log) == 0, "struct Env must start with `Log log;`");

#ifdef PUF_DRAWING_OBJECT
#include "pufferenv/contract/drawing_object.h" // from here on Env and env_ are the pixel game's
#else
typedef Config WholeConfig;
#define PUF_MORE_FIELDS
#endif
#define DTYPE_(x) _Generic((x), uint8_t: PUF_U8, int8_t: PUF_I8, int32_t: PUF_I32, float: PUF_F32)

// Both tables end in an empty row, so that a game may have no config or no log.
#define FIELD_ROW_(T, name_, offset_, init_, min_, max_, doc_) \
    {.name = name_, \
     .doc = doc_, \
     .dtype = DTYPE_((T)0), \
     .offset = offset_, \
     .init = init_, \
     .min = min_, \
     .max = max_},
#define FIELD_(T, f, init_, min_, max_, doc_) \
    FIELD_ROW_(T, #f, offsetof(Config, f), init_, min_, max_, doc_)
static const PufField CONFIG[] = {PUF_CONFIG(FIELD_) PUF_MORE_FIELDS{.name = NULL}};
#undef FIELD_
#define FIELD_(f, doc_) {.name = #f, .doc = doc_, .offset = offsetof(Log, f)}, // double
static const PufField LOG[] = {PUF_LOG(FIELD_){.name = NULL}};
#undef FIELD_

static int obs_shape(const void *config, int32_t dims[PUF_MAX_DIMS]) {
    const Config *c = config;
    (void)c;
    const int32_t shape[] = {PUF_REST(PUF_OBS(c))};
    enum { NDIM = sizeof(shape) / sizeof(shape[0]) };
    _Static_assert(NDIM <= PUF_MAX_DIMS, "PUF_OBS has too many dimensions");
    for (int i = 0; i < NDIM; i++) dims[i] = shape[i];
    return NDIM;
}
static int heads(const void *config, PufHead out[PUF_MAX_HEADS]) {
    const Config *c = config;
    (void)c, (void)out;
    int k = 0;
#define HEAD_(name_, n_, doc_) out[k++] = (PufHead){.name = #name_, .doc = doc_, .n = n_};
    PUF_ACTIONS(HEAD_)
#undef HEAD_
    return k;
}
static int axes(const void *config, PufAxis out[PUF_MAX_AXES]) {
    const Config *c = config;
    (void)c, (void)out;
    int k = 0;
#define AXIS_(name_, low_, high_, doc_) \
    out[k++] = (PufAxis){.name = #name_, .doc = doc_, .low = low_, .high = high_};
    PUF_AXES(AXIS_)
#undef AXIS_
    return k;
}
static int num_agents(const void *config) {
    const Config *c = config;
    (void)c;
    return PUF_AGENTS(c);
}
static int load(const void *config, void **shared, const char **why) {
#ifdef PUF_LOAD
    return env_load(config, shared, why);
#else
    (void)config, (void)shared, (void)why;
    return PUF_OK;
#endif
}
static void unload(void *shared) {
#ifdef PUF_LOAD
    env_unload(shared);
#else
    (void)shared;
#endif
}
static int init_one(void *env, const void *config, uint64_t seed, const char **why) {
    return env_init(env, config, seed, why);
}
static void close_one(void *env) { env_close(env); }

// Where PUF_AGENTS is a constant, the compiler knows the length of every loop.
static inline int agents_of(const PufIO *io) {
    const Config *c = (const void *)io; // never read: __builtin_constant_p does not evaluate
    (void)c;
    return __builtin_constant_p(PUF_AGENTS(c)) ? (int)(PUF_AGENTS(c)) : io->num_agents;
}

#ifdef PUF_DEBUG
#include "pufferenv/contract/debug_checks.h"
#else
static inline void observe_one(const Env *env, PufIO *io) {
#ifdef PUF_MASK
    for (int a = 0, n = agents_of(io); a < n; a++)
        if (io->alive[a]) memset(puf_mask(io, a), 1, io->mask_stride);
#endif
    env_observe(env, io);
}
static inline void check_step(PufIO *io) { (void)io; }
static inline void check_reset(PufIO *io) { (void)io; }
#endif

// Slots that are written in succession are one row apart in memory, so the hardware does not
// prefetch them. step_range prefetches their cache lines some envs ahead, up to PUF_LINES_AHEAD_ at
// a time.
enum {
    PUF_LINE_ = 64,        // bytes of a cache line
    PUF_LINES_AHEAD_ = 12, // lines in flight
    PUF_MOST_LINES_ = 8    // lines of one slot, at most
};
static inline size_t envs_ahead(const PufIO *io) {
    const size_t lines = (size_t)agents_of(io) * (io->obs_stride / PUF_LINE_ + 1);
    return lines < PUF_LINES_AHEAD_ ? PUF_LINES_AHEAD_ / lines : 1;
}
// always_inline, because gcc drops a call to a function that only prefetches.
__attribute__((always_inline)) static inline void fetch_slots(const PufIO *first, size_t env,
                                                              int64_t advance) {
    const size_t most = PUF_MOST_LINES_ * PUF_LINE_;
    const size_t bytes = first->obs_stride < most ? first->obs_stride : most;
    const size_t n = (size_t)agents_of(first);
    for (size_t a = env * n; a < (env + 1) * n; a++) {
        const char *obs = first->obs + (first->slot[a] + advance) * (int64_t)first->obs_stride;
        for (size_t at = 0; at < bytes; at += PUF_LINE_) __builtin_prefetch(obs + at, 1);
        __builtin_prefetch(obs + bytes - 1, 1);
    }
}

static size_t step_range(void *envs, const PufIO *first, const PufColumns *columns, size_t begin,
                         size_t end, int64_t advance, uint32_t *events) {
    float *pool_reward = columns ? columns->pool_reward : NULL; // local: no store changes them
    uint8_t *pool_done = columns ? columns->pool_done : NULL;
    const size_t ahead = envs_ahead(first);
    size_t count = 0;
    PufIO at = puf_io(first, begin), *const io = &at;
    for (size_t i = begin; i < end; i++, puf_move(io, 1)) {
        Env *env = (Env *)envs + i;
        if (i + ahead < end) fetch_slots(first, i + ahead, advance);
        if (io->note->idle) {
            events[count++] = (uint32_t)i;
            continue;
        }
        const int n = agents_of(io);
        for (int a = 0; a < n; a++) io->rewards[a] = 0;
        env_step(env, io);
        check_step(io);
        // The two loops below are also in mailbox_game.c: as inline functions that both files call,
        // gcc 12 makes a step of cartpole 9 % slower.
        uint8_t event = io->note->event;
        for (int a = 0; a < n; a++) {
            if (io->row_end[a] < 0) continue; // no row: dead, or spawned in this step
            io->slot[a] += advance;
            event |= io->slot[a] == io->row_end[a]; // that row is full
        }
        if (event) {
            events[count++] = (uint32_t)i;
            continue;
        }
        if (pool_reward)
            for (int a = 0; a < n; a++) {
                if (io->row_end[a] < 0) continue;
                pool_reward[io->slot[a] - advance] = io->rewards[a];
                pool_done[io->slot[a] - advance] = PUF_LIVE;
            }
        observe_one(env, io);
    }
    return count;
}
static void reset_some(void *envs, const PufIO *first, const uint32_t *which, size_t count) {
    for (size_t k = 0; k < count; k++) {
        PufIO at = puf_io(first, which[k]), *const io = &at;
        memset(io->alive, 1, (size_t)io->num_agents);
        env_reset((Env *)envs + which[k], io);
        check_reset(io);
    }
}
static void observe_some(void *envs, const PufIO *first, const uint32_t *which, size_t count) {
    for (size_t k = 0; k < count; k++) {
        PufIO at = puf_io(first, which[k]), *const io = &at;
        int alive = 0;
        for (int a = 0, n = agents_of(io); a < n; a++) alive |= io->alive[a];
        if (alive) observe_one((Env *)envs + which[k], io);
    }
}

_Static_assert((0 PUF_ACTIONS(PUF_COUNT_HEAD_)) <= PUF_MAX_HEADS, "too many heads");
_Static_assert((0 PUF_AXES(PUF_COUNT_AXIS_)) <= PUF_MAX_AXES, "too many axes");

const PufSpec PUF_SYMBOL = {
    .abi = PUF_ABI,
    .env_size = sizeof(Env),
    .config_size = sizeof(WholeConfig),
    .log_size = sizeof(Log),
    .name = PUF_NAME,
    .doc = PUF_DOC,
    .source = PUF_SOURCE,
    .config = CONFIG,
    .num_config = sizeof(CONFIG) / sizeof(CONFIG[0]) - 1,
    .log = LOG,
    .num_log = sizeof(LOG) / sizeof(LOG[0]) - 1,
    .obs_dtype = DTYPE_((obs_t)0),
    .cpu_needs = PUF_CPU_NEEDS,
#ifdef PUF_MASK
    .has_mask = 1,
#endif
#ifdef PUF_DEBUG
    .debug = 1,
#endif
#if defined(PUF_DEBUG) || defined(PUF_DRAWING_OBJECT)
    .faults = 1,
#endif
#ifdef PUF_VIEW
    .draws = 1,
#endif
    .obs_shape = obs_shape,
    .heads = heads,
    .axes = axes,
    .num_agents = num_agents,
    .load = load,
    .unload = unload,
    .init = init_one,
    .close = close_one,
    .step = step_range,
    .reset = reset_some,
    .observe = observe_some,
};
