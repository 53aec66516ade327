// double_kill - kills agent 1 again in the step after its death.
#define PUF_NAME "double_kill"
#define PUF_DOC "Kills the dead."
#define BREAK_STEP(env, io) \
    if ((env)->tick >= (env)->after) puf_die(io, 1)
#include "faulty.inc"
