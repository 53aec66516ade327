// tests/c/fuzz.c - random play of one game through the whole engine, for the sanitizers.
//
//     FILES="tests/c/fuzz.c pufferenv/contract/game.c pufferenv/engine/*.c"
//     cc -fsanitize=address,undefined -I. -DPUF_GAME='"ocean/squared.h"' -pthread $FILES -lm
//     ./a.out STEPS [THREADS]
//
// Every array has exactly the size that the engine asks for. Prints a hash of all observations,
// rewards and slots for each mode, with THREADS threads. Without THREADS it plays with three
// threads and with one, whose hashes must be equal.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "pufferenv/engine/engine.h"

extern const PufSpec puf_spec;

static uint64_t random_state = 1;
static uint32_t below(uint32_t n) {
    random_state = random_state * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)((random_state >> 33) % n);
}

static void stop(const char *text) {
    fprintf(stderr, "fuzz: %s\n", text);
    exit(1);
}

static uint64_t hash(uint64_t h, const void *data, size_t bytes) { // FNV-1a
    for (size_t i = 0; i < bytes; i++) h = (h ^ ((const uint8_t *)data)[i]) * 0x100000001b3u;
    return h;
}

static void set_default(void *config, const PufField *field) {
    char *at = (char *)config + field->offset;
    if (field->dtype == PUF_U8) *(uint8_t *)at = (uint8_t)field->init;
    if (field->dtype == PUF_I8) *(int8_t *)at = (int8_t)field->init;
    if (field->dtype == PUF_I32) *(int32_t *)at = (int32_t)field->init;
    if (field->dtype == PUF_F32) *(float *)at = (float)field->init;
}

static size_t item_bytes(const PufEngine *e, const char *code) {
    if (strcmp(code, "obs") == 0)
        return e->spec->obs_dtype == PUF_U8 || e->spec->obs_dtype == PUF_I8 ? 1 : 4;
    return code[0] == '?' ? 1 : (size_t)(code[1] - '0');
}

static uint64_t play(int mode, int threads, int steps) {
    void *config = calloc(1, puf_spec.config_size + 1), *arrays[PUF_MAX_ARRAYS] = {0};
    for (uint32_t k = 0; k < puf_spec.num_config; k++) set_default(config, &puf_spec.config[k]);
    enum { ENVS = 37 };
    const int agents = ENVS * puf_spec.num_agents(config), batch = agents / 2 + 1;
    PufOptions options = {
        .mode = mode,
        .num_envs = ENVS,
        .num_threads = threads,
        .horizon = 7,
        .num_rows = batch + 2 * agents,
        .batch_rows = batch,
        .num_finals = 2 * agents,
        .check = 1,
    };
    PufEngine e;
    PufArrayInfo infos[PUF_MAX_ARRAYS];
    void **members[PUF_MAX_ARRAYS];
    uint64_t seeds[ENVS], h = 0xcbf29ce484222325u;
    const char *why = NULL;
    for (int i = 0; i < ENVS; i++) seeds[i] = (uint64_t)i + 1;
    if (puf_engine_plan(&e, &puf_spec, config, &options)) stop("no memory");
    int count = puf_engine_arrays(&e, infos, members);
    for (int k = 0; k < count; k++) {
        if (!infos[k].present) continue;
        size_t bytes = item_bytes(&e, infos[k].code);
        for (int d = 0; d < infos[k].ndim; d++) bytes *= (size_t)infos[k].dims[d];
        arrays[k] = *members[k] = aligned_alloc(64, (bytes + 64) / 64 * 64);
        memset(arrays[k], 0, bytes);
    }
    if (puf_engine_open(&e, seeds, &why)) stop(why ? why : "cannot open");
    random_state = 1;
    int32_t *rows = malloc((size_t)batch * sizeof(int32_t));
    for (int s = 0; s < steps; s++) {
        for (int64_t a = 0; a < e.num_agents; a++) {
            for (int k = 0; k < e.num_heads; k++)
                e.arrays.action[a * e.num_heads + k] = (int32_t)below((uint32_t)e.heads[k].n);
            for (int k = 0; k < e.num_axes; k++)
                e.arrays.axis[a * e.num_axes + k] =
                    e.axes[k].low + (e.axes[k].high - e.axes[k].low) * (float)below(1001) / 1000;
            if (mode == PUF_ROWS) e.arrays.bootstrap_slot[a] = -1;
        }
        if (mode == PUF_ROWS && options.num_finals - e.num_final < agents) e.num_final = 0;
        switch (puf_engine_step(&e, 0, ENVS)) {
        case PUF_STEP_OK:
            break;
        case PUF_STEP_EMPTY: // can happen in random play
            if (puf_engine_reset(&e, seeds, NULL, &why)) stop("cannot reset");
            break;
        default:
            stop(e.fault.text ? e.fault.text : "step refused");
        }
        h = hash(h, e.arrays.reward, (size_t)e.num_agents * sizeof(float));
        h = hash(h, e.arrays.alive, (size_t)e.num_agents);
        h = hash(h, e.arrays.slot, (size_t)e.num_agents * sizeof(int64_t));
        if (mode == PUF_DISABLED && s % 50 == 49 && puf_engine_reset(&e, NULL, NULL, &why))
            stop("reset");
        while (mode == PUF_ROWS && e.rows.full.count >= batch) {
            puf_rows_oldest(&e.rows, batch, rows);
            for (int r = 0; r < batch; r++)
                h = hash(h, e.arrays.observation + rows[r] * 7 * e.obs_stride,
                         (size_t)(7 * e.obs_stride));
            puf_rows_release(&e.rows, batch);
        }
    }
    puf_engine_close(&e, 0);
    for (int k = 0; k < count; k++) free(arrays[k]);
    free(rows), free(config);
    return h;
}

int main(int argc, char **argv) {
    const int steps = argc > 1 ? atoi(argv[1]) : 1000, threads = argc > 2 ? atoi(argv[2]) : 0;
    for (int mode = PUF_ROWS; mode <= PUF_DISABLED; mode++) {
        const uint64_t seen = play(mode, threads ? threads : 3, steps);
        if (!threads && play(mode, 1, steps) != seen) stop("one and three threads differ");
        printf("%d %016llx\n", mode, (unsigned long long)seen);
    }
    return 0;
}
