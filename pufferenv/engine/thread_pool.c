// pufferenv/engine/thread_pool.c - see thread_pool.h. POSIX threads: macOS has no C11 threads.
//
// The chunks of a job are divided into one lane per thread. Each thread works through its own lane
// and then helps with the others, so that the same chunk runs on the same core step after step and
// finds its memory in that core's cache, while a slow core delays no other.
#ifndef _POSIX_C_SOURCE
#define _POSIX_C_SOURCE 200809L // clock_gettime, under -std=c17 too
#endif
#include "pufferenv/engine/thread_pool.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { LINE = 64 }; // bytes of a cache line, of which every lane has its own

typedef struct Lane {
    _Alignas(LINE) atomic_size_t next; // the first chunk that no thread took
    size_t end;                        // under `lock`
} Lane;

struct PufThreadPool {
    pthread_mutex_t lock;
    pthread_cond_t start, finish; // a job opened, or `quit` was set; the last worker left
    PufChunk run;                 // of the current job; under `lock`, as all below
    void *job;
    Lane *lanes;        // (count)
    atomic_int active;  // workers in the job; increased under `lock`
    int open, quit;     // the job may be joined; the workers must end
    atomic_uint serial; // of the job: no worker joins one twice; increased under `lock`
    int64_t patience;   // nanoseconds of waiting before a thread sleeps
    int count;          // threads, the caller's included
    int born;           // workers that have started
    pthread_t workers[];
};

static int64_t now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec * (int64_t)1000000000 + time.tv_nsec;
}

static void take_chunks(PufThreadPool *t, int first, PufChunk run, void *job) {
    for (int k = 0; k < t->count; k++) {
        Lane *lane = &t->lanes[(first + k) % t->count];
        for (;;) {
            size_t chunk = atomic_fetch_add(&lane->next, 1);
            if (chunk >= lane->end) break;
            run(job, chunk);
        }
    }
}

static void *work(void *self) {
    PufThreadPool *t = self;
    unsigned seen = 0;
    pthread_mutex_lock(&t->lock);
    const int me = ++t->born;
    while (!t->quit) {
        if (!t->open || t->serial == seen) {
            pthread_cond_wait(&t->start, &t->lock);
            continue;
        }
        seen = t->serial;
        atomic_fetch_add(&t->active, 1);
        PufChunk run = t->run;
        void *job = t->job;
        pthread_mutex_unlock(&t->lock);
        take_chunks(t, me, run, job);
        pthread_mutex_lock(&t->lock);
        if (atomic_fetch_sub(&t->active, 1) == 1) pthread_cond_signal(&t->finish);
        pthread_mutex_unlock(&t->lock);
        for (int64_t end = now() + t->patience; atomic_load(&t->serial) == seen && now() < end;)
            sched_yield(); // the next step often follows at once
        pthread_mutex_lock(&t->lock);
    }
    pthread_mutex_unlock(&t->lock);
    return NULL;
}

PufThreadPool *puf_thread_pool_new(int count, int64_t patience) {
    size_t workers = (size_t)(count - 1);
    PufThreadPool *t = calloc(1, sizeof(PufThreadPool) + workers * sizeof(pthread_t));
    if (!t) return NULL;
    t->lanes = aligned_alloc(LINE, (size_t)count * sizeof(Lane));
    if (!t->lanes) {
        free(t);
        return NULL;
    }
    memset(t->lanes, 0, (size_t)count * sizeof(Lane));
    pthread_mutex_init(&t->lock, NULL);
    pthread_cond_init(&t->start, NULL);
    pthread_cond_init(&t->finish, NULL);
    t->count = 1, t->patience = patience;
    for (size_t i = 0; i < workers; i++) {
        if (pthread_create(&t->workers[i], NULL, work, t)) {
            puf_thread_pool_free(t, 0);
            return NULL;
        }
        t->count += 1;
    }
    return t;
}

void puf_thread_pool_run(PufThreadPool *t, PufChunk run, void *job, size_t num_chunks) {
    if (t->count == 1 || num_chunks <= 1) {
        for (size_t chunk = 0; chunk < num_chunks; chunk++) run(job, chunk);
        return;
    }
    pthread_mutex_lock(&t->lock);
    t->run = run, t->job = job;
    const size_t count = (size_t)t->count;
    for (size_t k = 0; k < count; k++) {
        t->lanes[k].end = num_chunks * (k + 1) / count;
        atomic_store(&t->lanes[k].next, num_chunks * k / count);
    }
    t->open = 1;
    atomic_fetch_add(&t->serial, 1);
    pthread_cond_broadcast(&t->start);
    pthread_mutex_unlock(&t->lock);

    take_chunks(t, 0, run, job);
    for (int64_t end = now() + t->patience; atomic_load(&t->active) && now() < end;)
        sched_yield(); // the remaining chunks are being run

    pthread_mutex_lock(&t->lock);
    t->open = 0;
    while (atomic_load(&t->active)) pthread_cond_wait(&t->finish, &t->lock);
    pthread_mutex_unlock(&t->lock);
}

typedef struct Ranges {
    PufRange run;
    void *context;
    size_t count, grain;
} Ranges;

static void run_range(void *job, size_t chunk) {
    const Ranges *r = job;
    const size_t begin = chunk * r->grain, end = begin + r->grain;
    r->run(r->context, begin, end < r->count ? end : r->count);
}

void puf_parallel_for(PufThreadPool *t, PufRange run, void *context, size_t count, size_t grain) {
    Ranges job = {.run = run, .context = context, .count = count, .grain = grain};
    if (count < 2 * grain || t->count == 1) run(context, 0, count);
    else puf_thread_pool_run(t, run_range, &job, (count + grain - 1) / grain);
}

void puf_thread_pool_free(PufThreadPool *t, int forked) {
    if (!t) return;
    if (!forked) {
        pthread_mutex_lock(&t->lock);
        t->quit = 1;
        pthread_cond_broadcast(&t->start);
        pthread_mutex_unlock(&t->lock);
        for (int i = 0; i < t->count - 1; i++) pthread_join(t->workers[i], NULL);
        pthread_cond_destroy(&t->finish);
        pthread_cond_destroy(&t->start);
        pthread_mutex_destroy(&t->lock);
    }
    free(t->lanes);
    free(t);
}

int puf_thread_pool_count(const PufThreadPool *t) { return t->count; }
