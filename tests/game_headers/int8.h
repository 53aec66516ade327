// int8 - an int8 observation of three dimensions; the number of agents is a config field.
#define PUF_NAME "int8"
#define PUF_DOC "Counts below zero: int8, three dimensions, several agents."
#define PUF_AGENTS(c) c->agents
#define PUF_OBS(c) int8_t, 2, 3, c->side // entry k is (agent + tick - k) % 101, as in C
#define PUF_ACTIONS(X) X(echo, 4, "is the reward")
#define PUF_CONFIG(X) \
    X(int32_t, agents, 2, 1, 16, "agents") X(int32_t, side, 4, 1, 64, "last dimension")
#define PUF_LOG(X) X(length, "steps")
#include "pufferenv/env.h"

struct Env {
    Log log;
    int32_t agents, entries, tick;
};

static int env_init(Env *env, const Config *config, uint64_t seed, const char **why) {
    (void)seed, (void)why;
    *env = (Env){.agents = config->agents, .entries = 6 * config->side};
    return PUF_OK;
}

static void env_reset(Env *env, PufIO *io) {
    (void)io;
    env->tick = 0;
}

static void env_observe(const Env *env, PufIO *io) {
    for (int a = 0; a < env->agents; a++)
        for (int k = 0; k < env->entries; k++)
            puf_obs(io, a)[k] = (obs_t)((a + env->tick - k) % 101);
}

static void env_step(Env *env, PufIO *io) {
    for (int a = 0; a < env->agents; a++) puf_reward(io, a, (float)puf_action(io, a)[0]);
    if (++env->tick < 10) return;
    env->log.length = env->tick;
    puf_end(io, PUF_TERMINAL);
}

static void env_close(Env *env) { (void)env; }
