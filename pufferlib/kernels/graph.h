// pufferlib/kernels/graph.h - recorded kernel calls, and their replay on several threads.
//
// A graph is an array of entries. One thread replays a stream: a sequence of slices, each of which
// is a whole graph. The arrays that the entries point to belong to the caller (_graph.pxi).
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
    int64_t reached; // entries done; below length if this entry or an earlier slice failed
    double seconds;  // that the slice took
    PufFault fault;  // of the entry that failed
} PufStreamSlice;

typedef struct PufStream {
    PufStreamSlice *slices;
    int64_t num_slices;
} PufStream;

// Runs the remaining entries of a slice. Returns 0, or -1 if an entry fails.
int puf_replay_slice(PufStreamSlice *slice);

// Limits the number of BLAS threads of the calling thread; NULL if there is nothing to limit.
typedef int (*PufSetNumThreads)(int count);

// Replays all streams, one per thread including the calling one, and returns when all have ended. A
// stream ends at its first fault.
void puf_replay(PufThreadPool *threads, PufStream *streams, size_t num_streams,
                PufSetNumThreads set_num_threads);

#endif
