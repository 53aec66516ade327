// pufferenv/engine/engine.h - all envs of one vector env: memory, threads, resets, rows. Knows no Python.
//
// A step is three phases. (a) In parallel: games step; where nothing happened but time they observe
// at once, the others come back as a list of events, get their final observations and are reset.
// (b) One thread hands out rows, in env order, then agent order. (c) In parallel: the envs of the
// list observe. Which thread did what never shows in a result.
//
// Letters: E envs, n agents of one env, A = E * n agents, R rows, H horizon, F final slots,
// S = R * H slots, K discrete heads, C the sum of their choices, X axes, L log fields.
#ifndef PUF_ENGINE_H
#define PUF_ENGINE_H

#include "pufferenv/contract/spec.h"
#include "pufferenv/engine/rows.h"
#include "pufferenv/engine/thread_pool.h"

// What becomes of an env whose episode ended. PUF_ROWS resets at once, as PUF_SAME_STEP does.
typedef enum { PUF_ROWS, PUF_SAME_STEP, PUF_NEXT_STEP, PUF_DISABLED } PufMode;

typedef struct PufOptions {
    int32_t mode, num_envs, num_threads;
    int32_t horizon, num_rows, batch_rows, num_finals; // PUF_ROWS only
    int32_t check;                                     // look at all invariants after each step
} PufOptions;

// Every array that the outside sees; it gives the memory. One line makes the pointer, the size and
// the Python name: name, element, numpy type ("obs": the game's), modes, rows of the array, shape
// behind them.
//   AGENTS A   ENVS E   POOL (R, H)   FINALS F
//   SLOTS: the pool, then F final slots, then a sink for each env (PUF_ROWS); else A
#define PUF_ARRAYS(X) \
    X(observation, char, "obs", ALL, SLOTS, OBS) /* what the games write */ \
    X(mask, uint8_t, "?", ALL, SLOTS, CHOICES)   /* legal choices, by the games */ \
    X(action, int32_t, "i4", ALL, AGENTS, HEADS) /* what the games read */ \
    X(axis, float, "f4", ALL, AGENTS, AXES)      /* what the games read */ \
    X(reward, float, "f4", ALL, AGENTS, ONE)     /* of the last step */ \
    X(alive, uint8_t, "?", ALL, AGENTS, ONE) \
    X(slot, int64_t, "i8", ALL, AGENTS, ONE)    /* of the current observation */ \
    X(row_end, int64_t, "i8", ALL, AGENTS, ONE) /* slot behind the row; -1: none */ \
    X(final_log, double, "f8", ALL, ENVS, LOGS) /* of episodes that just ended */ \
    X(has_final_log, uint8_t, "?", ALL, ENVS, ONE) \
    X(termination, uint8_t, "?", FLAT, AGENTS, ONE) /* of the last step */ \
    X(truncation, uint8_t, "?", FLAT, AGENTS, ONE) \
    X(final_observation, char, "obs", FLAT, AGENTS, OBS) /* PUF_SAME_STEP */ \
    X(final_mask, uint8_t, "?", FLAT, AGENTS, CHOICES)   /* the choices that they left */ \
    X(has_final, uint8_t, "?", FLAT, AGENTS, ONE) \
    X(needs_reset, uint8_t, "?", FLAT, ENVS, ONE) /* the episode ended in an earlier step */ \
    X(pool_reward, float, "f4", ROWS, POOL, ONE) \
    X(pool_done, uint8_t, "u1", ROWS, POOL, ONE) /* PufDone */ \
    X(pool_segment_start, uint8_t, "?", ROWS, POOL, ONE) \
    X(pool_action, int32_t, "i4", ROWS, POOL, HEADS) /* this to pool_version: by the policy */ \
    X(pool_axis, float, "f4", ROWS, POOL, AXES)      /* the unclipped sample */ \
    X(pool_logprob, float, "f4", ROWS, POOL, ONE) \
    X(pool_value, float, "f4", ROWS, POOL, ONE) \
    X(pool_next_value, float, "f4", ROWS, POOL, ONE) \
    X(pool_version, int32_t, "i4", ROWS, POOL, ONE) \
    X(life_start, uint8_t, "?", ROWS, AGENTS, ONE)      /* first observation of a life */ \
    X(bootstrap_slot, int64_t, "i8", ROWS, AGENTS, ONE) /* slot that waits for a value; -1 */ \
    X(final_slot, int64_t, "i8", ROWS, FINALS, ONE)     /* whose next_value they decide */ \
    X(final_agent, int32_t, "i4", ROWS, FINALS, ONE)

typedef struct PufArrays {
#define PUF_MEMBER(name, T, code, modes, rows, shape) T *name;
    PUF_ARRAYS(PUF_MEMBER)
#undef PUF_MEMBER
} PufArrays;

// What the outside must allocate for one array.
typedef struct PufArrayInfo {
    const char *name, *code; // numpy type, "obs": the game's dtype
    int64_t dims[2 + PUF_MAX_DIMS];
    int64_t usual; // of dims[0], from the first on: what agents use that never die
    int32_t ndim;
    int32_t present; // 0: not in this mode, or of no use to this game
} PufArrayInfo;

// Running count, mean and spread of one log field (Welford 1962).
typedef struct PufStat {
    double mean, m2, min, max;
} PufStat;

typedef enum {
    PUF_STEP_OK,
    PUF_STEP_FAULT,     // a debug object found a broken rule: see PufFault
    PUF_STEP_FINALS,    // fewer final slots free than agents: evaluate them first
    PUF_STEP_FULL,      // fewer rows free than agents: take a batch first
    PUF_STEP_EMPTY,     // nobody has been alive for longer than a horizon
    PUF_STEP_INVARIANT, // `check` found one: see PufFault
} PufStepStatus;

typedef struct PufFault {
    const char *text, *head; // head: the name that ends the text, or NULL
    int32_t env, agent;
    int64_t step;
} PufFault;

typedef struct PufEngine {
    const PufSpec *spec;
    PufOptions options;
    int32_t env_agents, num_heads, num_axes, num_choices;
    int64_t num_agents, num_slots, obs_stride;
    int32_t obs_dims[PUF_MAX_DIMS], obs_ndim;
    PufHead heads[PUF_MAX_HEADS];
    PufAxis axes[PUF_MAX_AXES];
    PufArrays arrays;
    PufColumns columns;
    PufRows rows;
    PufThreads *threads;
    void *config, *shared;
    char *envs;             // (E) of spec->env_size bytes
    PufIO io;               // the first env's
    PufNote *notes;         // (E)
    uint8_t *dones;         // (A) PufDone of the step at hand
    int64_t *final_slots;   // (A) in place of `slot`, while final observations are written
    uint32_t *events;       // (E) envs with something to see to
    int32_t *final_at;      // (E + 1) by event: its first final slot; at last: the first free one
    int32_t *live;          // (A) the last answer of puf_engine_live
    PufStat *stats;         // (L)
    double num_logs;        // episodes and records in `stats`
    int64_t steps, starved; // since reset; steps in a row with nobody alive
    int32_t num_init, num_final, num_live;
    uint8_t any_final, any_log; // flat: the last step set some final_mask; some final_log_mask
    PufFault fault;
} PufEngine;

// Sizes and shapes only; nothing is allocated. -> PufStatus.
int puf_engine_plan(PufEngine *engine, const PufSpec *spec, const void *config,
                    const PufOptions *options);
// The arrays that `arrays` must point to before puf_engine_open. -> how many rows of `out` are
// written; `member` gets the place of each pointer.
enum { PUF_MAX_ARRAYS = 32 };
int puf_engine_arrays(PufEngine *engine, PufArrayInfo out[PUF_MAX_ARRAYS],
                      void **member[PUF_MAX_ARRAYS]);
// Makes the envs of `seeds` (E). After an error, puf_engine_close. -> PufStatus.
int puf_engine_open(PufEngine *engine, const uint64_t *seeds, const char **why);
// `forked`: called in a child process, where the threads do not exist.
void puf_engine_close(PufEngine *engine, int forked);

// New episodes in all envs, or those of `which` (E flags; not PUF_ROWS); `seeds` (E), or NULL: go
// on with the streams at hand. PUF_ROWS: every row becomes free first. -> PufStatus.
int puf_engine_reset(PufEngine *engine, const uint64_t *seeds, const uint8_t *which,
                     const char **why);
PufStepStatus puf_engine_step(PufEngine *engine, int32_t begin, int32_t end);
// What debug objects found in these envs and, with `check`, the invariants: part of each step, and
// for the outside to call after a reset.
PufStepStatus puf_engine_look(PufEngine *engine, int32_t begin, int32_t end);

// Takes discrete actions (A, K) of 4 or 8 bytes. -> -1, or the index of the first out of range.
int64_t puf_engine_act(PufEngine *engine, const void *actions, int item_bytes);
// Takes axes (A, X), clipped; 4 or 8 bytes. -> -1, or the index of the first that is not a number.
int64_t puf_engine_steer(PufEngine *engine, const void *axes, int item_bytes);

// Slot of the first agent of the range if agent a's is that + a * H for all of them, else -1.
int64_t puf_engine_lattice(const PufEngine *engine, int32_t begin, int32_t end);
// Live agents of envs [begin, end), ascending, in engine->live. -> how many.
int32_t puf_engine_live(PufEngine *engine, int32_t begin, int32_t end);
// All invariants of rows and agents. -> NULL, or the first that does not hold.
const char *puf_engine_check(const PufEngine *engine);

// engine.c and finish.c: the envs of engine->events[0, count), each after its step.
void puf_finish(PufEngine *engine, size_t count);
// The env's log is read, cleared and, in (b), counted.
void puf_take_log(PufEngine *engine, uint32_t env);
void puf_count_log(PufEngine *engine, uint32_t env);
// Runs `run` over `count` items in blocks, in parallel where it pays.
typedef void (*PufItems)(PufEngine *engine, size_t begin, size_t end);
void puf_blocks(PufEngine *engine, PufItems run, size_t count, size_t block);
void puf_observe_events(PufEngine *engine, size_t begin, size_t end);

#endif
