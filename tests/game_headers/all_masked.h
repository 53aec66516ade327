// all_masked - masks every choice of agent 1's second head, after `after` steps.
#define PUF_NAME "all_masked"
#define PUF_DOC "Leaves nothing to choose."
#define PUF_AGENTS(c) 2
#define PUF_OBS(c) float, 2 // tick, agent
#define PUF_ACTIONS(X) X(move, 3, "nothing") X(steer, 2, "nothing")
#define PUF_CONFIG(X) X(int32_t, after, 3, 0, 1000, "steps without a fault")
#define PUF_LOG(X)
#define PUF_MASK
#include "pufferenv/env.h"

struct Env {
    Log log;
    int32_t after, tick;
};

static int env_init(Env *env, const Config *config, uint64_t seed, const char **why) {
    (void)seed, (void)why;
    *env = (Env){.after = config->after};
    return PUF_OK;
}

static void env_reset(Env *env, PufIO *io) {
    (void)io;
    env->tick = 0;
}

static void env_observe(const Env *env, PufIO *io) {
    for (int a = 0; a < io->num_agents; a++) {
        puf_obs(io, a)[0] = (float)env->tick, puf_obs(io, a)[1] = (float)a;
        puf_mask(io, a)[1] = 0; // two of three stay legal
    }
    if (env->tick >= env->after) memset(puf_mask(io, 1) + 3, 0, 2);
}

static void env_step(Env *env, PufIO *io) {
    (void)io;
    env->tick += 1;
}

static void env_close(Env *env) { (void)env; }
