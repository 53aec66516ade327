// multihead - three heads of different size, an int32 observation of four dimensions.
#define PUF_NAME "multihead"
#define PUF_DOC "Name the digits of a number: three heads, four dimensions."
#define PUF_AGENTS(c) 1
#define PUF_OBS(c) int32_t, 2, 1, 3, 2 // [0]: the digits asked for, twice; [1]: their number, tick
#define PUF_ACTIONS(X) X(low, 2, "digit") X(middle, 3, "digit") X(high, 5, "digit")
#define PUF_CONFIG(X) X(int32_t, steps, 16, 1, 10000, "steps of an episode")
#define PUF_LOG(X) X(score, "digits named") X(length, "steps")
#include "pufferenv/env.h"

static const int32_t CHOICES[3] = {2, 3, 5};

struct Env {
    Log log;
    PufRng rng;
    int32_t steps, tick, named, digits[3];
};

static int env_init(Env *env, const Config *config, uint64_t seed, const char **why) {
    (void)why;
    *env = (Env){.steps = config->steps, .rng = {seed}};
    return PUF_OK;
}

static void ask(Env *env) {
    for (int i = 0; i < 3; i++) env->digits[i] = puf_below(&env->rng, CHOICES[i]);
}

static void env_reset(Env *env, PufIO *io) {
    (void)io;
    env->tick = env->named = 0;
    ask(env);
}

static void env_observe(const Env *env, PufIO *io) {
    obs_t *obs = puf_obs(io, 0);
    for (int i = 0; i < 3; i++) {
        obs[2 * i] = obs[2 * i + 1] = env->digits[i];
        obs[6 + 2 * i] = i;
        obs[6 + 2 * i + 1] = env->tick;
    }
}

static void env_step(Env *env, PufIO *io) {
    int32_t right = 0;
    for (int i = 0; i < 3; i++) right += puf_action(io, 0)[i] == env->digits[i];
    env->named += right;
    env->tick += 1;
    puf_reward(io, 0, (float)right);
    ask(env);
    if (env->tick < env->steps) return;
    env->log = (Log){.score = env->named, .length = env->tick};
    puf_end(io, PUF_TERMINAL);
}

static void env_close(Env *env) { (void)env; }
