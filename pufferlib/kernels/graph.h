// pufferlib/kernels/graph.h - recorded kernel calls, and their replay by several threads.
//
// A graph is an array of entries. A stream is what one thread replays: slices, each a whole graph,
// one after the other. The arrays that the entries point to belong to the caller (_graph.pxi).
#ifndef PUF_GRAPH_H
#define PUF_GRAPH_H

#include <stddef.h>

#include "kernels.h"
#include "pufferenv/engine/thread_pool.h"

typedef struct PufEntry {
    PufRun run;
    void *args;
} PufEntry;

typedef struct PufStreamSlice {
    const PufEntry *entries;
    int64_t length;
    int64_t reached; // entries done; less than length: this one failed, or an earlier slice did
    double seconds;  // how long the slice took
    PufFault fault;  // of the entry that failed
} PufStreamSlice;

typedef struct PufStream {
    PufStreamSlice *slices;
    int64_t num_slices;
} PufStream;

// Runs what is left of a slice -> 0, or -1 where an entry fails.
int puf_replay_slice(PufStreamSlice *slice);

// Limits the BLAS threads of the calling thread's products; NULL: there is nothing to limit.
typedef int (*PufSetNumThreads)(int count);

// Replays all streams, one per thread, the calling one included, and returns when all are done. A
// stream ends at its first fault.
void puf_replay(PufThreadPool *threads, PufStream *streams, size_t num_streams,
                PufSetNumThreads set_num_threads);

#endif
