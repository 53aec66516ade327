// pufferenv/external/worker_channel.c - see worker_channel.h.
#ifndef _POSIX_C_SOURCE
#define _POSIX_C_SOURCE 200809L // clock_gettime, under -std=c17 too
#endif
#include "pufferenv/external/worker_channel.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <time.h>
#include <unistd.h>

enum { MAX_SIGNALS = 256 };

static int64_t now_us(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

void puf_signal_raise(PufSignal *signal, int fd) {
    atomic_fetch_add(&signal->count, 1);
    if (!atomic_exchange(&signal->sleeps, 0)) return;
    while (write(fd, "", 1) < 0 && errno == EINTR) {
    } // other errors: the socket is full or closed, so the other end is awake or has ended
}

int puf_signal_reached(PufSignal *signal, uint32_t number) {
    return (int32_t)(atomic_load_explicit(&signal->count, memory_order_acquire) - number) >= 0;
}

static int any_reached(PufSignal **signals, const uint32_t *numbers, int n) {
    for (int k = 0; k < n; k++)
        if (puf_signal_reached(signals[k], numbers[k])) return 1;
    return 0;
}

PufChannelStatus puf_signal_wait_any(PufSignal **signals, const uint32_t *numbers, const int *fds,
                                     int n, int spin_us, int timeout_ms) {
    if (n > MAX_SIGNALS) n = MAX_SIGNALS;
    for (const int64_t until = now_us() + spin_us; !any_reached(signals, numbers, n); sched_yield())
        if (now_us() >= until) break;
    struct pollfd ends[MAX_SIGNALS];
    for (;;) {
        for (int k = 0; k < n; k++) {
            atomic_store(&signals[k]->sleeps, 1);
            ends[k] = (struct pollfd){.fd = fds[k], .events = POLLIN};
        }
        // A count that rose before `sleeps` was set is seen here; a later one writes a byte.
        if (any_reached(signals, numbers, n)) {
            for (int k = 0; k < n; k++) atomic_store(&signals[k]->sleeps, 0);
            return PUF_CHANNEL_OK;
        }
        const int found = poll(ends, (nfds_t)n, timeout_ms);
        if (found == 0) return PUF_CHANNEL_TIMEOUT;
        if (found < 0) return errno == EINTR ? PUF_CHANNEL_INTERRUPT : PUF_CHANNEL_CLOSED;
        for (int k = 0; k < n; k++) {
            char bytes[64];
            if (!ends[k].revents) continue;
            const ssize_t got = read(fds[k], bytes, sizeof(bytes));
            if (got == 0 || (got < 0 && errno != EINTR && errno != EAGAIN))
                return any_reached(signals, numbers, n) ? PUF_CHANNEL_OK : PUF_CHANNEL_CLOSED;
        }
    }
}

PufChannelStatus puf_signal_wait(PufSignal *signal, uint32_t number, int fd, int spin_us,
                                 int timeout_ms) {
    return puf_signal_wait_any(&signal, &number, &fd, 1, spin_us, timeout_ms);
}

// --- the thread that watches the parent ------------------------------------------------
typedef struct Watch {
    int fd;
    pid_t parent;
} Watch;

static void *watch(void *argument) {
    const Watch *w = argument;
    for (;;) { // no events are requested: poll returns when the other end is closed
        struct pollfd end = {.fd = w->fd};
        if (poll(&end, 1, 1000) > 0 || getppid() != w->parent) {
            if (getpgrp() == getpid()) kill(0, SIGKILL); // includes processes that envs started
            _exit(1);
        }
    }
    return NULL;
}

int puf_channel_watch(int fd, int parent) {
    static Watch w;
    pthread_t thread;
    w = (Watch){.fd = fd, .parent = parent};
    return pthread_create(&thread, NULL, watch, &w) ? -1 : 0;
}
