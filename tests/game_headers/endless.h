// endless - its episode never ends; puf_record makes the engine read the log every `period` steps.
#define PUF_NAME "endless"
#define PUF_DOC "Counts for ever and records now and then."
#define PUF_AGENTS(c) 1
#define PUF_OBS(c) float, 1 // the tick
#define PUF_ACTIONS(X) X(add, 2, "is the reward")
#define PUF_CONFIG(X) X(int32_t, period, 8, 1, 1000, "steps between two records")
#define PUF_LOG(X) X(score, "sum of rewards since the last record") X(length, "steps since then")
#include "pufferenv/env.h"

struct Env {
    Log log;
    int32_t period, tick;
};

static int env_init(Env *env, const Config *config, uint64_t seed, const char **why) {
    (void)seed, (void)why;
    *env = (Env){.period = config->period};
    return PUF_OK;
}

static void env_reset(Env *env, PufIO *io) {
    (void)io;
    env->tick = 0;
}

static void env_observe(const Env *env, PufIO *io) { puf_obs(io, 0)[0] = (float)env->tick; }

static void env_step(Env *env, PufIO *io) {
    puf_reward(io, 0, (float)puf_action(io, 0)[0]);
    env->tick += 1;
    env->log.score += puf_action(io, 0)[0];
    env->log.length += 1;
    if (env->tick % env->period == 0) puf_record(io);
}

static void env_close(Env *env) { (void)env; }
