// pufferenv/contract/spec.h - the table that a game exports and the engine reads. C17, libc only.
//
// game.c fills one PufSpec per game from the game's macros. The engine passes one PufIO per env to
// each call. Nothing else crosses the border between a game's object and the engine.
#ifndef PUF_SPEC_H
#define PUF_SPEC_H

#include <stddef.h>
#include <stdint.h>

#define PUF_ABI 4        // increases whenever a struct below changes
#define PUF_MAX_DIMS 4   // dimensions of one observation
#define PUF_MAX_HEADS 16 // discrete heads of one action
#define PUF_MAX_AXES 64  // continuous axes of one action

typedef enum { PUF_OK = 0, PUF_ERR_CONFIG = -1, PUF_ERR_MEMORY = -2 } PufStatus;
typedef enum { PUF_LIVE = 0, PUF_TERMINAL = 1, PUF_TRUNCATED = 2 } PufDone;
typedef enum { PUF_U8, PUF_I8, PUF_I32, PUF_F32 } PufDtype;

// One field of Config or Log.
typedef struct PufField {
    const char *name, *doc;
    uint32_t dtype, offset; // PufDtype, of Config only; bytes from the start of the struct
    double init, min, max;  // Config only: default and legal range
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

// A step's report about one env as a whole. The engine keeps one per env.
typedef struct PufNote {
    const char *fault;   // the first broken rule, or NULL; see PufSpec's faults
    int32_t fault_agent; // the agent that it concerns; -1: the env
    uint8_t idle;        // set by the engine: skip this env, its reset is due
    uint8_t over;        // PufDone of the episode; cleared by the engine
    uint8_t event;       // the engine must act before the next observation; cleared by the engine
    uint8_t record;      // read and clear the log although no episode ended; cleared by the engine
} PufNote;

// Everything that one env reads and writes in a step. Games use the accessors of env.h.
// Observations and masks lie in slots of the shared pool; the other arrays are dense.
typedef struct PufIO {
    char *obs;              // slot s starts at obs + s * obs_stride
    uint8_t *mask;          // slot s starts at mask + s * mask_stride; NULL: the game has no masks
    size_t obs_stride;      // bytes from one slot to the next
    size_t mask_stride;     // bytes; the sum of all heads' n
    const int32_t *actions; // (agents, heads)
    const float *axes;      // (agents, axes) within [low, high]
    float *rewards;         // (agents,) 0 before each step
    uint8_t *dones;         // (agents,) PufDone, PUF_LIVE before each step
    uint8_t *alive;         // (agents,) 1: the agent is in the game
    int64_t *slot;          // (agents,) of the current observation; dead agents: a sink
    int64_t *row_end;       // (agents,) first slot after the agent's row; -1: it has no row
    void *shared;           // what env_load made, the same for all envs of a vector env
    PufNote *note;
    int32_t num_agents, num_heads, num_axes;
} PufIO;

// Moves `io` on by `envs` envs, in place, because a processor stalls on reading a copy that it has
// just written.
static inline void puf_move(PufIO *io, size_t envs) {
    const size_t agents = envs * (size_t)io->num_agents;
    io->actions += agents * (size_t)io->num_heads;
    io->axes += agents * (size_t)io->num_axes;
    io->rewards += agents, io->dones += agents, io->alive += agents;
    io->slot += agents, io->row_end += agents;
    io->note += envs;
}
// -> the PufIO of env `env`; `first` is that of env 0.
static inline PufIO puf_io(const PufIO *first, size_t env) {
    PufIO io = *first;
    puf_move(&io, env);
    return io;
}

// The columns of the pool that a step writes, by slot.
typedef struct PufColumns {
    float *pool_reward;
    uint8_t *pool_done; // PufDone
} PufColumns;

typedef struct PufSpec {
    uint32_t abi, env_size, config_size, log_size; // PUF_ABI; bytes of Env, Config, Log
    const char *name, *doc;
    const char *source;           // hash of the header and of what it includes
    const PufField *config, *log; // (num_config), (num_log)
    uint32_t num_config, num_log;
    uint32_t obs_dtype;      // PufDtype
    uint8_t has_mask, debug; // the game masks choices; the object checks the contract
    uint8_t draws;           // the header defines PUF_VIEW and env_draw
    uint8_t faults;          // the object may note a fault: debug objects, and what draws
    const char *cpu_needs;   // CPU features that the object may use, as PUF_CPU_NEEDS lists them
    int (*obs_shape)(const void *config, int32_t dims[PUF_MAX_DIMS]); // -> number of dimensions
    int (*heads)(const void *config, PufHead heads[PUF_MAX_HEADS]);   // -> number of heads
    int (*axes)(const void *config, PufAxis axes[PUF_MAX_AXES]);      // -> number of axes
    int (*num_agents)(const void *config);                            // -> agents of one env
    // Loads what all envs of one vector env share; `*shared` stays NULL without env_load.
    // -> PufStatus; `why` explains an error.
    int (*load)(const void *config, void **shared, const char **why);
    void (*unload)(void *shared);
    // Makes one env in zeroed memory. -> PufStatus; `why` explains an error.
    int (*init)(void *env, const void *config, uint64_t seed, const char **why);
    void (*close)(void *env);
    // The calls below loop over envs and are compiled with the game, so that env_step is inlined.
    // `first` is the PufIO of env 0.
    //
    // Steps envs [begin, end) that are not idle and moves each agent on by `advance` slots (rows:
    // 1, otherwise 0). An env in which nothing but time happened stores its rewards in `columns`
    // (NULL: there are no rows) and observes. The others are written to `events` (room for end -
    // begin); their agents are moved on, but nothing is stored or observed yet. -> how many events.
    size_t (*step)(void *envs, const PufIO *first, const PufColumns *columns, size_t begin,
                   size_t end, int64_t advance, uint32_t *events);
    // Resets the `count` envs of `which`.
    void (*reset)(void *envs, const PufIO *first, const uint32_t *which, size_t count);
    // Observes in those envs of `which` that have a live agent.
    void (*observe)(void *envs, const PufIO *first, const uint32_t *which, size_t count);
} PufSpec;

#endif
