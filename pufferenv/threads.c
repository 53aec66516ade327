// pufferenv/threads.c - see threads.h. POSIX threads only: macOS has no C11 threads.
#include "pufferenv/threads.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>

struct PufThreads {
    pthread_mutex_t lock;
    pthread_cond_t start, finish; // a job opened, or quit; the last worker left the job
    PufChunk run;                 // the job in hand; under `lock`, as all below but `next`
    void *job;
    size_t num_chunks;
    atomic_size_t next; // the first chunk nobody took
    atomic_int active;  // workers in the job; raised under `lock`
    int open, quit;     // the job may be joined; the workers must end
    atomic_uint serial; // of the job, so that no worker joins one twice; raised under `lock`
    int count;          // threads, the caller included
    pthread_t workers[];
};

enum { YIELDS = 64 }; // how often a thread lets others run before it sleeps until it is needed

static void take_chunks(PufThreads *t, PufChunk run, void *job, size_t num_chunks) {
    for (;;) {
        size_t chunk = atomic_fetch_add(&t->next, 1);
        if (chunk >= num_chunks) return;
        run(job, chunk);
    }
}

static void *work(void *self) {
    PufThreads *t = self;
    unsigned seen = 0;
    pthread_mutex_lock(&t->lock);
    while (!t->quit) {
        if (!t->open || t->serial == seen) {
            pthread_cond_wait(&t->start, &t->lock);
            continue;
        }
        seen = t->serial;
        atomic_fetch_add(&t->active, 1);
        PufChunk run = t->run;
        void *job = t->job;
        size_t num_chunks = t->num_chunks;
        pthread_mutex_unlock(&t->lock);
        take_chunks(t, run, job, num_chunks);
        pthread_mutex_lock(&t->lock);
        if (atomic_fetch_sub(&t->active, 1) == 1) pthread_cond_signal(&t->finish);
        pthread_mutex_unlock(&t->lock);
        // The next step often follows at once: stay awake for some microseconds.
        for (int i = 0; i < YIELDS && atomic_load(&t->serial) == seen; i++) sched_yield();
        pthread_mutex_lock(&t->lock);
    }
    pthread_mutex_unlock(&t->lock);
    return NULL;
}

PufThreads *puf_threads_new(int count) {
    size_t workers = (size_t)(count - 1);
    PufThreads *t = calloc(1, sizeof(PufThreads) + workers * sizeof(pthread_t));
    if (!t) return NULL;
    pthread_mutex_init(&t->lock, NULL);
    pthread_cond_init(&t->start, NULL);
    pthread_cond_init(&t->finish, NULL);
    t->count = 1;
    for (size_t i = 0; i < workers; i++) {
        if (pthread_create(&t->workers[i], NULL, work, t)) {
            puf_threads_free(t, 0);
            return NULL;
        }
        t->count += 1;
    }
    return t;
}

void puf_threads_run(PufThreads *t, PufChunk run, void *job, size_t num_chunks) {
    if (t->count == 1 || num_chunks <= 1) {
        for (size_t chunk = 0; chunk < num_chunks; chunk++) run(job, chunk);
        return;
    }
    pthread_mutex_lock(&t->lock);
    t->run = run, t->job = job, t->num_chunks = num_chunks;
    atomic_store(&t->next, 0);
    t->open = 1;
    atomic_fetch_add(&t->serial, 1);
    pthread_cond_broadcast(&t->start);
    pthread_mutex_unlock(&t->lock);

    take_chunks(t, run, job, num_chunks);
    // The rest is in the hands of workers that run: most finish within a few yields.
    for (int i = 0; i < YIELDS && atomic_load(&t->active); i++) sched_yield();

    pthread_mutex_lock(&t->lock);
    t->open = 0;
    while (atomic_load(&t->active)) pthread_cond_wait(&t->finish, &t->lock);
    pthread_mutex_unlock(&t->lock);
}

void puf_threads_free(PufThreads *t, int forked) {
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
    free(t);
}

int puf_threads_count(const PufThreads *t) { return t->count; }
