// tests/c/random_play.h - an engine whose agents act at random, for programs run by the sanitizers.
//
// Every array has exactly the size that the engine asks for, so that a write past it is found.
#ifndef PUF_RANDOM_PLAY_H
#define PUF_RANDOM_PLAY_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "pufferenv/engine/engine.h"

static uint64_t random_state = 1;
static uint32_t below(uint32_t n) {
    random_state = random_state * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)((random_state >> 33) % n);
}

static void stop(const char *text) {
    fprintf(stderr, "%s\n", text);
    exit(1);
}

static uint64_t hash(uint64_t h, const void *data, size_t bytes) { // FNV-1a
    for (size_t i = 0; i < bytes; i++) h = (h ^ ((const uint8_t *)data)[i]) * 0x100000001b3u;
    return h;
}

static void set_field(void *config, const PufField *field, double value) {
    char *at = (char *)config + field->offset;
    if (field->dtype == PUF_U8) *(uint8_t *)at = (uint8_t)value;
    if (field->dtype == PUF_I8) *(int8_t *)at = (int8_t)value;
    if (field->dtype == PUF_I32) *(int32_t *)at = (int32_t)value;
    if (field->dtype == PUF_F32) *(float *)at = (float)value;
}

// -> the default config of a game, which the caller frees.
static void *default_config(const PufSpec *spec) {
    void *config = calloc(1, spec->config_size + 1);
    if (!config) stop("no memory");
    for (uint32_t k = 0; k < spec->num_config; k++)
        set_field(config, &spec->config[k], spec->config[k].init);
    return config;
}

static size_t item_bytes(const PufEngine *e, const char *code) {
    if (strcmp(code, "obs") == 0)
        return e->spec->obs_dtype == PUF_U8 || e->spec->obs_dtype == PUF_I8 ? 1 : 4;
    return code[0] == '?' ? 1 : (size_t)(code[1] - '0');
}

typedef struct Player {
    PufEngine e;
    void *arrays[PUF_MAX_ARRAYS];
    int num_arrays;
} Player;

static void player_close(Player *p) {
    puf_engine_close(&p->e, 0);
    for (int k = 0; k < p->num_arrays; k++) free(p->arrays[k]);
}

// Makes envs with the seeds 1, 2, ... -> NULL, or why the game refuses the config; then there is
// nothing to close.
static const char *player_open(Player *p, const PufSpec *spec, const void *config,
                               const PufOptions *options) {
    PufArrayInfo infos[PUF_MAX_ARRAYS];
    void **members[PUF_MAX_ARRAYS];
    const char *why = NULL;
    *p = (Player){.num_arrays = 0};
    if (puf_engine_plan(&p->e, spec, config, options)) stop("no memory");
    p->num_arrays = puf_engine_arrays(&p->e, infos, members);
    for (int k = 0; k < p->num_arrays; k++) {
        if (!infos[k].present) continue;
        size_t bytes = item_bytes(&p->e, infos[k].code);
        for (int d = 0; d < infos[k].ndim; d++) bytes *= (size_t)infos[k].dims[d];
        p->arrays[k] = *members[k] = aligned_alloc(64, (bytes + 64) / 64 * 64);
        if (!p->arrays[k]) stop("no memory");
        memset(p->arrays[k], 0, bytes);
    }
    uint64_t *seeds = malloc((size_t)options->num_envs * sizeof(uint64_t));
    for (int i = 0; i < options->num_envs; i++) seeds[i] = (uint64_t)i + 1;
    const int status = puf_engine_open(&p->e, seeds, &why);
    free(seeds);
    if (!status) return NULL;
    player_close(p);
    return why ? why : "cannot open";
}

// Chooses an action of every agent at random.
static void player_choose(Player *p) {
    PufEngine *e = &p->e;
    for (int64_t a = 0; a < e->num_agents; a++) {
        for (int k = 0; k < e->num_heads; k++)
            e->arrays.action[a * e->num_heads + k] = (int32_t)below((uint32_t)e->heads[k].n);
        for (int k = 0; k < e->num_axes; k++)
            e->arrays.axis[a * e->num_axes + k] =
                e->axes[k].low + (e->axes[k].high - e->axes[k].low) * (float)below(1001) / 1000;
    }
}

// Steps all envs. An env without a live agent, which can happen in random play, begins again.
static void player_step(Player *p) {
    PufEngine *e = &p->e;
    const char *why = NULL;
    switch (puf_engine_step(e, 0, e->options.num_envs)) {
    case PUF_STEP_OK:
        break;
    case PUF_STEP_EMPTY:
        if (puf_engine_reset(e, NULL, NULL, &why)) stop("cannot reset");
        break;
    default:
        stop(e->fault.text ? e->fault.text : "step refused");
    }
}
#endif
