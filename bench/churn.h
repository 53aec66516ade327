// churn - agents that die and respawn at a steady rate; bench/rows.py measures the cost.
//
// An observation is as large as breakout's. Each step draws random numbers for all agents, whatever
// the rates are, so that games with and without deaths differ only in the deaths.
#define PUF_NAME "churn"
#define PUF_DOC "Agents die and respawn at a steady rate."
#define PUF_AGENTS(c) (c)->agents
#define PUF_OBS(c) float, ENTRIES
#define PUF_ACTIONS(X) X(move, 3, "stay, left, right")
#define PUF_CONFIG(X) \
    X(int32_t, agents, 64, 1, 4096, "agents of one env") \
    X(float, die, 0, 0, 1, "chance of a live agent to die in a step") \
    X(int32_t, same_step, 0, 0, 1, \
      "1: an agent that dies respawns in the same step, 0: in the next")
#define PUF_LOG(X)
#include "pufferenv/env.h"

enum { ENTRIES = 118 };

struct Env {
    Log log;
    PufRng rng;
    Config config;
    float place;
};

static int env_init(Env *env, const Config *config, uint64_t seed, const char **why) {
    (void)why; // every combination in range is legal
    *env = (Env){.rng = {seed}, .config = *config};
    return PUF_OK;
}

static void env_reset(Env *env, PufIO *io) {
    (void)io;
    env->place = 0;
}

static void env_step(Env *env, PufIO *io) {
    env->place = puf_uniform(&env->rng, -1, 1);
    for (int a = 0; a < env->config.agents; a++) {
        const int dies = puf_uniform(&env->rng, 0, 1) < env->config.die;
        if (!io->alive[a]) {
            puf_spawn(io, a);
            continue;
        }
        puf_reward(io, a, (float)(puf_action(io, a)[0] - 1) * env->place);
        if (!dies) continue;
        puf_die(io, a);
        if (env->config.same_step) puf_spawn(io, a);
    }
}

static void env_observe(const Env *env, PufIO *io) {
    for (int a = 0; a < env->config.agents; a++) {
        if (!io->alive[a]) continue;
        obs_t *obs = puf_obs(io, a);
        for (int i = 0; i < ENTRIES; i++) obs[i] = env->place * (float)(i - a) * (1.0f / ENTRIES);
    }
}

static void env_close(Env *env) { (void)env; }
