// masked - at tick t the first head's legal choices are t % 4 or more, the second's only t % 3.
#define PUF_NAME "masked"
#define PUF_DOC "Two heads whose legal choices change every step."
#define PUF_AGENTS(c) c->agents
#define PUF_OBS(c) int32_t, 2 // tick, agent
#define PUF_ACTIONS(X) X(least, 4, "tick % 4 or more") X(exact, 3, "tick % 3")
#define PUF_CONFIG(X) X(int32_t, agents, 2, 1, 8, "agents")
#define PUF_LOG(X) X(score, "illegal choices, below 0") X(length, "steps")
#define PUF_MASK
#include "pufferenv/env.h"

struct Env {
    Log log;
    int32_t agents, tick, illegal;
};

static int env_init(Env *env, const Config *config, uint64_t seed, const char **why) {
    (void)seed, (void)why;
    *env = (Env){.agents = config->agents};
    return PUF_OK;
}

static void env_reset(Env *env, PufIO *io) {
    (void)io;
    env->tick = env->illegal = 0;
}

static void env_observe(const Env *env, PufIO *io) {
    for (int a = 0; a < env->agents; a++) {
        puf_obs(io, a)[0] = env->tick, puf_obs(io, a)[1] = a;
        for (int k = 0; k < env->tick % 4; k++) puf_mask(io, a)[k] = 0;
        for (int k = 0; k < 3; k++) puf_mask(io, a)[4 + k] = k == env->tick % 3;
    }
}

static void env_step(Env *env, PufIO *io) {
    for (int a = 0; a < env->agents; a++) {
        const int32_t *action = puf_action(io, a);
        int32_t wrong = (action[0] < env->tick % 4) + (action[1] != env->tick % 3);
        puf_reward(io, a, (float)-wrong);
        env->illegal += wrong;
    }
    if (++env->tick < 12) return;
    env->log.score = -env->illegal;
    env->log.length = env->tick;
    puf_end(io, PUF_TRUNCATED);
}

static void env_close(Env *env) { (void)env; }
