// loaded - its envs share one table, made once per vector env by env_load and freed by env_unload.
#define PUF_NAME "loaded"
#define PUF_DOC "Shows the squares of the step, from a table that all envs share."
#define PUF_AGENTS(c) 1
#define PUF_OBS(c) int32_t, 1
#define PUF_ACTIONS(X) X(move, 2, "nothing, nothing")
#define PUF_CONFIG(X) X(int32_t, length, 8, 1, 64, "steps of an episode; 13 cannot be loaded")
#define PUF_LOG(X)
#define PUF_LOAD
#define PUF_VIEW(c) 10, 10
#include <stdlib.h>

#include "pufferenv/env.h"

struct Env {
    Log log;
    int32_t length, tick;
};

static int env_load(const Config *config, void **shared, const char **why) {
    if (config->length == 13) {
        *why = "13 brings bad luck";
        return PUF_ERR_CONFIG;
    }
    int32_t *squares = malloc((size_t)(config->length + 1) * sizeof(int32_t));
    if (!squares) return PUF_ERR_MEMORY;
    for (int32_t i = 0; i <= config->length; i++) squares[i] = i * i;
    *shared = squares;
    return PUF_OK;
}
static void env_unload(void *shared) { free(shared); }

static int env_init(Env *env, const Config *config, uint64_t seed, const char **why) {
    (void)seed, (void)why;
    *env = (Env){.length = config->length};
    return PUF_OK;
}
static void env_reset(Env *env, PufIO *io) {
    (void)io;
    env->tick = 0;
}
static void env_observe(const Env *env, PufIO *io) {
    puf_obs(io, 0)[0] = ((const int32_t *)io->shared)[env->tick];
}
static void env_step(Env *env, PufIO *io) {
    if (++env->tick == env->length) puf_end(io, PUF_TERMINAL);
}
static void env_close(Env *env) { (void)env; }
static void env_draw(const Env *env, PufCanvas *c) {
    const int32_t *squares = c->shared;
    for (int32_t i = 0; i <= env->tick; i++)
        puf_text(c, 0, (float)i + 1, 1, -1, PUF_WHITE, "%d", squares[i]);
}
