# The C that _external.pyx calls, as far as it needs it.
from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t

from pufferenv.contract.spec cimport PufAxis, PufDtype, PufHead, PufSpec


cdef extern from "pufferenv/external/mailbox_game.h" nogil:
    ctypedef struct PufMailbox:
        const float *reward
        const uint8_t *done
        const uint8_t *alive
        const uint8_t *episode_done
        const int64_t *written_slot
        const char *obs
        const char *final_obs
        const uint8_t *action_mask
    ctypedef struct PufMailboxConfig:
        int32_t num_agents, obs_ndim, num_heads, num_axes
        int32_t *obs_dims
        PufHead *heads
        PufAxis *axes
        PufMailbox mailbox
    void puf_mailbox_spec(PufSpec *spec, const char *name, const char *doc, PufDtype obs_dtype,
                          bint has_mask)


cdef extern from "pufferenv/external/worker_channel.h" nogil:
    enum: PUF_CHANNEL_CAPACITY
    ctypedef enum PufChannelStatus:
        PUF_CHANNEL_OK, PUF_CHANNEL_TIMEOUT, PUF_CHANNEL_CLOSED, PUF_CHANNEL_INTERRUPT
    ctypedef struct PufSignal:
        uint32_t count
    ctypedef struct PufChannel:
        PufSignal sent, done
        int64_t current_env
        int32_t[3] *commands
    void puf_signal_raise(PufSignal *signal, int fd)
    bint puf_signal_reached(PufSignal *signal, uint32_t number)
    PufChannelStatus puf_signal_wait(PufSignal *signal, uint32_t number, int fd, int spin_us,
                                     int timeout_ms)
    PufChannelStatus puf_signal_wait_any(PufSignal **signals, const uint32_t *numbers,
                                         const int *fds, int num_signals, int spin_us,
                                         int timeout_ms)
    int puf_channel_watch(int fd, int parent)
