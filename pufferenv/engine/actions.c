// pufferenv/engine/actions.c - checks, clips and copies the actions that a caller passes in.
//
// The trainer's sampler does not come here: it writes legal actions straight into the arrays.
#include <math.h>
#include <string.h>

#include "pufferenv/engine/engine.h"

int64_t puf_engine_set_discrete_actions(PufEngine *e, const void *actions, int item_bytes) {
    const int64_t count = e->num_agents * e->num_heads;
    const int32_t *narrow = actions;
    const int64_t *wide = actions;
    // The usual case, all legal, is one pass without branches per head.
    uint64_t bad = 0;
    for (int k = 0; k < e->num_heads; k++) {
        const uint32_t n = (uint32_t)e->heads[k].n;
        if (item_bytes == 4)
            for (int64_t i = k; i < count; i += e->num_heads) bad |= (uint32_t)narrow[i] >= n;
        else
            for (int64_t i = k; i < count; i += e->num_heads) bad |= (uint64_t)wide[i] >= n;
    }
    // Only an error needs the place of the first bad one.
    if (bad)
        for (int64_t i = 0; i < count; i++) {
            const int64_t action = item_bytes == 4 ? narrow[i] : wide[i];
            if (action < 0 || action >= e->heads[i % e->num_heads].n) return i;
        }
    if (item_bytes == 4) memcpy(e->arrays.action, narrow, (size_t)count * sizeof(int32_t));
    else
        for (int64_t i = 0; i < count; i++) e->arrays.action[i] = (int32_t)wide[i];
    return -1;
}

int64_t puf_engine_set_continuous_actions(PufEngine *e, const void *axes, int item_bytes) {
    const int64_t count = e->num_agents * e->num_axes;
    for (int64_t i = 0; i < count; i++) {
        const double given = item_bytes == 4 ? ((const float *)axes)[i] : ((const double *)axes)[i];
        if (isnan(given)) return i;
    }
    for (int64_t i = 0; i < count; i++) {
        const PufAxis *axis = &e->axes[i % e->num_axes];
        const double given = item_bytes == 4 ? ((const float *)axes)[i] : ((const double *)axes)[i];
        e->arrays.axis[i] = given < axis->low    ? axis->low
                            : given > axis->high ? axis->high
                                                 : (float)given;
    }
    return -1;
}
