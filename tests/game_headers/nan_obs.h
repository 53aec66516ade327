// nan_obs - observes a NaN: agent 1, after `after` steps.
#define PUF_NAME "nan_obs"
#define PUF_DOC "Observes a NaN."
#define OBSERVE_LAST(env, a, obs) (obs)[2] = (a) == 1 && (env)->tick > (env)->after ? NAN : 0
#include "faulty.inc"
