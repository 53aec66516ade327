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
#define PUF_VIEW(c) (float)columns_of(c), (float)rows_of(c) + HEAD *(float)columns_of(c)
#define PUF_PACE(c) 6
#define PUF_KEYS(X) \
    X(first, 0, "a", "first: 0") \
    X(first, 1, "s", "first: 1") \
    X(first, 2, "d", "first: 2") \
    X(second, 0, "1", "second: 0") \
    X(second, 1, "2", "second: 1") \
    X(second, 2, "3", "second: 2") \
    X(second, 3, "4", "second: 3") \
    X(second, 4, "5", "second: 4") X(push, -1, "left", "push -1") X(push, 1, "right", "push 1")
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

// --- drawing -------------------------------------------------------------------------------
// Agents are cells of a grid, row by row, below a head.
#define HEAD 0.09f // height of the head, in widths of the picture

static int columns_of(const Config *config) {
    int columns = 1;
    while (columns * columns < config->agents) columns++;
    return columns;
}
static int rows_of(const Config *config) {
    return (config->agents + columns_of(config) - 1) / columns_of(config);
}

// A cell: the life's number and colour, and its steps, also as a bar; hollow while the agent is dead.
static void draw_cell(const Env *env, PufCanvas *c, int a, float x, float y) {
    const Agent *agent = &env->agents[a];
    const uint32_t hue = agent->life < 0 ? PUF_EDGE : puf_hue(agent->life);
    const float done = (float)agent->step / (float)env->config.steps;
    puf_agent(c, a);
    puf_round(c, x + 0.04f, y + 0.04f, 0.92f, 0.92f, 0.1f, hue);
    puf_round(c, x + 0.07f, y + 0.07f, 0.86f, 0.86f, 0.08f,
              c->alive[a] ? puf_mix(PUF_PANEL, hue, 0.3f) : PUF_NIGHT);
    // A new life has a key of its own, so that its bar does not glide back.
    puf_key(c, (int32_t)(1 + (uint32_t)a + 1024u * (uint32_t)(agent->life + 1)) & INT32_MAX);
    puf_rect(c, x + 0.12f, y + 0.84f, 0.76f * done, 0.05f, hue);
    puf_key(c, 0);
}

// What one agent observes.
static void draw_numbers(const Env *env, PufCanvas *c, int a, float x, float y) {
    const float left = x + 0.1f, size = 0.11f;
    puf_look(c, x, y, 1, 1);
    draw_cell(env, c, a, x, y);
    puf_text(c, left, y + 0.25f, size, -1, PUF_WHITE, "tag %d", env->tag);
    puf_text(c, left, y + 0.43f, size, -1, PUF_WHITE, "agent %d", a);
    puf_text(c, left, y + 0.61f, size, -1, PUF_WHITE, "life %d", env->agents[a].life);
    puf_text(c, left, y + 0.79f, size, -1, PUF_WHITE, "step %d", env->agents[a].step);
}

static void env_draw(const Env *env, PufCanvas *c) {
    const int columns = columns_of(&env->config);
    const float width = (float)columns, head = HEAD * width, size = 0.42f * head;
    puf_rect(c, 0, 0, width, head + (float)rows_of(&env->config), PUF_NIGHT);
    for (int a = 0; a < env->config.agents; a++) {
        const float x = (float)(a % columns), y = head + (float)(a / columns);
        if (a == c->agent) draw_numbers(env, c, a, x, y);
        if (c->agent >= 0) continue;
        draw_cell(env, c, a, x, y);
        if (columns > 10) continue; // no room for numbers
        const uint32_t text = c->alive[a] ? PUF_WHITE : PUF_GREY;
        puf_text(c, x + 0.12f, y + 0.25f, 0.15f, -1, PUF_GREY, "agent %d", a);
        puf_text(c, x + 0.12f, y + 0.53f, 0.2f, -1, text, "life %d", env->agents[a].life);
        puf_text(c, x + 0.12f, y + 0.75f, 0.15f, -1, text, "step %d", env->agents[a].step);
    }
    if (c->agent >= 0) return;
    puf_agent(c, -1);
    puf_text(c, 0.03f * width, 0.68f * head, size, -1, PUF_WHITE, "step %d", env->tick);
    puf_text(c, 0.97f * width, 0.68f * head, size, 1, PUF_GREY, "lives %d   env %d",
             (int)env->sums.lives, env->tag);
}
