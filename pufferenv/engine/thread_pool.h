// pufferenv/engine/thread_pool.h - workers that share the chunks of one job with the caller.
//
//   idle --puf_threads_run--> open: caller and workers take chunks --none left--> closed --> idle
//
// A worker joins a job only while it is open, so a late one finds nothing to do and harms nothing;
// which thread ran which chunk never shows in a result. Nobody spins: a thread that waits yields its
// core to whoever wants it for a while, for the next job may follow at once, then sleeps.
#ifndef PUF_THREADS_H
#define PUF_THREADS_H

#include <stddef.h>
#include <stdint.h>

typedef struct PufThreads PufThreads;
typedef void (*PufChunk)(void *job, size_t chunk);

// `count` threads in all, the caller included; 1 makes no thread. Waking a thread that sleeps takes
// 40 us and more, as long as a step of a thousand envs: whoever waits first lets others run, and
// only them, for `patience` nanoseconds. NULL: they could not be had.
PufThreads *puf_threads_new(int count, int64_t patience);

// Runs run(job, chunk) for every chunk in [0, num_chunks), returns when all are done.
void puf_threads_run(PufThreads *threads, PufChunk run, void *job, size_t num_chunks);

// Ends the workers. `forked`: they stayed behind in the parent process; only memory is freed.
void puf_threads_free(PufThreads *threads, int forked);

int puf_threads_count(const PufThreads *threads);

#endif
