// pufferenv/contract/spec.h - the table a game exports and the engine reads. C17, libc only.
//
// One PufSpec per game, filled by env.c from the game's own macros; one PufIO, made for each env when
// it is its turn. Nothing else crosses the border between a game's object and the engine.
#ifndef PUF_SPEC_H
#define PUF_SPEC_H

#include <stddef.h>
#include <stdint.h>

#define PUF_ABI 3        // bumped whenever a struct below changes
#define PUF_MAX_DIMS 4   // dimensions of one observation
#define PUF_MAX_HEADS 16 // discrete heads of one action
#define PUF_MAX_AXES 64  // continuous axes of one action

typedef enum { PUF_OK = 0, PUF_ERR_CONFIG = -1, PUF_ERR_MEMORY = -2 } PufStatus;
typedef enum { PUF_LIVE = 0, PUF_TERMINAL = 1, PUF_TRUNCATED = 2 } PufDone;
typedef enum { PUF_U8, PUF_I8, PUF_I32, PUF_F32 } PufDtype;

// One field of Config or Log: found by offset, documented in place.
typedef struct PufField {
    const char *name, *doc;
    uint32_t dtype, offset;
    double init, min, max; // Config only
} PufField;

// One discrete head of an action: 0 <= action < n.
typedef struct PufHead {
    const char *name, *doc;
    int32_t n;
} PufHead;

// One continuous axis of an action: low <= action <= high.
typedef struct PufAxis {
    const char *name, *doc;
    float low, high;
} PufAxis;

// What a step says about one env as a whole; the engine keeps it.
typedef struct PufNote {
    const char *fault;   // debug objects: the first broken rule of the contract, else NULL
    int32_t fault_agent; // whose it was, -1: the env's
    uint8_t idle;        // set by the engine: skip this env, its reset is due
    uint8_t over;        // PufDone of the whole episode; zeroed by the engine
    uint8_t event;       // something to see to before the next observation; zeroed by the engine
    uint8_t
        record; // the log is to be read and cleared though no episode ended; zeroed by the engine
} PufNote;

// Everything one env reads and writes in a step; games use the accessors of env.h. Observations and
// masks go to slots of the shared pool, the rest is dense.
typedef struct PufIO {
    char *obs;              // slot s starts at obs + s * obs_stride
    uint8_t *mask;          // slot s starts at mask + s * mask_stride; NULL: the game has no masks
    size_t obs_stride;      // bytes from one slot to the next
    size_t mask_stride;     // bytes: the sum of all heads' n
    const int32_t *actions; // (agents, heads)
    const float *axes;      // (agents, axes) within [low, high]
    float *rewards;         // (agents,) zeroed before each step
    uint8_t *dones;         // (agents,) PufDone, zeroed before each step
    uint8_t *alive;         // (agents,)
    int64_t *slot;          // (agents,) place of the agent's current observation; dead: a sink
    int64_t *row_end;       // (agents,) first slot behind the agent's row; -1: it has no row
    void *shared;           // what env_load made, the same for all envs of a vector env
    PufNote *note;
    int32_t num_agents, num_heads, num_axes;
} PufIO;

// From one env's to that of the env so many further on: nothing is kept per env that follows from its
// number. In place: a copy read back while it is written makes the processor wait.
static inline void puf_move(PufIO *io, size_t envs) {
    const size_t agents = envs * (size_t)io->num_agents;
    io->actions += agents * (size_t)io->num_heads;
    io->axes += agents * (size_t)io->num_axes;
    io->rewards += agents, io->dones += agents, io->alive += agents;
    io->slot += agents, io->row_end += agents;
    io->note += envs;
}
static inline PufIO puf_io(const PufIO *first, size_t env) {
    PufIO io = *first;
    puf_move(&io, env);
    return io;
}

// The columns of the pool that a step writes, all indexed by slot; NULL: there are no rows.
typedef struct PufColumns {
    float *reward;
    uint8_t *done; // PufDone
} PufColumns;

typedef struct PufSpec {
    uint32_t abi, env_size, config_size, log_size;
    const char *name, *doc;
    const PufField *config, *log;
    uint32_t num_config, num_log;
    uint32_t obs_dtype;
    uint8_t has_mask, debug;
    const char *cpu_needs; // CPU features that the object may use, as PUF_CPU_NEEDS lists them
    int (*obs_shape)(const void *config, int32_t dims[PUF_MAX_DIMS]); // -> number of dimensions
    int (*heads)(const void *config, PufHead heads[PUF_MAX_HEADS]);   // -> number of heads
    int (*axes)(const void *config, PufAxis axes[PUF_MAX_AXES]);      // -> number of axes
    int (*num_agents)(const void *config);
    // What all envs of one vector env share; `*shared` stays NULL for a game without env_load.
    int (*load)(const void *config, void **shared, const char **why); // -> PufStatus
    void (*unload)(void *shared);
    int (*init)(void *env, const void *config, uint64_t seed, const char **why); // -> PufStatus
    void (*close)(void *env);
    // Loops over envs [begin, end), compiled with the game, so env_step is inlined in them; `first`
    // is the first env's.
    // step: advances every env that is not idle and moves each of its agents on by `advance` slots
    // (rows: 1, a plain vector env: 0). Where nothing happened but time, it stores the reward in the
    // slot left behind and observes. The indices of all other envs go to `events` (room for
    // end - begin), their slots moved on but neither stored nor observed. -> how many.
    size_t (*step)(void *envs, const PufIO *first, const PufColumns *columns, size_t begin,
                   size_t end, int64_t advance, uint32_t *events);
    void (*reset)(void *envs, const PufIO *first, const uint32_t *which, size_t count);
    void (*observe)(void *envs, const PufIO *first, const uint32_t *which,
                    size_t count); // if any is alive
} PufSpec;

#endif
