// continuous - push a point on a plane to the origin: two axes, learned in seconds.
#define PUF_NAME "continuous"
#define PUF_DOC "Push a point on a plane to the origin."
#define PUF_AGENTS(c) 1
#define PUF_OBS(c) float, 2 // x, y within [-1, 1]
#define PUF_AXES(X) X(right, -1, 1, "x moves by 0.1 of it") X(up, -1, 1, "y moves by 0.1 of it")
#define PUF_CONFIG(X) X(int32_t, steps, 32, 1, 10000, "steps until an episode is truncated")
#define PUF_LOG(X) X(score, "mean distance from the origin, below 0") X(length, "steps")
#include "pufferenv/env.h"

struct Env {
    Log log;
    PufRng rng;
    int32_t steps, tick;
    float place[2], far; // far: distances so far, the larger of |x| and |y| each step
};

static int env_init(Env *env, const Config *config, uint64_t seed, const char **why) {
    (void)why;
    *env = (Env){.steps = config->steps, .rng = {seed}};
    return PUF_OK;
}

static void env_reset(Env *env, PufIO *io) {
    (void)io;
    env->tick = 0, env->far = 0;
    for (int i = 0; i < 2; i++) env->place[i] = puf_uniform(&env->rng, -1, 1);
}

static void env_observe(const Env *env, PufIO *io) {
    memcpy(puf_obs(io, 0), env->place, sizeof(env->place));
}

static void env_step(Env *env, PufIO *io) {
    float distance = 0;
    for (int i = 0; i < 2; i++) {
        float place = env->place[i] + 0.1f * puf_axes(io, 0)[i];
        env->place[i] = place < -1 ? -1 : place > 1 ? 1 : place;
        float away = env->place[i] < 0 ? -env->place[i] : env->place[i];
        if (away > distance) distance = away;
    }
    puf_reward(io, 0, -distance);
    env->far += distance;
    if (++env->tick < env->steps) return;
    env->log.score = -(double)env->far / env->tick;
    env->log.length = env->tick;
    puf_end(io, PUF_TRUNCATED);
}

static void env_close(Env *env) { (void)env; }
