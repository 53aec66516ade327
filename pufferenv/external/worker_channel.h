// pufferenv/external/worker_channel.h - a channel between a process and one of its workers: two
// counters in shared memory, and a socket that wakes a sleeping end.
//
// The process counts the commands that it sent, the worker those that are done. An end that waits
// for a count first polls it for a short while, yielding its core; then it sets `sleeps` and polls
// the socket. An end that raises a count writes a byte to the socket if the other end sleeps. So
// the only system calls of a busy channel are yields, a sleeping end uses no CPU, and if one
// process ends, the other stops waiting.
#ifndef PUF_WORKER_CHANNEL_H
#define PUF_WORKER_CHANNEL_H

#include <stdatomic.h>
#include <stdint.h>

enum { PUF_CHANNEL_CAPACITY = 64 }; // commands in flight

// One end writes `count`, the other `sleeps`. Each signal has its own cache line, so that writes to
// its neighbours do not slow it down.
typedef struct PufSignal {
    _Alignas(64) _Atomic uint32_t count;
    _Atomic uint32_t sleeps;
} PufSignal;

typedef struct PufChannel {
    PufSignal sent, done;
    _Alignas(64) int64_t current_env; // the env that the worker runs; names it if the worker dies
    int32_t commands[PUF_CHANNEL_CAPACITY][3]; // kind, begin, end of command number k % CAPACITY
} PufChannel;

typedef enum {
    PUF_CHANNEL_OK,
    PUF_CHANNEL_TIMEOUT,   // the count was not reached within `timeout_ms`
    PUF_CHANNEL_CLOSED,    // the other process has ended
    PUF_CHANNEL_INTERRUPT, // a POSIX signal came: handle it and wait again
} PufChannelStatus;

// Raises the count by one. `fd`: this end of the socket.
void puf_signal_raise(PufSignal *signal, int fd);
// -> 1 if the count has reached `number`, else 0. Numbers wrap around; they are at most 2^31 apart.
int puf_signal_reached(PufSignal *signal, uint32_t number);
// Waits until the count reaches `number`. spin_us: microseconds of polling before it sleeps;
// timeout_ms: limit of the sleep, -1 for none.
PufChannelStatus puf_signal_wait(PufSignal *signal, uint32_t number, int fd, int spin_us,
                                 int timeout_ms);
// Waits until one of the counts reaches its number.
PufChannelStatus puf_signal_wait_any(PufSignal **signals, const uint32_t *numbers, const int *fds,
                                     int num_signals, int spin_us, int timeout_ms);

// Starts a thread that kills this process, and the process group that it leads, when the socket's
// other end is closed or `parent` has ended, even while Python holds the GIL or an env never
// returns. Returns 0, or -1 if the thread cannot be started.
int puf_channel_watch(int fd, int parent);

#endif
