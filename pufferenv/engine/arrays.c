// pufferenv/engine/arrays.c - describes the arrays of PUF_ARRAYS: which exist, and their shapes.
#include "pufferenv/engine/engine.h"

// The words of PUF_ARRAYS: the modes that have an array, its rows, the shape of each row.
enum { ALL, FLAT, ROWS };
enum { AGENTS, ENVS, POOL, FINALS, SLOTS };
enum { ONE, HEADS, AXES, CHOICES, LOGS, OBS };

static void describe(const PufEngine *e, PufArrayInfo *info, int modes, int rows, int shape) {
    const int in_rows = e->options.mode == PUF_ROWS;
    const int64_t extra = in_rows ? e->options.num_finals + (int64_t)e->options.num_envs : 0;
    const int64_t length[] = {
        [AGENTS] = e->num_agents,       [ENVS] = e->options.num_envs,
        [POOL] = e->options.num_rows,   [FINALS] = e->options.num_finals,
        [SLOTS] = e->num_slots + extra,
    };
    // The lowest free row is used first (rows.h), so agents that never die use only these.
    const int64_t used = e->options.batch_rows + e->num_agents;
    const int64_t usual[] = {
        [AGENTS] = length[AGENTS],
        [ENVS] = length[ENVS],
        [POOL] = used,
        [FINALS] = 0,
        [SLOTS] = in_rows ? used * e->options.horizon : length[SLOTS],
    };
    const int64_t width[] = {
        [ONE] = 1,
        [HEADS] = e->num_heads,
        [AXES] = e->num_axes,
        [CHOICES] = e->spec->has_mask ? e->num_choices : 0,
        [LOGS] = e->spec->num_log,
        [OBS] = 1,
    };
    info->present = (modes == ALL || (modes == ROWS) == in_rows) &&
                    (width[shape] > 0 || shape == LOGS || shape == HEADS || shape == AXES);
    info->usual = usual[rows] < length[rows] ? usual[rows] : length[rows];
    info->dims[info->ndim++] = length[rows];
    if (rows == POOL) info->dims[info->ndim++] = e->options.horizon;
    if (shape == OBS)
        for (int d = 0; d < e->obs_ndim; d++) info->dims[info->ndim++] = e->obs_dims[d];
    else if (shape != ONE) info->dims[info->ndim++] = width[shape];
}

int puf_engine_arrays(PufEngine *e, PufArrayInfo out[PUF_MAX_ARRAYS],
                      void **member[PUF_MAX_ARRAYS]) {
    int count = 0;
#define PUF_DESCRIBE(name_, T, code_, modes, rows, shape) \
    out[count] = (PufArrayInfo){.name = #name_, .code = code_}; \
    member[count] = (void **)(void *)&e->arrays.name_; \
    describe(e, &out[count++], modes, rows, shape);
    PUF_ARRAYS(PUF_DESCRIBE)
#undef PUF_DESCRIBE
    return count;
}
