// pufferenv/engine/thread_pool.h - threads that share the chunks of one job with the caller.
//
//   idle --puf_thread_pool_run--> open: all threads take chunks --none left--> closed --> idle
//
// A worker joins a job only while it is open; one that wakes up too late finds nothing to do. The
// assignment of chunks to threads never changes a result. A thread that waits first yields its core
// again and again, because the next job often follows at once, and then sleeps.
#ifndef PUF_THREAD_POOL_H
#define PUF_THREAD_POOL_H

#include <stddef.h>
#include <stdint.h>

typedef struct PufThreadPool PufThreadPool;
typedef void (*PufChunk)(void *job, size_t chunk);
typedef void (*PufRange)(void *context, size_t begin, size_t end);

// Makes a pool of `count` threads, the caller's included; 1 starts none. Waking a sleeping thread
// takes 40 us or more, as long as a step of a thousand envs, so a thread that waits yields for
// `patience` nanoseconds before it sleeps. -> NULL: the threads could not be started.
PufThreadPool *puf_thread_pool_new(int count, int64_t patience);

// Runs run(job, chunk) for every chunk in [0, num_chunks); returns when all are done.
void puf_thread_pool_run(PufThreadPool *pool, PufChunk run, void *job, size_t num_chunks);

// Runs run(context, begin, end) over ranges of `grain` items that cover [0, count); in the caller's
// thread alone if the items are fewer than two ranges.
void puf_parallel_for(PufThreadPool *pool, PufRange run, void *context, size_t count, size_t grain);

// Ends the workers and frees the pool. `forked`: the caller is a child process, which has no
// workers; only memory is freed.
void puf_thread_pool_free(PufThreadPool *pool, int forked);

int puf_thread_pool_count(const PufThreadPool *pool); // threads, the caller's included

#endif
