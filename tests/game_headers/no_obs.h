// no_obs - lacks PUF_OBS; the compiler's message must name the macro and show an example.
#define PUF_NAME "no_obs"
#define PUF_DOC "Lacks PUF_OBS."
#define PUF_AGENTS(c) 1
#define PUF_ACTIONS(X) X(wait, 1, "nothing else")
#define PUF_CONFIG(X)
#define PUF_LOG(X)
#include "pufferenv/env.h"
