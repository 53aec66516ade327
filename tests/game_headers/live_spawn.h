// live_spawn - spawns agent 1, which is alive, after `after` steps.
#define PUF_NAME "live_spawn"
#define PUF_DOC "Spawns the living."
#define BREAK_STEP(env, io) \
    if ((env)->tick > (env)->after) puf_spawn(io, 1)
#include "faulty.inc"
