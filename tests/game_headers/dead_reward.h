// dead_reward - rewards agent 1 in the steps after its death.
#define PUF_NAME "dead_reward"
#define PUF_DOC "Rewards the dead."
#define BREAK_STEP(env, io) \
    if ((env)->tick == (env)->after) puf_die(io, 1); \
    if ((env)->tick > (env)->after) puf_reward(io, 1, 1)
#include "faulty.inc"
