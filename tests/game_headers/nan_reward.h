// nan_reward - rewards agent 1 with a NaN, after `after` steps.
#define PUF_NAME "nan_reward"
#define PUF_DOC "Rewards with a NaN."
#define BREAK_STEP(env, io) puf_reward(io, 1, (env)->tick > (env)->after ? NAN : 0)
#include "faulty.inc"
