// double_kill - kills agent 1 again in the step after its death.
#define PUF_NAME "double_kill"
#define PUF_DOC "Kills the dead."
#define PUF_AGENTS(c) 2
#define PUF_OBS(c) float, 3 // tick, agent, 0
#define PUF_ACTIONS(X) X(wait, 2, "nothing either way")
#define PUF_CONFIG(X) X(int32_t, after, 3, 1, 1000, "steps without a fault")
#define PUF_LOG(X)
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
        if (!io->alive[a]) continue;
        obs_t *obs = puf_obs(io, a);
        obs[0] = (float)env->tick, obs[1] = (float)a, obs[2] = 0;
    }
}

static void env_step(Env *env, PufIO *io) {
    env->tick += 1;
    if (env->tick >= env->after) puf_die(io, 1);
}

static void env_close(Env *env) { (void)env; }
