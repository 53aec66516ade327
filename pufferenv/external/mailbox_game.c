// pufferenv/external/mailbox_game.c - see mailbox_game.h. The loops are those of contract/game.c.
#include "pufferenv/external/mailbox_game.h"

#include <string.h>

typedef struct Log {
    double score, length;
} Log;

typedef struct Env {
    Log log; // always first
    Log now; // of the current episode
} Env;

static const PufField LOG[] = {
    {.name = "score", .doc = "sum of all agents' rewards", .offset = offsetof(Log, score)},
    {.name = "length", .doc = "steps", .offset = offsetof(Log, length)},
};

// --- shapes ------------------------------------------------
static int obs_shape(const void *config, int32_t dims[PUF_MAX_DIMS]) {
    const PufMailboxConfig *c = config;
    memcpy(dims, c->obs_dims, sizeof(c->obs_dims));
    return c->obs_ndim;
}
static int heads(const void *config, PufHead out[PUF_MAX_HEADS]) {
    const PufMailboxConfig *c = config;
    memcpy(out, c->heads, sizeof(c->heads));
    return c->num_heads;
}
static int axes(const void *config, PufAxis out[PUF_MAX_AXES]) {
    const PufMailboxConfig *c = config;
    memcpy(out, c->axes, sizeof(c->axes));
    return c->num_axes;
}
static int num_agents(const void *config) { return ((const PufMailboxConfig *)config)->num_agents; }

// The engine keeps its copy of the config for as long as the envs exist.
static int load(const void *config, void **shared, const char **why) {
    const PufMailboxConfig *c = config;
    if (!c->mailbox.obs) {
        *why = "its config has no mailbox: open it with ExternalGame.open";
        return PUF_ERR_CONFIG;
    }
    *shared = (void *)(uintptr_t)&c->mailbox;
    return PUF_OK;
}
static void unload(void *shared) { (void)shared; }
static int init_one(void *env, const void *config, uint64_t seed, const char **why) {
    (void)env, (void)config, (void)seed, (void)why; // env is zeroed; the runner seeds its own env
    return PUF_OK;
}
static void close_one(void *env) { (void)env; }

// --- one env ------------------------------------------------
static void observe_one(PufIO *io, size_t i) {
    const PufMailbox *mailbox = io->shared;
    for (int a = 0; a < io->num_agents; a++) {
        const size_t agent = i * (size_t)io->num_agents + (size_t)a;
        // The engine asks for the final observation of an ended life or episode, else for the current one.
        const int ended = io->note->over || io->dones[a] == PUF_TRUNCATED;
        if (io->mask && io->alive[a]) {
            uint8_t *mask = io->mask + (size_t)io->slot[a] * io->mask_stride;
            if (ended) memset(mask, 1, io->mask_stride); // no agent acts on a final observation
            else memcpy(mask, mailbox->action_mask + agent * io->mask_stride, io->mask_stride);
        }
        if (!io->alive[a] || (!ended && mailbox->written_slot[agent] == io->slot[a])) continue;
        memcpy(io->obs + (size_t)io->slot[a] * io->obs_stride,
               (ended ? mailbox->final_obs : mailbox->obs) + agent * io->obs_stride,
               io->obs_stride);
    }
}

static void step_one(Env *env, PufIO *io, size_t i) {
    const PufMailbox *mailbox = io->shared;
    PufNote *note = io->note;
    int lived = 0;
    note->over = mailbox->episode_done[i], note->event = note->over != 0;
    for (int a = 0; a < io->num_agents; a++) {
        const size_t agent = i * (size_t)io->num_agents + (size_t)a;
        const int acted = io->row_end[a] >= 0;
        io->rewards[a] = acted ? mailbox->reward[agent] : 0;
        if (acted) {
            lived = 1;
            env->now.score += (double)mailbox->reward[agent];
            io->dones[a] = mailbox->done[agent];
            note->event |= io->dones[a] != PUF_LIVE;
            if (io->dones[a] == PUF_TERMINAL) io->alive[a] = 0;
        }
        if (!note->over && !io->alive[a] && mailbox->alive[agent]) io->alive[a] = note->event = 1;
    }
    env->now.length += lived;
    if (!note->over) return;
    env->log = env->now;
    env->now = (Log){0};
}

// --- loops over envs, see spec.h ------------------------------------------------
static size_t step_range(void *envs, const PufIO *first, const PufColumns *columns, size_t begin,
                         size_t end, int64_t advance, uint32_t *events) {
    size_t count = 0;
    PufIO at = puf_io(first, begin), *const io = &at;
    for (size_t i = begin; i < end; i++, puf_move(io, 1)) {
        if (io->note->idle) {
            events[count++] = (uint32_t)i;
            continue;
        }
        step_one((Env *)envs + i, io, i);
        uint8_t event = io->note->event;
        for (int a = 0; a < io->num_agents; a++) {
            if (io->row_end[a] < 0) continue;
            io->slot[a] += advance;
            event |= io->slot[a] == io->row_end[a];
        }
        if (event) {
            events[count++] = (uint32_t)i;
            continue;
        }
        for (int a = 0; columns && a < io->num_agents; a++) {
            if (io->row_end[a] < 0) continue;
            columns->pool_reward[io->slot[a] - advance] = io->rewards[a];
            columns->pool_done[io->slot[a] - advance] = PUF_LIVE;
        }
        observe_one(io, i);
    }
    return count;
}
static void reset_some(void *envs, const PufIO *first, const uint32_t *which, size_t count) {
    for (size_t k = 0; k < count; k++) {
        PufIO at = puf_io(first, which[k]), *const io = &at;
        const PufMailbox *mailbox = io->shared;
        memcpy(io->alive, mailbox->alive + (size_t)which[k] * (size_t)io->num_agents,
               (size_t)io->num_agents);
        ((Env *)envs)[which[k]].now = (Log){0};
    }
}
static void observe_some(void *envs, const PufIO *first, const uint32_t *which, size_t count) {
    (void)envs;
    for (size_t k = 0; k < count; k++) {
        PufIO io = puf_io(first, which[k]);
        observe_one(&io, which[k]);
    }
}

void puf_mailbox_spec(PufSpec *spec, const char *name, const char *doc, PufDtype obs_dtype,
                      int has_mask) {
    *spec = (PufSpec){
        .abi = PUF_ABI,
        .env_size = sizeof(Env),
        .config_size = sizeof(PufMailboxConfig),
        .log_size = sizeof(Log),
        .name = name,
        .doc = doc,
        .log = LOG,
        .num_log = sizeof(LOG) / sizeof(LOG[0]),
        .obs_dtype = obs_dtype,
        .has_mask = has_mask != 0,
        .debug = 1,
        .faults = 1, // runners check what envs return in every build
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
}
