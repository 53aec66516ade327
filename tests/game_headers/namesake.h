// namesake - its config fields have the names of arguments of RowEnv and make.
#define PUF_NAME "namesake"
#define PUF_DOC "Ends after `horizon` steps and logs `seed`."
#define PUF_AGENTS(c) 1
#define PUF_OBS(c) float, 1 // tick
#define PUF_ACTIONS(X) X(move, 2, "nothing")
#define PUF_CONFIG(X) \
    X(int32_t, horizon, 3, 1, 100, "steps of an episode") \
    X(int32_t, seed, 0, 0, 100, "logged as it is") \
    X(int32_t, num_envs, 1, 1, 100, "nothing") \
    X(int32_t, game, 1, 1, 100, "nothing") \
    X(int32_t, config, 1, 1, 100, "nothing")
#define PUF_LOG(X) X(length, "steps of the episode") X(seed, "the config's")
#include "pufferenv/env.h"

struct Env {
    Log log;
    int32_t horizon, seed, tick;
};

static int env_init(Env *env, const Config *config, uint64_t seed, const char **why) {
    (void)seed, (void)why;
    *env = (Env){.horizon = config->horizon, .seed = config->seed};
    return PUF_OK;
}

static void env_reset(Env *env, PufIO *io) {
    (void)io;
    env->tick = 0;
}

static void env_observe(const Env *env, PufIO *io) { puf_obs(io, 0)[0] = (float)env->tick; }

static void env_step(Env *env, PufIO *io) {
    env->tick += 1;
    if (env->tick < env->horizon) return;
    env->log.length = (float)env->tick;
    env->log.seed = (float)env->seed;
    puf_end(io, PUF_TERMINAL);
}

static void env_close(Env *env) { (void)env; }
