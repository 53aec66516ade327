// tag - hunters chase prey, which enters one by one, until all prey is caught.
//
// Agents are points in a square room; a step moves an agent in one of 8 directions. Agents 0 to
// hunters - 1 are hunters and present from the start. The others are prey: one is present from the
// start, and another enters every `every` steps, far from the hunters. After all have moved, prey
// within REACH of a hunter is caught by the nearest one, which gets +1; the prey gets -1 and leaves
// the game. Hunters are slower than prey, so catching prey takes several hunters and a corner. The
// episode ends when the last prey is caught.

#define PUF_NAME "tag"
#define PUF_DOC "Hunters chase prey, which enters one by one, until all prey is caught."
#define PUF_AGENTS(c) ((c)->hunters + (c)->prey)
#define PUF_OBS(c) float, (RIVALS + FRIENDS) * EACH + SELF // see env_observe
#define PUF_ACTIONS(X) X(move, 9, "stay, then 8 directions, counter-clockwise from the right")
#define PUF_CONFIG(X) \
    X(int32_t, hunters, 4, 1, 64, "agents that hunt") \
    X(int32_t, prey, 12, 1, 192, "agents that are hunted") \
    X(int32_t, every, 10, 1, 10000, "steps from the entry of one prey to that of the next") \
    X(int32_t, max_steps, 250, 1, 100000, "steps until an episode is truncated")
#define PUF_LOG(X) \
    X(score, "share of the prey that was caught") \
    X(length, "steps") \
    X(catches, "prey that was caught") \
    X(entered, "prey that entered") \
    X(survival, "mean steps from the entry of a prey until it was caught, or until the end")
#define PUF_VIEW(c) side_of(c) + 2, (1 + HEAD) * (side_of(c) + 2)
#define PUF_PACE(c) 12
#define PUF_KEYS(X) \
    X(move, 1, "right d", "right") \
    X(move, 2, "up+right w+d", "up and right") \
    X(move, 3, "up w", "up") \
    X(move, 4, "up+left w+a", "up and left") \
    X(move, 5, "left a", "left") \
    X(move, 6, "down+left s+a", "down and left") \
    X(move, 7, "down s", "down") X(move, 8, "down+right s+d", "down and right")
#include "pufferenv/env.h"

#include <math.h>
#include <stdlib.h>

enum { SELF = 4, EACH = 3, RIVALS = 3, FRIENDS = 2 };       // entries of an observation
enum { PLACES = 4 };                                        // places tried for prey that enters
static const float SPACE = 5;                               // side of the room / sqrt(agents)
static const float HUNTER_SPEED = 0.45f, PREY_SPEED = 0.5f; // per step
static const float REACH = 0.8f;
static const float NEAR = 3; // distance at which an observed position is half its limit
#define D 0.70710678f        // component of a diagonal step
static const float MOVE_X[9] = {0, 1, D, 0, -D, -1, -D, 0, D};
static const float MOVE_Y[9] = {0, 0, D, 1, D, 0, -D, -1, -D};

typedef struct Point {
    float x, y; // 0 to side
} Point;

struct Env {
    Log log;
    PufRng rng;
    Config config;
    float side;
    int32_t tick, entered, catches;
    int64_t free_steps; // sum over all prey
    Point *agents;      // (hunters + prey,)
};

static float side_of(const Config *config) { return SPACE * sqrtf((float)PUF_AGENTS(config)); }

static int env_init(Env *env, const Config *config, uint64_t seed, const char **why) {
    (void)why; // every combination in range is legal
    *env = (Env){.config = *config, .rng = {seed}, .side = side_of(config)};
    env->agents = calloc((size_t)PUF_AGENTS(config), sizeof(Point));
    return env->agents ? PUF_OK : PUF_ERR_MEMORY;
}

static float distance2(Point a, Point b) {
    return (a.x - b.x) * (a.x - b.x) + (a.y - b.y) * (a.y - b.y);
}

// Returns the hunter nearest to a place; ties go to the lowest index.
static int nearest_hunter(const Env *env, Point place) {
    int best = 0;
    for (int h = 1; h < env->config.hunters; h++)
        if (distance2(env->agents[h], place) < distance2(env->agents[best], place)) best = h;
    return best;
}

static Point random_place(Env *env) {
    const float x = puf_uniform(&env->rng, 0, env->side);
    return (Point){x, puf_uniform(&env->rng, 0, env->side)};
}

// Lets the next prey enter: at that one of PLACES random places that is farthest from all hunters.
static int enter(Env *env) {
    const int a = env->config.hunters + env->entered++;
    float most = -1;
    for (int i = 0; i < PLACES; i++) {
        const Point place = random_place(env);
        const float d2 = distance2(env->agents[nearest_hunter(env, place)], place);
        if (d2 > most) env->agents[a] = place, most = d2;
    }
    return a;
}

static void env_reset(Env *env, PufIO *io) {
    env->tick = env->entered = env->catches = 0;
    env->free_steps = 0;
    for (int h = 0; h < env->config.hunters; h++) env->agents[h] = random_place(env);
    for (int a = enter(env) + 1; a < io->num_agents; a++) puf_absent(io, a);
}

// Observes the `count` agents in [begin, end) nearest to `me`: the direction (2), scaled into
// (-1, 1), with more resolution nearby, and the nearness, 1 at distance 0 and 0 at infinity. If
// there are fewer agents, the remaining entries are 0.
static obs_t *observe_nearest(const Env *env, const PufIO *io, int me, int begin, int end,
                              int count, obs_t *obs) {
    int found[RIVALS > FRIENDS ? RIVALS : FRIENDS], n = 0;
    float distances2[RIVALS > FRIENDS ? RIVALS : FRIENDS]; // squared distances, ascending
    for (int a = begin; a < end; a++) {
        if (!io->alive[a] || a == me) continue;
        const float d2 = distance2(env->agents[a], env->agents[me]);
        if (n == count && d2 >= distances2[n - 1]) continue;
        int k = n < count ? n++ : n - 1;
        for (; k > 0 && distances2[k - 1] > d2; k--)
            distances2[k] = distances2[k - 1], found[k] = found[k - 1];
        distances2[k] = d2, found[k] = a;
    }
    for (int k = 0; k < count; k++, obs += EACH) {
        obs[0] = obs[1] = obs[2] = 0;
        if (k >= n) continue;
        const float scale = 1 / (sqrtf(distances2[k]) + NEAR);
        obs[0] = (env->agents[found[k]].x - env->agents[me].x) * scale;
        obs[1] = (env->agents[found[k]].y - env->agents[me].y) * scale;
        obs[2] = NEAR * scale;
    }
    return obs;
}

static void env_observe(const Env *env, PufIO *io) {
    const int hunters = env->config.hunters, n = io->num_agents;
    const float time = (float)env->tick / (float)env->config.max_steps;
    for (int a = 0; a < n; a++) {
        if (!io->alive[a]) continue;
        obs_t *obs = puf_obs(io, a);
        const int hunts = a < hunters;
        obs[0] = hunts ? 1 : -1;
        obs[1] = env->agents[a].x / env->side * 2 - 1;
        obs[2] = env->agents[a].y / env->side * 2 - 1;
        obs[3] = time * 2 - 1;
        obs += SELF;
        obs = observe_nearest(env, io, a, hunts ? hunters : 0, hunts ? n : hunters, RIVALS, obs);
        observe_nearest(env, io, a, hunts ? 0 : hunters, hunts ? hunters : n, FRIENDS, obs);
    }
}

static float clamp(float x, float low, float high) { return x < low ? low : x > high ? high : x; }

static void move(Env *env, int a, int32_t action) {
    const float speed = a < env->config.hunters ? HUNTER_SPEED : PREY_SPEED;
    Point *p = &env->agents[a];
    p->x = clamp(p->x + speed * MOVE_X[action], 0, env->side);
    p->y = clamp(p->y + speed * MOVE_Y[action], 0, env->side);
}

static void finish(Env *env, PufIO *io, PufDone why) {
    const double prey = env->config.prey, entered = env->entered;
    env->log = (Log){.score = env->catches / prey,
                     .length = env->tick,
                     .catches = env->catches,
                     .entered = entered,
                     .survival = (double)env->free_steps / entered};
    puf_end(io, why);
}

static void env_step(Env *env, PufIO *io) {
    const Config *c = &env->config;
    for (int a = 0; a < io->num_agents; a++)
        if (io->alive[a]) move(env, a, puf_action(io, a)[0]);
    for (int a = c->hunters; a < c->hunters + env->entered; a++) {
        if (!io->alive[a]) continue;
        env->free_steps += 1;
        const int h = nearest_hunter(env, env->agents[a]);
        if (distance2(env->agents[h], env->agents[a]) > REACH * REACH) continue;
        env->catches += 1;
        puf_reward(io, h, 1);
        puf_reward(io, a, -1);
        puf_die(io, a);
    }
    env->tick += 1;
    if (env->entered < c->prey && env->tick % c->every == 0) puf_spawn(io, enter(env));
    if (env->catches == c->prey) finish(env, io, PUF_TERMINAL);
    else if (env->tick >= c->max_steps) finish(env, io, PUF_TRUNCATED);
}

static void env_close(Env *env) { free(env->agents); }

// --- drawing -------------------------------------------------------------------------------
// Moves have y upwards and pictures downwards, so everything is drawn at -y.
#define HEAD 0.08f // height of the head, in widths of the picture

// Draws a live agent, or a cross where prey was caught.
static void draw_agent(const Env *env, PufCanvas *c, int a) {
    const float x = env->agents[a].x, y = -env->agents[a].y, r = 0.2f;
    const int hunts = a < env->config.hunters;
    if (!c->alive[a]) {
        if (hunts || a >= env->config.hunters + env->entered) return;
        puf_line(c, x - r, y - r, x + r, y + r, 0.13f, puf_fade(PUF_GREY, 0.6f));
        puf_line(c, x - r, y + r, x + r, y - r, 0.13f, puf_fade(PUF_GREY, 0.6f));
        return;
    }
    puf_key(c, 1 + a);
    puf_agent(c, a);
    if (hunts) {
        puf_disc(c, x, y, REACH, puf_fade(PUF_RED, 0.2f));
        puf_ring(c, x, y, REACH - 0.06f, 0.06f, puf_fade(PUF_RED, 0.6f));
    }
    puf_disc(c, x, y, hunts ? 0.45f : 0.34f, hunts ? PUF_RED : PUF_CYAN);
    puf_disc(c, x, y, hunts ? 0.2f : 0.12f, PUF_NIGHT);
    if (a == c->agent) puf_ring(c, x, y, 0.55f, 0.12f, PUF_WHITE);
    puf_agent(c, -1);
    puf_key(c, 0);
}

static void env_draw(const Env *env, PufCanvas *c) {
    const float side = env->side, wide = side + 2, around = 6;
    const Point *me = c->agent >= 0 ? &env->agents[c->agent] : NULL;
    if (me) puf_look(c, me->x - around, -me->y - around, 2 * around, 2 * around);
    else puf_look(c, -1, -side - 1 - HEAD * wide, wide, (1 + HEAD) * wide);
    puf_round(c, -0.5f, -side - 0.5f, side + 1, side + 1, 0.5f, PUF_PANEL);
    for (float g = SPACE; g < side; g += SPACE) {
        puf_rect(c, g, -side - 0.5f, 0.05f, side + 1, PUF_NIGHT);
        puf_rect(c, -0.5f, -g, side + 1, 0.05f, PUF_NIGHT);
    }
    for (int a = PUF_AGENTS(&env->config) - 1; a >= 0; a--) draw_agent(env, c, a);

    const float *view = c->view; // the time, along the upper edge of any view
    const float time = (float)env->tick / (float)env->config.max_steps;
    puf_rect(c, view[0], view[1], time * view[2], 0.01f * view[2], PUF_YELLOW);
    if (me) return;
    const float base = -side - 0.7f - 0.3f * HEAD * wide, size = 0.5f * HEAD * wide;
    puf_text(c, 0.02f * side - 0.5f, base, size, -1, PUF_WHITE, "caught %d of %d", env->catches,
             env->config.prey);
    puf_text(c, 0.98f * side + 0.5f, base, size, 1, PUF_GREY, "step %d of %d", env->tick,
             env->config.max_steps);
}
