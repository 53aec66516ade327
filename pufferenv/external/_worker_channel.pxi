# The two ends of a channel between a process and one of its workers (worker_channel.h).

CHANNEL_BYTES = sizeof(PufChannel)


cdef class WorkerChannel:
    """One end of a channel."""

    cdef PufChannel *channel
    cdef uint8_t[::1] memory
    cdef int fd
    cdef uint32_t number  # of the last command that this end sent, or took

    def __init__(self, uint8_t[::1] memory, int fd):
        if memory.shape[0] != sizeof(PufChannel):
            raise ValueError(
                f"memory has {memory.shape[0]} bytes, a channel needs {sizeof(PufChannel)}")
        self.memory, self.fd, self.number = memory, fd, 0
        self.channel = <PufChannel *>&memory[0]

    @property
    def sent(self):
        return self.number

    @property
    def current_env(self):
        return self.channel.current_env

    def current_env_view(self):
        return np.asarray(<int64_t[:1]>&self.channel.current_env)

    def send(self, int kind, int begin, int end):
        cdef int32_t *command = self.channel.commands[(self.number + 1) % PUF_CHANNEL_CAPACITY]
        if <uint32_t>(self.number - self.channel.done.count) >= PUF_CHANNEL_CAPACITY:
            raise RuntimeError(
                f"{PUF_CHANNEL_CAPACITY} commands are in flight, which is the maximum: receive "
                "some first")
        command[0], command[1], command[2] = kind, begin, end
        self.number += 1
        puf_signal_raise(&self.channel.sent, self.fd)
        return self.number

    def take(self, int spin_us):
        cdef PufChannelStatus status = PUF_CHANNEL_TIMEOUT
        cdef int32_t *command
        while status != PUF_CHANNEL_OK:
            with nogil:
                status = puf_signal_wait(&self.channel.sent, self.number + 1, self.fd, spin_us, -1)
            PyErr_CheckSignals()
            if status == PUF_CHANNEL_CLOSED:
                return None
        self.number += 1
        command = self.channel.commands[self.number % PUF_CHANNEL_CAPACITY]
        return command[0], command[1], command[2]

    def finish(self):
        puf_signal_raise(&self.channel.done, self.fd)

    def reached(self, uint32_t number):
        return puf_signal_reached(&self.channel.done, number)


def wait_any(channels, numbers, int spin_us, int timeout_ms):
    cdef PufSignal *signals[256]
    cdef uint32_t[256] expected
    cdef int[256] fds
    cdef int k, n = min(len(channels), 256)
    cdef PufChannelStatus status = PUF_CHANNEL_INTERRUPT
    for k in range(n):
        channel = <WorkerChannel?>channels[k]
        signals[k] = &(<WorkerChannel>channel).channel.done
        fds[k] = (<WorkerChannel>channel).fd
        expected[k] = numbers[k]
    while status == PUF_CHANNEL_INTERRUPT:
        with nogil:
            status = puf_signal_wait_any(signals, expected, fds, n, spin_us, timeout_ms)
        PyErr_CheckSignals()
    if status == PUF_CHANNEL_CLOSED:
        raise EOFError("a worker closed its end of the channel")
    return status == PUF_CHANNEL_OK


def watch(int fd, int parent):
    if puf_channel_watch(fd, parent):
        raise RuntimeError("cannot start the thread that watches the parent process")
