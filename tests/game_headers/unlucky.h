// unlucky - refuses seed 13 after it freed its memory, for resets that fail half-way. It adds to
// its log in every step, for episodes that a reset cuts off.
#define PUF_NAME "unlucky"
#define PUF_DOC "Refuses seed 13; counts its steps in its log."
#define PUF_AGENTS(c) 1
#define PUF_OBS(c) float, 1
#define PUF_ACTIONS(X) X(move, 2, "nothing, nothing")
#define PUF_CONFIG(X) X(int32_t, length, 10, 1, 1000, "steps of an episode")
#define PUF_LOG(X) X(steps, "of the episode")
#include <stdlib.h>

#include "pufferenv/env.h"

struct Env {
    Log log;
    int32_t length, tick;
    float *seen; // (1) on the heap: a step on a zeroed Env crashes
};

static int env_init(Env *env, const Config *config, uint64_t seed, const char **why) {
    if (seed == 13) {
        *why = "13 brings bad luck";
        return PUF_ERR_CONFIG;
    }
    *env = (Env){.length = config->length, .seen = calloc(1, sizeof(float))};
    return env->seen ? PUF_OK : PUF_ERR_MEMORY;
}

static void env_reset(Env *env, PufIO *io) {
    (void)io;
    env->tick = 0;
}

static void env_observe(const Env *env, PufIO *io) { puf_obs(io, 0)[0] = *env->seen; }

static void env_step(Env *env, PufIO *io) {
    env->tick += 1;
    env->log.steps += 1;
    *env->seen = (float)env->tick;
    if (env->tick == env->length) puf_end(io, PUF_TERMINAL);
}

static void env_close(Env *env) { free(env->seen); }
