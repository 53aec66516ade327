// broken - does not compile: line 11 has the error, and a test expects that number in the message.
#define PUF_NAME "broken"
#define PUF_DOC "Does not compile."
#define PUF_AGENTS(c) 1
#define PUF_OBS(c) float, 1
#define PUF_ACTIONS(X) X(wait, 1, "nothing else")
#define PUF_CONFIG(X)
#define PUF_LOG(X)
#include "pufferenv/env.h"

static int mistake(void) { return undeclared_name; }

struct Env {
    Log log;
};

static int env_init(Env *env, const Config *config, uint64_t seed, const char **why) {
    (void)env, (void)config, (void)seed, (void)why;
    return mistake();
}

static void env_reset(Env *env, PufIO *io) { (void)env, (void)io; }
static void env_observe(const Env *env, PufIO *io) { (void)env, puf_obs(io, 0)[0] = 0; }
static void env_step(Env *env, PufIO *io) { (void)env, (void)io; }
static void env_close(Env *env) { (void)env; }
