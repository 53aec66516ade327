// script - a game without rules: the actions decide which agents die, spawn and are cut, and when
// the episode ends, so that a test can state exactly what must follow.
//
// Actions of dead agents are part of the script. They are read without the accessor, which forbids
// reading them.
#define PUF_NAME "script"
#define PUF_DOC "Does what its actions say: deaths, spawns, cuts, ends."
#define PUF_AGENTS(c) c->agents
#define PUF_OBS(c) \
    int32_t, 4 // env's tag, agent, life of that agent (never reused), step of the life
#define PUF_ACTIONS(X) \
    X(fate, 6, "alive: 1 die, 2 cut, 3 die and respawn; dead: 4 spawn, 5 spawn and die") \
    X(end, 3, "agent 0's: 0 goes on, 1 terminal, 2 truncated") \
    X(absent, 2, "1: not there when the next episode begins")
#define PUF_CONFIG(X) X(int32_t, agents, 3, 1, 64, "agents")
#define PUF_LOG(X) X(length, "steps of the episode")
#include "pufferenv/env.h"

enum { SCRIPT_AGENTS = 64 };

struct Env {
    Log log;
    int32_t tag, agents, tick;
    int32_t life[SCRIPT_AGENTS], age[SCRIPT_AGENTS];
    uint8_t absent[SCRIPT_AGENTS];
};

static int env_init(Env *env, const Config *config, uint64_t seed, const char **why) {
    (void)why;
    *env = (Env){.tag = (int32_t)(seed & 0x7fffffff), .agents = config->agents};
    return PUF_OK;
}

static void begin_life(Env *env, int a) { env->life[a] += 1, env->age[a] = 0; }

static void env_reset(Env *env, PufIO *io) {
    env->tick = 0;
    for (int a = 0; a < env->agents; a++) {
        if (env->absent[a]) puf_absent(io, a);
        else begin_life(env, a);
    }
}

static void env_observe(const Env *env, PufIO *io) {
    for (int a = 0; a < env->agents; a++) {
        if (!io->alive[a]) continue;
        obs_t *obs = puf_obs(io, a);
        obs[0] = env->tag, obs[1] = a, obs[2] = env->life[a], obs[3] = env->age[a];
    }
}

static void env_step(Env *env, PufIO *io) {
    env->tick += 1;
    for (int a = 0; a < env->agents; a++) {
        const int32_t *action = io->actions + 3 * a;
        env->absent[a] = (uint8_t)action[2];
        if (!io->alive[a]) {
            if (action[0] == 4 || action[0] == 5) puf_spawn(io, a), begin_life(env, a);
            if (action[0] == 5) puf_die(io, a);
            continue;
        }
        puf_reward(io, a, (float)(1000 * a + env->age[a]));
        env->age[a] += 1;
        if (action[0] == 1 || action[0] == 3) puf_die(io, a);
        if (action[0] == 2) puf_cut(io, a);
        if (action[0] == 3) puf_spawn(io, a), begin_life(env, a);
    }
    if (io->actions[1]) {
        env->log.length = env->tick;
        puf_end(io, (PufDone)io->actions[1]);
    }
}

static void env_close(Env *env) { (void)env; }
