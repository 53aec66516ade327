// pufferenv/engine/episode_log.c - logs of ended episodes, and their statistics between two reads.
//
// A game adds up its log during the episode. The engine moves it to final_log in parallel and adds
// it to the statistics in env order, so that rounding does not depend on the number of threads.
#include <string.h>

#include "pufferenv/engine/engine_internal.h"

void puf_take_log(PufEngine *e, uint32_t i) {
    void *log = e->envs + (size_t)i * e->spec->env_size; // the first member of every Env
    memcpy(e->arrays.final_log + (size_t)i * e->spec->num_log, log,
           e->spec->num_log * sizeof(double));
    memset(log, 0, e->spec->log_size);
    e->arrays.has_final_log[i] = 1;
}

void puf_count_log(PufEngine *e, uint32_t i) {
    const double *log = e->arrays.final_log + (size_t)i * e->spec->num_log;
    e->any_log = 1;
    e->num_logs += 1;
    for (uint32_t f = 0; f < e->spec->num_log; f++) {
        PufStat *s = &e->stats[f];
        if (e->num_logs == 1) *s = (PufStat){.min = log[f], .max = log[f]};
        const double delta = log[f] - s->mean;
        s->mean += delta / e->num_logs;
        s->m2 += delta * (log[f] - s->mean);
        s->min = log[f] < s->min ? log[f] : s->min;
        s->max = log[f] > s->max ? log[f] : s->max;
    }
}
