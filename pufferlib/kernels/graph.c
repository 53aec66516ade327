// pufferlib/kernels/graph.c - the replay of recorded kernel calls: the hot path of training.
#define _POSIX_C_SOURCE 200809L // clock_gettime, under -std=c17 too
#include "graph.h"

#include <time.h>

// A BLAS divides a product among its own threads unless the calling thread limits them. Threads
// that replay streams in parallel leave no core for these.
static _Thread_local int has_own_core;

typedef struct Replay {
    PufStream *streams;
    PufSetNumThreads set_num_threads;
    const int *caller; // address of the caller's has_own_core, which identifies its thread
} Replay;

static double seconds_now(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

int puf_replay_slice(PufStreamSlice *slice) {
    for (; slice->reached < slice->length; slice->reached++) {
        const PufEntry entry = slice->entries[slice->reached];
        if (entry.run(entry.args, &slice->fault)) return -1;
    }
    return 0;
}

static void replay_stream(void *job, size_t number) {
    const Replay *replay = job;
    const PufStream *stream = &replay->streams[number];
    // The caller keeps its setting, so that its products outside of graphs may use all cores.
    if (replay->set_num_threads && replay->caller != &has_own_core && !has_own_core) {
        replay->set_num_threads(1);
        has_own_core = 1;
    }
    double begin = seconds_now();
    for (int64_t k = 0; k < stream->num_slices; k++) {
        if (puf_replay_slice(&stream->slices[k])) return;
        const double end = seconds_now();
        stream->slices[k].seconds = end - begin;
        begin = end;
    }
}

void puf_replay(PufThreadPool *threads, PufStream *streams, size_t num_streams,
                PufSetNumThreads set_num_threads) {
    Replay replay = {streams, set_num_threads, &has_own_core};
    puf_thread_pool_run(threads, replay_stream, &replay, num_streams);
}
