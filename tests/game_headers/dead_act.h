// dead_act - reads agent 1's action in the steps after its death.
#define PUF_NAME "dead_act"
#define PUF_DOC "Lets the dead act."
#define BREAK_STEP(env, io) \
    if ((env)->tick == (env)->after) puf_die(io, 1); \
    if ((env)->tick > (env)->after) puf_reward(io, 0, (float)puf_action(io, 1)[0])
#include "faulty.inc"
