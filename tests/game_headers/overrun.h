// overrun - writes one entry past agent 1's observation, after `after` steps. Debug only.
#define PUF_NAME "overrun"
#define PUF_DOC "Writes past its observation."
#define OBSERVE_LAST(env, a, obs) \
    (obs)[2] = 0; \
    if ((a) == 1 && (env)->tick > (env)->after) (obs)[3] = 0
#include "faulty.inc"
