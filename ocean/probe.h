// probe - observations that identify env, agent, life and step, for tests of the data path.
//
// An observation is (tag of the env, agent, life of that agent, step of that life). Each is exact in
// float, and together they are unique. The reward is a function of the observation that was acted
// on and of the action (probe_reward), so a row, action or reward in the wrong place shows as a
// wrong number:
//     16 * ((tag + 31 * agent + 17 * life + 7 * step) mod 1024) + 5 * first + second + axis / 2
// Lives are numbered from 0 across all episodes of an env. Ends of lives and episodes are drawn
// from the env's own random stream; with the default config all agents live from reset to reset.

#define PUF_NAME "probe"
#define PUF_DOC "Observations that identify env, agent, life and step, for tests."
#define PUF_AGENTS(c) (c)->agents
#define PUF_OBS(c) float, 4 // tag (the top 24 bits of the env's seed), agent, life, step
#define PUF_ACTIONS(X) X(first, 3, "adds 5 per choice") X(second, 5, "adds 1 per choice")
#define PUF_AXES(X) X(push, -1, 1, "adds half of its value")
#define PUF_CONFIG(X) \
    X(int32_t, agents, 4, 1, 1024, "agents of one env") \
    X(int32_t, steps, 32, 1, 1000000, "steps of the longest episode") \
    X(int32_t, shorter, 0, 0, 999999, "episodes are up to this many steps shorter; below steps") \
    X(float, truncate, 0.5, 0, 1, "share of episodes that are truncated instead of terminated") \
    X(float, die, 0, 0, 1, "chance that a live agent dies in a step") \
    X(float, respawn, 0, 0, 1, "chance that an agent that dies respawns in the same step") \
    X(float, cut, 0, 0, 1, "chance that a live agent's life is cut short in a step") \
    X(float, spawn, 0, 0, 1, "chance that a dead agent spawns in a step") \
    X(float, flash, 0, 0, 1, "chance that an agent that spawns dies in the same step") \
    X(float, absent, 0, 0, 1, "chance that an agent, except the first, misses an episode's start")
#define PUF_LOG(X) \
    X(score, "sum of all agents' rewards") \
    X(length, "steps") \
    X(transitions, "agent steps of the episode") X(lives, "lives that began")
#include "pufferenv/env.h"

#include <stdlib.h>

typedef struct Agent {
    int32_t life, step; // life: -1 before the first
} Agent;

struct Env {
    Log log;
    PufRng rng;
    Config config;
    int32_t tag, tick, last; // last: the tick that ends this episode
    Log sums;                // of this episode so far
    Agent *agents;           // (config.agents,)
};

static int chance(Env *env, float p) { return puf_uniform(&env->rng, 0, 1) < p; }

static int env_init(Env *env, const Config *config, uint64_t seed, const char **why) {
    *env = (Env){.config = *config, .rng = {seed}, .tag = (int32_t)(seed >> 40)};
    if (config->shorter >= config->steps) {
        *why = "shorter must be below steps, so that every episode has a step";
        return PUF_ERR_CONFIG;
    }
    env->agents = malloc((size_t)config->agents * sizeof(Agent));
    if (!env->agents) return PUF_ERR_MEMORY;
    for (int a = 0; a < config->agents; a++) env->agents[a] = (Agent){.life = -1};
    return PUF_OK;
}

static void begin_life(Env *env, int a) {
    env->agents[a].life += 1;
    env->agents[a].step = 0;
    env->sums.lives += 1;
}

static void env_reset(Env *env, PufIO *io) {
    env->tick = 0;
    env->last = env->config.steps - puf_below(&env->rng, env->config.shorter + 1);
    env->sums = (Log){0};
    for (int a = 0; a < env->config.agents; a++) {
        if (a > 0 && chance(env, env->config.absent)) puf_absent(io, a);
        else begin_life(env, a);
    }
}

static void env_observe(const Env *env, PufIO *io) {
    for (int a = 0; a < env->config.agents; a++) {
        if (!io->alive[a]) continue;
        obs_t *obs = puf_obs(io, a);
        obs[0] = (float)env->tag, obs[1] = (float)a;
        obs[2] = (float)env->agents[a].life, obs[3] = (float)env->agents[a].step;
    }
}

static float probe_reward(const Env *env, int a, const int32_t *choices, float push) {
    const Agent *agent = &env->agents[a];
    int32_t who = (env->tag + 31 * a + 17 * agent->life + 7 * agent->step) % 1024;
    return (float)(16 * who + 5 * choices[0] + choices[1]) + push / 2;
}

// The step of an agent that was alive when the step began.
static void live_on(Env *env, PufIO *io, int a) {
    float reward = probe_reward(env, a, puf_action(io, a), puf_axes(io, a)[0]);
    puf_reward(io, a, reward);
    env->sums.score += (double)reward;
    env->sums.transitions += 1;
    env->agents[a].step += 1;
    if (chance(env, env->config.die)) {
        puf_die(io, a);
        if (!chance(env, env->config.respawn)) return;
        puf_spawn(io, a);
        begin_life(env, a);
    } else if (chance(env, env->config.cut)) puf_cut(io, a);
}

// The step of an agent that was dead when the step began.
static void rise(Env *env, PufIO *io, int a) {
    if (!chance(env, env->config.spawn)) return;
    puf_spawn(io, a);
    begin_life(env, a);
    if (chance(env, env->config.flash)) puf_die(io, a);
}

static void env_step(Env *env, PufIO *io) {
    for (int a = 0; a < env->config.agents; a++) {
        if (io->alive[a]) live_on(env, io, a);
        else rise(env, io, a);
    }
    env->tick += 1;
    if (env->tick < env->last) return;
    env->log = env->sums;
    env->log.length = env->tick;
    puf_end(io, chance(env, env->config.truncate) ? PUF_TRUNCATED : PUF_TERMINAL);
}

static void env_close(Env *env) { free(env->agents); }
