// unwritten - leaves the last entry of agent 1 unwritten, after `after` steps.
#define PUF_NAME "unwritten"
#define PUF_DOC "Leaves an entry unwritten."
#define OBSERVE_LAST(env, a, obs) \
    if ((a) == 0 || !((env)->tick > (env)->after)) (obs)[2] = 0
#include "faulty.inc"
