// bench/bare.c - the loop that bench/engine.py compares the engine with. It steps one-agent envs of
// one game, one after the other in one thread, writes into the same slots as the engine, and does
// nothing else.
//     cc -O3 -I. -DPUF_GAME='"ocean/squared.h"' -shared -fPIC -o bare.so bench/bare.c
#include <stdlib.h>

#include PUF_GAME
#include "pufferenv/engine/engine.h"

enum { HEADS = 0 PUF_ACTIONS(PUF_COUNT_HEAD_) };

// Letters: E envs, H horizon. Env i owns rows i and E + i and fills them in turn.
typedef struct Bare {
    Env *envs;           // (E)
    PufIO *ios;          // (E)
    PufNote *notes;      // (E)
    float *step_rewards; // (E) written by the game
    int32_t *actions;    // (E, heads) read by the game; copied here, as in the engine
    uint8_t *states;     // (2, E) dones, alive
    int64_t *slots;      // (2, E) slot, row_end
    float *reward;       // (2 * E, H)
    uint8_t *done;       // (2 * E, H)
    int64_t horizon, num_envs, time;
} Bare;

void bare_free(Bare *b) {
    if (!b) return;
    for (int64_t i = 0; b->envs && i < b->num_envs; i++) env_close(b->envs + i);
    free(b->envs), free(b->ios), free(b->notes), free(b->step_rewards), free(b->actions),
        free(b->states), free(b->slots), free(b);
}

// `obs` (2 * E, H, obs_bytes), `reward` and `done` (2 * E, H) belong to the caller. -> NULL on failure.
Bare *bare_new(int64_t num_envs, int64_t horizon, const void *config, const uint64_t *seeds,
               char *obs, size_t obs_bytes, float *reward, uint8_t *done) {
    Bare *b = calloc(1, sizeof(Bare));
    const size_t n = (size_t)num_envs;
    if (!b) return NULL;
    b->num_envs = num_envs, b->horizon = horizon, b->reward = reward, b->done = done;
    b->envs = calloc(n, sizeof(Env)), b->ios = calloc(n, sizeof(PufIO));
    b->notes = calloc(n, sizeof(PufNote));
    b->step_rewards = calloc(n, sizeof(float)), b->states = calloc(2 * n, 1);
    b->slots = calloc(2 * n, sizeof(int64_t));
    b->actions = calloc(n * HEADS, sizeof(int32_t));
    if (!b->actions || !b->envs || !b->ios || !b->notes || !b->step_rewards || !b->states ||
        !b->slots)
        goto failed;
    for (int64_t i = 0; i < num_envs; i++) {
        const char *why = NULL;
        if (env_init(b->envs + i, config, seeds[i], &why) != PUF_OK) goto failed;
        PufIO *io = b->ios + i;
        *io = (PufIO){.obs = obs, .obs_stride = obs_bytes, .num_agents = 1};
        io->actions = b->actions + i * HEADS;
        io->rewards = b->step_rewards + i, io->note = b->notes + i;
        io->dones = b->states + i, io->alive = b->states + num_envs + i;
        io->slot = b->slots + i, io->row_end = b->slots + num_envs + i;
        *io->alive = 1, *io->slot = i * horizon;
        env_reset(b->envs + i, io);
        env_observe(b->envs + i, io);
    }
    return b;
failed:
    bare_free(b);
    return NULL;
}

// Prefetches a slot as the engine does (envs_ahead in contract/game.c); the slots of consecutive
// envs are a row apart.
static void fetch_slot(const Bare *b, int64_t slot) {
    const int64_t bytes = (int64_t)b->ios->obs_stride;
    const char *obs = b->ios->obs + slot * bytes;
    for (int64_t at = 0; at < bytes && at < 512; at += 64) __builtin_prefetch(obs + at, 1);
    __builtin_prefetch(obs + (bytes < 512 ? bytes : 512) - 1, 1);
}

// The sets of `actions` (num_sets, E, heads) are used in turn. Slots are prefetched `ahead` envs
// ahead; 0 turns prefetching off.
void bare_run(Bare *b, const int32_t *actions, int64_t num_sets, int64_t steps, int64_t ahead) {
    for (int64_t end = b->time + steps; b->time < end; b->time++) {
        const int32_t *set = actions + b->time % num_sets * b->num_envs * HEADS;
        memcpy(b->actions, set, (size_t)(b->num_envs * HEADS) * sizeof(int32_t));
        const int64_t next = b->time + 1, half = next / b->horizon % 2;
        for (int64_t i = 0; i < b->num_envs; i++) {
            Env *env = b->envs + i;
            PufIO *io = b->ios + i;
            if (ahead && i + ahead < b->num_envs)
                fetch_slot(b, (half * b->num_envs + i + ahead) * b->horizon + next % b->horizon);
            *io->rewards = 0;
            env_step(env, io);
            b->reward[*io->slot] = *io->rewards;
            b->done[*io->slot] = io->note->over;
            if (io->note->over) {
                io->note->over = io->note->event = 0;
                memset(&env->log, 0, sizeof(Log));
                env_reset(env, io);
            }
            *io->slot = (half * b->num_envs + i) * b->horizon + next % b->horizon;
            env_observe(env, io);
        }
    }
}

// Runs the built engine in the same loop: `step` and `release` are its functions, `engine` is its
// struct. A batch of all agents' rows is released as soon as it is full.
void engine_run(PufEngine *engine, PufStepStatus (*step)(PufEngine *, int32_t, int32_t),
                int (*release)(PufRows *, int32_t), const int32_t *actions, int64_t num_sets,
                int64_t time, int64_t steps) {
    const int64_t count = engine->num_agents * engine->num_heads;
    for (int64_t end = time + steps; time < end; time++) {
        memcpy(engine->arrays.action, actions + time % num_sets * count, (size_t)count * 4);
        step(engine, 0, engine->options.num_envs);
        engine->num_final = 0;
        if (engine->rows.full.count >= engine->options.batch_rows)
            release(&engine->rows, engine->options.batch_rows);
    }
}
