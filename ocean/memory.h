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
