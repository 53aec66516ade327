// pufferenv/engine/engine.h - all envs of one vector env: memory, threads, resets, rows. No Python.
//
// A step has three phases:
//   (a) parallel: the games step. An env in which only time passed observes at once. The others are
//       collected as events: their final observations are stored and ended episodes are reset.
//   (b) one thread: rows are closed and handed out, in env order, then agent order.
//   (c) parallel: the envs with events observe.
// The number of threads and their timing never change a result.
//
// Letters: E envs, n agents of one env, A = E * n agents, R rows, H horizon, F final slots,
// S = R * H slots, K discrete heads, C the sum of their choices, X axes, L log fields.
#ifndef PUF_ENGINE_H
#define PUF_ENGINE_H

#include "pufferenv/contract/spec.h"
#include "pufferenv/engine/rows.h"
#include "pufferenv/engine/thread_pool.h"

// When an env is reset whose episode ended. PUF_ROWS resets in the same step, as PUF_SAME_STEP.
typedef enum { PUF_ROWS, PUF_SAME_STEP, PUF_NEXT_STEP, PUF_DISABLED } PufMode;

typedef struct PufOptions {
    int32_t mode, num_envs, num_threads;               // PufMode, E, threads with the caller's
    int32_t horizon, num_rows, batch_rows, num_finals; // PUF_ROWS only: H, R, rows of a batch, F
    int32_t check;                                     // verify all invariants after each step
} PufOptions;

// Every array that callers see; the caller allocates them. One line here gives an array its
// pointer, its size and its Python name: name, element type, numpy type ("obs": the game's), the
// modes that have it, its rows, and the shape of each row.
//   AGENTS A   ENVS E   POOL (R, H)   FINALS F
//   SLOTS: in PUF_ROWS the pool, then F final slots, then one sink slot per env; otherwise A
// Columns of the pool have the prefix pool_ (observation and mask get it in Python, where the slots
// are divided); arrays of the current step have none.
#define PUF_ARRAYS(X) \
    X(observation, char, "obs", ALL, SLOTS, OBS)    /* written by the games */ \
    X(mask, uint8_t, "?", ALL, SLOTS, CHOICES)      /* legal choices, written by the games */ \
    X(action, int32_t, "i4", ALL, AGENTS, HEADS)    /* read by the games */ \
    X(axis, float, "f4", ALL, AGENTS, AXES)         /* read by the games */ \
    X(reward, float, "f4", ALL, AGENTS, ONE)        /* of the last step */ \
    X(alive, uint8_t, "?", ALL, AGENTS, ONE)        /* acts in the next step */ \
    X(slot, int64_t, "i8", ALL, AGENTS, ONE)        /* of the current observation */ \
    X(row_end, int64_t, "i8", ALL, AGENTS, ONE)     /* first slot after the row; -1: no row */ \
    X(final_log, double, "f8", ALL, ENVS, LOGS)     /* of the episode that just ended */ \
    X(has_final_log, uint8_t, "?", ALL, ENVS, ONE)  /* an episode just ended */ \
    X(termination, uint8_t, "?", FLAT, AGENTS, ONE) /* of the last step */ \
    X(truncation, uint8_t, "?", FLAT, AGENTS, ONE)  /* of the last step */ \
    X(final_observation, char, "obs", FLAT, AGENTS, OBS) /* PUF_SAME_STEP */ \
    X(final_mask, uint8_t, "?", FLAT, AGENTS, CHOICES)   /* the mask that goes with it */ \
    X(has_final, uint8_t, "?", FLAT, AGENTS, ONE)        /* the two above are of the last step */ \
    X(needs_reset, uint8_t, "?", FLAT, ENVS, ONE)        /* the episode ended earlier */ \
    X(pool_reward, float, "f4", ROWS, POOL, ONE)         /* written by the engine */ \
    X(pool_done, uint8_t, "u1", ROWS, POOL, ONE)         /* PufDone, written by the engine */ \
    X(pool_segment_start, uint8_t, "?", ROWS, POOL, ONE) /* written by the engine */ \
    X(pool_action, int32_t, "i4", ROWS, POOL, HEADS)     /* this to pool_version: the policy's */ \
    X(pool_axis, float, "f4", ROWS, POOL, AXES)          /* the sample before clipping */ \
    X(pool_logprob, float, "f4", ROWS, POOL, ONE)        /* of action and axis together */ \
    X(pool_value, float, "f4", ROWS, POOL, ONE)          /* of the observation */ \
    X(pool_next_value, float, "f4", ROWS, POOL, ONE)     /* at the end of a segment or life */ \
    X(pool_version, int32_t, "i4", ROWS, POOL, ONE)      /* of the weights that acted */ \
    X(life_start, uint8_t, "?", ROWS, AGENTS, ONE)       /* first observation of a life */ \
    X(bootstrap_slot, int64_t, "i8", ROWS, AGENTS, ONE)  /* it lacks a next_value; -1: none */ \
    X(final_slot, int64_t, "i8", ROWS, FINALS, ONE)      /* it lacks a next_value */ \
    X(final_agent, int32_t, "i4", ROWS, FINALS, ONE)     /* that observed it last */

typedef struct PufArrays {
#define PUF_MEMBER(name, T, code, modes, rows, shape) T *name;
    PUF_ARRAYS(PUF_MEMBER)
#undef PUF_MEMBER
} PufArrays;

// Size and type of one array, which the caller must allocate.
typedef struct PufArrayInfo {
    const char *name, *code; // numpy type; "obs": the game's dtype
    int64_t dims[2 + PUF_MAX_DIMS];
    int64_t usual;   // leading rows of dims[0] that are in use if no agent ever dies
    int32_t ndim;    // of dims
    int32_t present; // 0: this mode or game has no such array
} PufArrayInfo;

// Running mean and spread of one log field (Welford 1962).
typedef struct PufStat {
    double mean, m2, min, max;
} PufStat;

typedef enum {
    PUF_STEP_OK,
    PUF_STEP_FAULT,     // a game broke a rule, as debug objects and drawings report: see PufFault
    PUF_STEP_FINALS,    // fewer final slots are free than agents step: evaluate them first
    PUF_STEP_FULL,      // fewer rows are free than agents step: take a batch first
    PUF_STEP_EMPTY,     // no agent has been alive for longer than a horizon
    PUF_STEP_INVARIANT, // `check` found a broken invariant: see PufFault
} PufStepStatus;

typedef struct PufFault {
    const char *text, *head; // head: name that ends the text, or NULL
    int32_t env, agent;      // -1: not of one agent
    int64_t step;            // since reset
} PufFault;

typedef struct PufEngine {
    const PufSpec *spec;
    PufOptions options;
    int32_t env_agents, num_heads, num_axes, num_choices; // n, K, X, C
    int64_t num_agents, num_slots;                        // A; S, or A without rows
    int64_t obs_stride;                                   // bytes of one observation
    int32_t obs_dims[PUF_MAX_DIMS], obs_ndim;
    PufHead heads[PUF_MAX_HEADS];
    PufAxis axes[PUF_MAX_AXES];
    PufArrays arrays;
    PufColumns columns;
    PufRows rows;
    PufThreadPool *threads;
    void *config, *shared; // a copy of the config; data that the game loaded for all envs
    char *envs;            // (E) of spec->env_size bytes
    PufIO io;              // of the first env
    PufNote *notes;        // (E)
    uint8_t *dones;        // (A) PufDone of the current step
    int64_t *final_slots;  // (A) used instead of `slot` while final observations are written
    uint32_t *events;      // (E) envs in which more than time happened
    int32_t *final_at;     // (E + 1) first final slot of each event; at the end: the first free one
    int32_t *live;         // (A) the last result of puf_engine_live_agents
    PufStat *stats;        // (L)
    double num_logs;       // episodes and records in `stats`
    int64_t steps, starved;                // since reset; consecutive steps without a live agent
    int32_t num_init, num_final, num_live; // envs made, final slots in use, agents alive
    uint8_t any_final, any_log;            // the last step set a has_final; a has_final_log
    PufFault fault;
} PufEngine;

// --- life ---------------------------------------------------------------------------------
// Computes sizes and shapes; allocates nothing but the copy of the config. -> PufStatus.
int puf_engine_plan(PufEngine *engine, const PufSpec *spec, const void *config,
                    const PufOptions *options);
// Describes the arrays that `arrays` must point to before puf_engine_open, and gives the address of
// each pointer in `member`. -> number of arrays.
enum { PUF_MAX_ARRAYS = 32 };
int puf_engine_arrays(PufEngine *engine, PufArrayInfo out[PUF_MAX_ARRAYS],
                      void **member[PUF_MAX_ARRAYS]);
// Makes the envs from `seeds` (E). After an error, call puf_engine_close. -> PufStatus.
int puf_engine_open(PufEngine *engine, const uint64_t *seeds, const char **why);
// Frees everything. `forked`: the caller is a child process, in which the threads do not exist.
void puf_engine_close(PufEngine *engine, int forked);

// --- a step -------------------------------------------------------------------------------
// Begins new episodes in all envs, or in those of `which` (E flags; not in PUF_ROWS). `seeds` (E)
// re-creates the envs; NULL continues their random streams. PUF_ROWS: every row becomes free first.
// -> PufStatus.
int puf_engine_reset(PufEngine *engine, const uint64_t *seeds, const uint8_t *which,
                     const char **why);
// Steps envs [begin, end).
PufStepStatus puf_engine_step(PufEngine *engine, int32_t begin, int32_t end);
// Checks actions (A, K) of 4 or 8 bytes and copies them if all are in range. -> -1, or the index of
// the first that is out of range.
int64_t puf_engine_set_discrete_actions(PufEngine *engine, const void *actions, int item_bytes);
// Clips axes (A, X) of 4 or 8 bytes and copies them if none is NaN. -> -1, or the index of the
// first NaN.
int64_t puf_engine_set_continuous_actions(PufEngine *engine, const void *axes, int item_bytes);

// --- queries ------------------------------------------------------------------------------
// Reports the faults that debug objects and drawings found in envs [begin, end) and, with `check`,
// broken invariants. Every step calls it; the caller does so after a reset.
PufStepStatus puf_engine_check_faults(PufEngine *engine, int32_t begin, int32_t end);
// -> NULL, or the first invariant of rows and agents that does not hold.
const char *puf_engine_check(const PufEngine *engine);
// -> slot s of the first agent of envs [begin, end) if all their agents are alive and agent a's
// slot is s + a * H, so that their observations are one strided view; otherwise -1.
int64_t puf_engine_uniform_first_slot(const PufEngine *engine, int32_t begin, int32_t end);
// Writes the live agents of envs [begin, end) to engine->live, ascending. -> how many.
int32_t puf_engine_live_agents(PufEngine *engine, int32_t begin, int32_t end);

#endif
