// refuses - its fields may each be in range and yet illegal together; env_init gives the reason.
#define PUF_NAME "refuses"
#define PUF_DOC "Takes only low < high."
#define PUF_AGENTS(c) 1
#define PUF_OBS(c) uint8_t, 1
#define PUF_ACTIONS(X) X(wait, 1, "nothing else")
#define PUF_CONFIG(X) \
    X(int32_t, low, 1, 0, 10, "below high") X(int32_t, high, 2, 0, 10, "above low")
#define PUF_LOG(X)
#include "pufferenv/env.h"

struct Env {
    Log log;
};

static int env_init(Env *env, const Config *config, uint64_t seed, const char **why) {
    (void)env, (void)seed;
    if (config->low < config->high) return PUF_OK;
    *why = "low must be below high";
    return PUF_ERR_CONFIG;
}

static void env_reset(Env *env, PufIO *io) { (void)env, (void)io; }
static void env_observe(const Env *env, PufIO *io) { (void)env, puf_obs(io, 0)[0] = 0; }
static void env_step(Env *env, PufIO *io) { (void)env, (void)io; }
static void env_close(Env *env) { (void)env; }
