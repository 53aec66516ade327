// tests/c/worker_channel.c - the channel between a process and its worker, run by two threads so that
// the sanitizers see it.
//
// The worker writes its answers to memory that only the channel guards: a lost wake-up hangs the
// program, a missing barrier is a data race. Prints the sum of all answers.
#include <pthread.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#include "pufferenv/external/worker_channel.h"

enum { COMMANDS = 3000, DEPTH = 3, STOP = -1 };

static PufChannel channel;
static int ends[2]; // of the socket: the process's and the worker's
static int64_t answers[PUF_CHANNEL_CAPACITY];

static void *work(void *spin_us) {
    for (uint32_t number = 1;; number++) {
        if (puf_signal_wait(&channel.sent, number, ends[1], *(int *)spin_us, -1) != PUF_CHANNEL_OK)
            return NULL;
        const int32_t *command = channel.commands[number % PUF_CHANNEL_CAPACITY];
        if (command[0] == STOP) return NULL;
        answers[number % PUF_CHANNEL_CAPACITY] = command[1] + 2 * (int64_t)command[2];
        puf_signal_raise(&channel.done, ends[1]);
    }
}

static void send_command(uint32_t number, int kind) {
    int32_t *command = channel.commands[number % PUF_CHANNEL_CAPACITY];
    command[0] = kind, command[1] = (int32_t)number, command[2] = 1;
    puf_signal_raise(&channel.sent, ends[0]);
}

static int64_t run(int spin_us) {
    channel = (PufChannel){0};
    if (socketpair(AF_UNIX, SOCK_STREAM, 0, ends)) return -1;
    if (puf_signal_wait(&channel.done, 1, ends[0], spin_us, 1) != PUF_CHANNEL_TIMEOUT) return -1;
    pthread_t worker;
    if (pthread_create(&worker, NULL, work, &spin_us)) return -1;
    int64_t sum = 0;
    for (uint32_t number = 1; number <= COMMANDS + DEPTH; number++) {
        if (number <= COMMANDS) send_command(number, 0);
        if (number <= DEPTH) continue;
        const uint32_t due = number - DEPTH;
        if (puf_signal_wait(&channel.done, due, ends[0], spin_us, -1) != PUF_CHANNEL_OK) return -1;
        sum += answers[due % PUF_CHANNEL_CAPACITY];
    }
    send_command(COMMANDS + 1, STOP);
    pthread_join(worker, NULL);
    close(ends[1]); // a worker that ends must end the wait
    if (puf_signal_wait(&channel.done, COMMANDS + 1, ends[0], spin_us, -1) != PUF_CHANNEL_CLOSED)
        return -1;
    close(ends[0]);
    return sum;
}

int main(void) {
    printf("%lld %lld\n", (long long)run(0), (long long)run(50));
    return 0;
}
