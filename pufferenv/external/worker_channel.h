// pufferenv/external/worker_channel.h - a line between a process and a worker of its: two counters in shared
// memory, and a socket for whoever is asleep.
//
// The process counts commands, the worker those that are done. Who waits looks at the counter for a
// short while, yielding its core each time, then says that it sleeps and polls the socket; who
// counts writes a byte to the socket if somebody sleeps. So a busy line costs no system call but
// the yields, a sleeper burns nothing, and the end of either process ends the other's wait.
#ifndef PUF_WORKER_CHANNEL_H
#define PUF_WORKER_CHANNEL_H

#include <stdatomic.h>
#include <stdint.h>

enum { PUF_CHANNEL_CAPACITY = 64 }; // commands that may be under way at once

// An end writes `count` and the other end `sleeps`; one cache line, so that neither waits for
// a line that holds anything else.
typedef struct PufSignal {
    _Alignas(64) _Atomic uint32_t count;
    _Atomic uint32_t sleeps;
} PufSignal;

typedef struct PufChannel {
    PufSignal sent, done;
    _Alignas(64) int64_t at;                   // the env at hand, for whoever finds the worker dead
    int32_t commands[PUF_CHANNEL_CAPACITY][3]; // kind, begin, end of command number k % ROOM
} PufChannel;

typedef enum {
    PUF_CHANNEL_OK,
    PUF_CHANNEL_TIMEOUT,   // not yet, after `timeout_ms`
    PUF_CHANNEL_CLOSED,    // the other process is gone
    PUF_CHANNEL_INTERRUPT, // a signal came: look at it and wait again
} PufChannelStatus;

// Raises the count by one. `fd`: this end of the socket.
void puf_signal_raise(PufSignal *signal, int fd);
// Whether at least `number` have been counted; numbers wrap, at most 2^31 apart.
int puf_signal_reached(PufSignal *signal, uint32_t number);
// Waits for that. `spin_us`: how long to look before sleeping; timeout_ms -1: for ever.
PufChannelStatus puf_signal_wait(PufSignal *signal, uint32_t number, int fd, int spin_us,
                                 int timeout_ms);
// Waits until one of `num_signals` counts what it should.
PufChannelStatus puf_signal_wait_any(PufSignal **signals, const uint32_t *numbers, const int *fds,
                                     int num_signals, int spin_us, int timeout_ms);

// Ends this process, and the group that it leads, with no word, when the socket's other end or `parent` is gone:
// also while Python holds its lock or an env never returns. -> 0, or -1: no thread could be made.
int puf_channel_watch(int fd, int parent);

#endif
