// memory - remember a cue through distraction, and answer with it much later.
//
//     observation 0       the cue, one of `cues` symbols, with the flag LOOK
//     1 to delay          random symbols or nothing, without a flag: distraction
//     delay + 1           nothing, with the flag ANSWER: the action in this step is the answer
//
// The right answer gives +1 and any other -1; both end the episode. All earlier actions are ignored.
// The last observation does not depend on the cue, so a policy without memory answers correctly
// with probability 1 / cues. The delay is drawn for each episode. Short delays let a policy learn
// to use its memory even if rows are shorter than the longest delay; long ones cross rows.

#define PUF_NAME "memory"
#define PUF_DOC "Remember a cue through distraction, and answer with it much later."
#define PUF_AGENTS(c) 1
#define PUF_OBS(c) float, c->cues + 2 // one-hot symbol, LOOK, ANSWER
#define PUF_ACTIONS(X) X(answer, c->cues, "the symbol that was the cue")
#define PUF_CONFIG(X) \
    X(int32_t, cues, 4, 2, 64, "symbols that can be the cue") \
    X(int32_t, delay, 32, 0, 100000, "longest delay between cue and answer, in steps") \
    X(int32_t, shortest, 2, 0, 100000, "shortest delay, in steps; at most delay") \
    X(float, distract, 0.5, 0, 1, "chance that a step of the delay shows a random symbol")
#define PUF_LOG(X) \
    X(score, "1 for the right answer, 0 for a wrong one") \
    X(length, "steps")
#define PUF_VIEW(c) 12, 9
#define PUF_PACE(c) 3
#define PUF_KEYS(X) \
    X(answer, 0, "1", "symbol 1") \
    X(answer, 1, "2", "symbol 2") \
    X(answer, 2, "3", "symbol 3") \
    X(answer, 3, "4", "symbol 4") \
    X(answer, 4, "5", "symbol 5") \
    X(answer, 5, "6", "symbol 6") \
    X(answer, 6, "7", "symbol 7") \
    X(answer, 7, "8", "symbol 8") X(answer, 8, "9", "symbol 9") X(answer, 9, "0", "symbol 10")
#include "pufferenv/env.h"

enum { NOTHING = -1 };

struct Env {
    Log log;
    PufRng rng;
    Config config;
    int32_t cue, symbol; // symbol: shown in this step, or NOTHING
    int32_t tick, delay; // steps in this episode; delay between cue and answer
};

static int env_init(Env *env, const Config *config, uint64_t seed, const char **why) {
    *env = (Env){.config = *config, .rng = {seed}};
    if (config->shortest > config->delay) {
        *why = "shortest must be at most delay";
        return PUF_ERR_CONFIG;
    }
    return PUF_OK;
}

static void env_reset(Env *env, PufIO *io) {
    (void)io;
    const Config *c = &env->config;
    env->tick = 0;
    env->delay = c->shortest + puf_below(&env->rng, c->delay - c->shortest + 1);
    env->cue = env->symbol = puf_below(&env->rng, c->cues);
}

static void env_observe(const Env *env, PufIO *io) {
    obs_t *obs = puf_obs(io, 0);
    const int32_t n = env->config.cues;
    for (int i = 0; i < n; i++) obs[i] = i == env->symbol;
    obs[n] = env->tick == 0;
    obs[n + 1] = env->tick > env->delay;
}

static void env_step(Env *env, PufIO *io) {
    env->tick += 1;
    env->symbol = NOTHING;
    if (env->tick <= env->delay) {
        const int shows = puf_uniform(&env->rng, 0, 1) < env->config.distract;
        if (shows) env->symbol = puf_below(&env->rng, env->config.cues);
    } else if (env->tick == env->delay + 2) {
        const int right = puf_action(io, 0)[0] == env->cue;
        puf_reward(io, 0, right ? 1 : -1);
        env->log = (Log){.score = right, .length = env->tick};
        puf_end(io, PUF_TERMINAL);
    }
}

static void env_close(Env *env) { (void)env; } // nothing was allocated

// --- drawing -------------------------------------------------------------------------------
// A symbol: one of 8 shapes in one of 8 colours, different for all 64. `r`: half its height.
static void draw_symbol(PufCanvas *c, int i, float x, float y, float r) {
    const uint32_t colour = puf_hue(i + i / 8);
    switch (i % 8) {
    case 0:
        puf_disc(c, x, y, r, colour);
        break;
    case 1:
        puf_rect(c, x - r, y - r, 2 * r, 2 * r, colour);
        break;
    case 2:
        puf_fill(c, (const float[]){x, y - r, x + r, y + r, x - r, y + r}, 3, colour);
        break;
    case 3:
        puf_fill(c, (const float[]){x, y - r, x + r, y, x, y + r, x - r, y}, 4, colour);
        break;
    case 4:
        puf_ring(c, x, y, r * 0.55f, r * 0.45f, colour);
        break;
    case 5:
        puf_rect(c, x - r, y - r / 3, 2 * r, 2 * r / 3, colour);
        puf_rect(c, x - r / 3, y - r, 2 * r / 3, 2 * r, colour);
        break;
    case 6:
        puf_fill(c, (const float[]){x - r, y - r, x + r, y - r, x - r, y + r, x + r, y + r}, 4,
                 colour);
        break;
    default:
        puf_path(c,
                 (const float[]){x - r * 0.8f, y + r * 0.8f, x, y - r * 0.8f, x + r * 0.8f,
                                 y + r * 0.8f},
                 3, r * 0.4f, colour);
    }
}

// The choices in one row or two, numbered as their keys are; the right one is marked.
static void draw_choices(const Env *env, PufCanvas *c) {
    const int n = env->config.cues, columns = n <= 32 ? n : 32;
    const float wide = n <= 8 ? 1.2f : 11.2f / (float)columns, r = n <= 8 ? 0.36f : 0.34f * wide;
    for (int i = 0; i < n; i++) {
        const float x = 6 + wide * ((float)(i % columns) - 0.5f * (float)(columns - 1));
        const float y = 7.85f + 3 * r * (float)(i / columns);
        if (i == env->cue)
            puf_round(c, x - 1.4f * r, y - 1.4f * r, 2.8f * r, 2.8f * r, 0.4f * r,
                      puf_fade(PUF_WHITE, 0.25f));
        draw_symbol(c, i, x, y, r);
        if (n <= 10) puf_text(c, x, y + 0.95f, 0.45f, 0, PUF_GREY, "%d", (i + 1) % 10);
    }
}

static void env_draw(const Env *env, PufCanvas *c) {
    const int looks = env->tick == 0, answers = env->tick > env->delay;
    puf_rect(c, 0, 0, 12, 9, PUF_NIGHT);
    // One agent's view: what it observes and no more.
    if (c->agent >= 0) puf_look(c, 3.6f, 1.3f, 4.8f, 4.8f);
    const uint32_t frame = looks ? PUF_CYAN : answers ? PUF_YELLOW : PUF_EDGE;
    puf_round(c, 3.6f, 1.3f, 4.8f, 4.8f, 0.5f, frame);
    puf_round(c, 3.8f, 1.5f, 4.4f, 4.4f, 0.35f, PUF_PANEL);
    if (answers) puf_text(c, 6, 4.9f, 3.6f, 0, PUF_YELLOW, "?");
    if (env->symbol != NOTHING) draw_symbol(c, env->symbol, 6, 3.7f, 1.3f);
    if (c->agent >= 0) return;

    const int steps = env->delay + 1, over = env->tick > steps, tick = over ? steps : env->tick;
    const char *phase = looks     ? "remember this"
                        : over    ? "answered"
                        : answers ? "which was it?"
                                  : "wait";
    puf_text(c, 0.6f, 0.95f, 0.65f, -1, frame == PUF_EDGE ? PUF_GREY : frame, "%s", phase);
    puf_text(c, 11.4f, 0.95f, 0.45f, 1, PUF_GREY, "step %d of %d", tick, steps);
    puf_round(c, 0.6f, 6.5f, 10.8f, 0.24f, 0.12f, PUF_EDGE);
    puf_key(c, 1);
    puf_round(c, 0.6f, 6.5f, 10.8f * (float)tick / (float)steps, 0.24f, 0.12f, PUF_CYAN);
    puf_key(c, 0);
    puf_text(c, 0.6f, 7.13f, 0.34f, -1, PUF_GREY, "lit: the right answer, for viewers only");
    draw_choices(env, c);
}
