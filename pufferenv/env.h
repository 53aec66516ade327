// pufferenv/env.h - the contract between a game and the engine. C17, libc only.
//
// A game is one header. It defines the PUF_ macros, includes this file, and then defines
// `struct Env` and the env_ functions below. It contains the rules of the game and nothing else:
// the engine owns buffers, rows, resets, threads and seeds.
//
//   PUF_NAME "squared"                           name, the same as the file's
//   PUF_DOC "One line."                          description of the game
//   PUF_AGENTS(c) 1                              agents of one env
//   PUF_OBS(c) uint8_t, c->size, c->size         element type, then up to 4 dimensions
//   PUF_ACTIONS(X) X(move, 5, "stay, ...")       discrete heads: name, number of choices, doc
//   PUF_AXES(X) X(steer, -1, 1, "left, right")   continuous axes: name, low, high, doc
//   PUF_CONFIG(X) X(int32_t, size, 11, 3, 64, "side, in cells")  type, name, default, min, max, doc
//   PUF_LOG(X) X(score, "points of the episode") fields of the log, each a double: name, doc
//   PUF_MASK                                     (no value) the game masks discrete choices
//   PUF_LOAD                                     (no value) the game has env_load and env_unload
//   PUF_VIEW(c) 11, 13                           the game has env_draw, see draw.h; the world's size
//   PUF_PACE(c) 15                               steps per second for a person
//   PUF_KEYS(X) X(move, 1, "down s", "down")     keys for a person: head or axis, choice or value,
//                                                keys, label
//
// `c` is a const Config *. Element types are uint8_t, int8_t, int32_t and float. A game has heads,
// axes or both; PUF_CONFIG and PUF_LOG may be empty.
//
// The engine calls env_init once per env, then for each episode env_reset and env_observe, and for
// each step env_step and env_observe. Where a life or an episode ends, env_observe may also be
// called between env_step and env_reset, for the final observation. env_close comes last.
#ifndef PUF_ENV_H
#define PUF_ENV_H

#include <assert.h>
#include <string.h>

#include "pufferenv/contract/spec.h"
#include "pufferenv/draw.h"

#ifndef PUF_NAME
#error "PUF_NAME is missing. Example: #define PUF_NAME \"squared\""
#endif
#ifndef PUF_DOC
#error "PUF_DOC is missing. Example: #define PUF_DOC \"Find the target before the clock runs out.\""
#endif
#ifndef PUF_AGENTS
#error "PUF_AGENTS is missing. Example, agents of one env: #define PUF_AGENTS(c) 1"
#endif
#ifndef PUF_OBS
#error "PUF_OBS is missing. Example, type and shape: #define PUF_OBS(c) float, 4"
#endif
#if !defined(PUF_ACTIONS) && !defined(PUF_AXES)
#error "PUF_ACTIONS is missing. Example: #define PUF_ACTIONS(X) X(move, 2, \"left, right\")"
#endif
#ifndef PUF_CONFIG
#error "PUF_CONFIG is missing. Example: #define PUF_CONFIG(X) X(int32_t, size, 11, 3, 64, \"side\")"
#endif
#ifndef PUF_LOG
#error "PUF_LOG is missing. Example: #define PUF_LOG(X) X(score, \"points of the episode\")"
#endif
#if !defined(PUF_VIEW) && (defined(PUF_PACE) || defined(PUF_KEYS))
#error "PUF_PACE and PUF_KEYS need PUF_VIEW and env_draw. Example: #define PUF_VIEW(c) 10, 10"
#endif
#ifndef PUF_ACTIONS
#define PUF_ACTIONS(X)
#endif
#ifndef PUF_AXES
#define PUF_AXES(X)
#endif

// --- random numbers -----------------------------------------------------------------------
// splitmix64, https://prng.di.unimi.it/splitmix64.c. An env keeps its own stream in its Env, seeded
// in env_init, so that envs never share state.
typedef struct PufRng {
    uint64_t state;
} PufRng;

static inline uint64_t puf_rand(PufRng *rng) {
    uint64_t z = (rng->state += 0x9e3779b97f4a7c15u);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

// Uniform in [0, n), n > 0, by multiply and shift; the bias is below n / 2^32.
static inline int32_t puf_below(PufRng *rng, int32_t n) {
    assert(n > 0);
    return (int32_t)(((puf_rand(rng) >> 32) * (uint64_t)n) >> 32);
}

// Uniform in [low, high), of 24 random bits, which a float holds exactly.
static inline float puf_uniform(PufRng *rng, float low, float high) {
    return low + (high - low) * ((float)(puf_rand(rng) >> 40) * 0x1p-24f);
}

// --- types that follow from the PUF_ macros -----------------------------------------------
#define PUF_FIRST_(a, ...) a
#define PUF_FIRST(...) PUF_FIRST_(__VA_ARGS__)
#define PUF_REST_(a, ...) __VA_ARGS__
#define PUF_REST(...) PUF_REST_(__VA_ARGS__)

#define PUF_COUNT_HEAD_(name, n, doc) +1
#define PUF_COUNT_AXIS_(name, low, high, doc) +1

typedef PUF_FIRST(PUF_OBS(c)) obs_t; // one entry of an observation

// The config of one vector env: a member for each row of PUF_CONFIG.
#define PUF_MEMBER_(T, name, init, min, max, doc) T name;
typedef struct Config {
    PUF_CONFIG(PUF_MEMBER_)
} Config;
#undef PUF_MEMBER_

// The log of the current episode: a member for each row of PUF_LOG. The engine reads and clears it
// after puf_end and puf_record, and keeps count, mean and spread of each field.
#define PUF_MEMBER_(name, doc) double name;
typedef struct Log {
    PUF_LOG(PUF_MEMBER_)
} Log;
#undef PUF_MEMBER_

// --- functions that a game defines --------------------------------------------------------
typedef struct Env Env; // the state of one env; its first member is `Log log;`
// Makes an env in zeroed memory. `config` is valid only during the call. -> PUF_OK, or
// PUF_ERR_CONFIG or PUF_ERR_MEMORY with the reason in `why`.
static int env_init(Env *env, const Config *config, uint64_t seed, const char **why);
static void env_reset(Env *env, PufIO *io);         // begins an episode; all agents are alive
static void env_step(Env *env, PufIO *io);          // applies actions; reports rewards and ends
static void env_observe(const Env *env, PufIO *io); // writes all entries for each live agent
static void env_close(Env *env);                    // frees what env_init made; Env may be zeroed
#ifdef PUF_LOAD
// Loads tables, maps or assets once per vector env, before any env_init. All threads read the
// result as io->shared and must not change it. -> as env_init.
static int env_load(const Config *config, void **shared, const char **why);
static void env_unload(void *shared); // frees it; may be NULL
#endif
#ifdef PUF_VIEW
// Draws the env as it is between two steps. Only the drawing object, which is compiled from the same
// header (contract/drawing.h), calls it; the simulation's object has no trace of it.
__attribute__((unused)) static void env_draw(const Env *env, PufCanvas *c);
#else
// An env_draw that nothing would ever call is an error.
#define env_draw \
    _Pragma("GCC error \"env_draw needs #define PUF_VIEW(c) 10, 10 above the #include\"") \
        __attribute__((unused)) env_draw
#endif

// A rule of the contract. Debug objects note the first one that does not hold, and the engine
// raises it with game, env, agent and step. Release objects do not check.
#ifdef PUF_DEBUG
#define PUF_RULE(io, a, holds, text) \
    ((holds) || (io)->note->fault \
         ? (void)0 \
         : (void)((io)->note->fault = (text), (io)->note->fault_agent = (a)))
#else
#define PUF_RULE(io, a, holds, text) ((void)0)
#endif

// --- functions that a game calls for agent `a`, 0 <= a < io->num_agents ----------------------
// In env_observe: the agent's observation, to be written in full.
static inline obs_t *puf_obs(PufIO *io, int a) {
    assert(0 <= a && a < io->num_agents);
    PUF_RULE(io, a, io->alive[a], "observes for a dead agent");
    return (obs_t *)(void *)(io->obs + (size_t)io->slot[a] * io->obs_stride);
}
#ifdef PUF_MASK
// In env_observe: one entry per choice, head after head, 1 on entry; write 0 if a choice is not
// legal next. At least one choice of each head must stay legal.
static inline uint8_t *puf_mask(PufIO *io, int a) {
    assert(0 <= a && a < io->num_agents);
    return io->mask + (size_t)io->slot[a] * io->mask_stride;
}
#endif
// In env_step: the choice of each discrete head.
static inline const int32_t *puf_action(PufIO *io, int a) {
    enum { HEADS = 0 PUF_ACTIONS(PUF_COUNT_HEAD_) };
    assert(0 <= a && a < io->num_agents);
    PUF_RULE(io, a, io->row_end[a] >= 0, "acts for an agent that was dead when the step began");
    return io->actions + (size_t)a * HEADS;
}
// In env_step: the value of each continuous axis, within its [low, high].
static inline const float *puf_axes(PufIO *io, int a) {
    enum { AXES = 0 PUF_AXES(PUF_COUNT_AXIS_) };
    assert(0 <= a && a < io->num_agents);
    PUF_RULE(io, a, io->row_end[a] >= 0, "acts for an agent that was dead when the step began");
    return io->axes + (size_t)a * AXES;
}
// In env_step: adds to the agent's reward. Legal for every agent that was alive when the step
// began, also after its puf_die.
static inline void puf_reward(PufIO *io, int a, float value) {
    assert(0 <= a && a < io->num_agents);
    PUF_RULE(io, a, io->row_end[a] >= 0, "rewards an agent that was dead when the step began");
    io->rewards[a] += value;
}
// In env_step: ends the agent's life. If its row is not full, an agent that spawns later continues
// it.
static inline void puf_die(PufIO *io, int a) {
    assert(0 <= a && a < io->num_agents);
    PUF_RULE(io, a, io->alive[a], "kills a dead agent");
    PUF_RULE(io, a, io->dones[a] != PUF_TRUNCATED, "kills an agent that was cut in this step");
    io->dones[a] = PUF_TERMINAL, io->alive[a] = 0, io->note->event = 1;
}
// In env_step: truncates the agent's life. It observes once more, its final observation, and is
// then dead until a puf_spawn in a later step.
static inline void puf_cut(PufIO *io, int a) {
    assert(0 <= a && a < io->num_agents);
    PUF_RULE(io, a, io->alive[a], "cuts a dead agent");
    PUF_RULE(io, a, io->dones[a] == PUF_LIVE, "cuts an agent whose life ended in this step");
    io->dones[a] = PUF_TRUNCATED, io->note->event = 1;
}
// In env_step: begins a life of a dead agent, also right after its puf_die in the same step.
static inline void puf_spawn(PufIO *io, int a) {
    assert(0 <= a && a < io->num_agents);
    PUF_RULE(io, a, !io->alive[a], "spawns a live agent");
    io->alive[a] = 1, io->note->event = 1;
}
// In env_reset: the agent is not in the game when the episode begins.
static inline void puf_absent(PufIO *io, int a) {
    assert(0 <= a && a < io->num_agents);
    io->alive[a] = 0;
}
// In env_step: ends the episode for every live agent. PUF_TERMINAL takes precedence over
// PUF_TRUNCATED.
static inline void puf_end(PufIO *io, PufDone why) {
    PUF_RULE(io, -1, why == PUF_TERMINAL || why == PUF_TRUNCATED, "ends an episode with PUF_LIVE");
    if (io->note->over != PUF_TERMINAL) io->note->over = (uint8_t)why;
    io->note->event = 1;
}
// In env_step: the engine reads and clears the log although no episode ended, for a game whose
// episodes never end.
static inline void puf_record(PufIO *io) { io->note->record = 1, io->note->event = 1; }
#endif
