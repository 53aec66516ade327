// rogue - an env with an even tag rewards and kills dead agents, cuts and spawns any agent and
// observes for all of them; an env with an odd tag follows the rules.
#define PUF_NAME "rogue"
#define PUF_DOC "Breaks every rule about the dead, in every other env."
#define PUF_AGENTS(c) 4
#define PUF_OBS(c) int32_t, 4 // tag, agent, 1 if it breaks rules, tick
#define PUF_ACTIONS(X) X(wait, 2, "nothing either way")
#define PUF_CONFIG(X)
#define PUF_LOG(X)
#define PUF_MASK
#include "pufferenv/env.h"

struct Env {
    Log log;
    PufRng rng;
    int32_t tag, rogue, tick;
};

static int env_init(Env *env, const Config *config, uint64_t seed, const char **why) {
    (void)config, (void)why;
    *env = (Env){.rng = {seed}, .tag = (int32_t)seed, .rogue = seed % 2 == 0};
    return PUF_OK;
}

static void env_reset(Env *env, PufIO *io) {
    if (env->rogue) puf_die(io, puf_below(&env->rng, 4));
}

static void env_observe(const Env *env, PufIO *io) {
    for (int a = 0; a < 4; a++) {
        if (!io->alive[a] && !env->rogue) continue;
        obs_t *obs = puf_obs(io, a);
        obs[0] = env->tag, obs[1] = a, obs[2] = env->rogue, obs[3] = env->tick;
        puf_mask(io, a)[1] = (uint8_t)(a % 2);
    }
}

// Calls one of die, cut, spawn, absent. An env that follows the rules does so only if it is legal.
static void change(Env *env, PufIO *io, int a) {
    const int what = puf_below(&env->rng, 16);
    if (!env->rogue && (io->alive[a] ? what > 1 : what != 2)) return;
    if (what == 0) puf_die(io, a);
    if (what == 1) puf_cut(io, a);
    if (what == 2) puf_spawn(io, a);
    if (what == 3) puf_absent(io, a);
}

static void env_step(Env *env, PufIO *io) {
    env->tick += 1;
    for (int a = 0; a < 4; a++) {
        if (io->alive[a] || env->rogue) puf_reward(io, a, (float)(env->tag + puf_action(io, a)[0]));
        change(env, io, a);
        if (env->rogue) change(env, io, a);
    }
    if (!puf_below(&env->rng, 20))
        puf_end(io, puf_below(&env->rng, 2) ? PUF_TERMINAL : PUF_TRUNCATED);
}

static void env_close(Env *env) { (void)env; }
