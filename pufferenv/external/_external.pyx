# cython: language_level=3, wraparound=False
"""The C part of external envs: the spec of their game, and the mailbox. See _external.pyi.

Each included file holds one class. They are one module, because they use each other's C types.
"""

import numpy as np
from gymnasium.spaces import Discrete

from pufferenv.engine._engine import DISABLED, NEXT_STEP, DTYPES
from pufferenv.external.episode_infos import write_infos

cimport cython
from cpython.buffer cimport (
    Py_buffer, PyBUF_C_CONTIGUOUS, PyBUF_FORMAT, PyBuffer_Release, PyObject_CheckBuffer,
    PyObject_GetBuffer
)
from cpython.exc cimport PyErr_CheckSignals
from libc.math cimport isfinite
from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t
from libc.string cimport memcmp, memcpy, memset, strcmp

from pufferenv.contract.spec cimport (
    PUF_LIVE, PUF_TERMINAL, PUF_TRUNCATED, PufAxis, PufHead, PufSpec
)


class EnvError(RuntimeError):
    """An external env raised or returned something illegal; the message names env and step."""


cdef class SpecTable:
    """The PufSpec of an external game and its config; the game keeps it alive."""

    cdef PufSpec spec
    cdef PufMailboxConfig shapes  # without a mailbox
    cdef list texts  # bytes that the structs point to

    def __init__(self, str name, str doc, tuple obs_shape, obs_dtype, heads, axes, int num_agents,
                 bint has_mask):
        memset(&self.shapes, 0, sizeof(self.shapes))
        self.texts = []
        puf_mailbox_spec(
            &self.spec, self._text(name), self._text(doc), DTYPES.index(obs_dtype), has_mask)
        self.shapes.num_agents = num_agents
        self.shapes.obs_ndim = len(obs_shape)
        for k, width in enumerate(obs_shape):
            self.shapes.obs_dims[k] = width
        self.shapes.num_heads, self.shapes.num_axes = len(heads), len(axes)
        for k, head in enumerate(heads):
            self.shapes.heads[k] = PufHead(self._text(head.name), self._text(head.doc), head.n)
        for k, axis in enumerate(axes):
            self.shapes.axes[k] = PufAxis(
                self._text(axis.name), self._text(axis.doc), axis.low, axis.high)

    cdef const char *_text(self, str text) except NULL:
        cdef bytes encoded = text.encode()
        self.texts.append(encoded)
        return encoded

    @property
    def address(self):
        return <size_t>&self.spec

    def config(self, Mailbox mailbox=None):
        cdef PufMailboxConfig config = self.shapes
        if mailbox is not None:
            config.mailbox = PufMailbox(
                &mailbox.reward[0], &mailbox.done[0], &mailbox.alive[0],
                &mailbox.episode_done[0], &mailbox.written_slot[0],
                <const char *>&mailbox.obs[0, 0], <const char *>&mailbox.final_obs[0, 0],
                &mailbox.action_mask[0, 0])
        return (<const char *>&config)[:sizeof(config)]


cdef class Mailbox:
    """The mailbox of mailbox_game.h, and the engine's arrays that a runner reads and writes."""

    cdef float[::1] reward
    cdef uint8_t[::1] done, alive, episode_done
    cdef int64_t[::1] written_slot, slot, row_end
    cdef uint8_t[:, ::1] obs, final_obs, slots, action_mask
    cdef int32_t[:, ::1] action
    cdef int32_t[::1] info_size
    cdef float[:, ::1] axis
    cdef int64_t advance  # slots from the current observation to the next: 1 with rows, else 0
    cdef bint direct      # observations are written straight to their slots if possible
    cdef int64_t[::1] current_env  # (1,) the env that is being made, reset or stepped
    cdef readonly dict arrays

    def __init__(self, dict arrays, bint rows):
        self.arrays, self.advance, self.direct = arrays, rows, "slots" in arrays
        self.reward, self.done = arrays["reward"], arrays["done"]
        self.alive, self.episode_done = arrays["alive"], arrays["episode_done"]
        self.written_slot = arrays["written_slot"]
        self.obs, self.final_obs = as_bytes(arrays["obs"]), as_bytes(arrays["final_obs"])
        self.action_mask, self.info_size = arrays["action_mask"], arrays["info_size"]
        if "slot" not in arrays:  # the engine's mailbox: it needs no arrays of runners
            return
        self.slot, self.row_end = arrays["slot"], arrays["row_end"]
        if self.direct:
            self.slots = as_bytes(arrays["slots"])
        self.current_env = arrays["current_env"]
        self.action, self.axis = arrays["action"], arrays["axis"]

    cpdef int64_t next_slot(self, int64_t agent) except -2:
        cdef int64_t slot = self.slot[agent] + self.advance
        if not self.direct or slot >= self.row_end[agent]:
            slot = -1  # the engine will give the agent another row, or the slot is out of reach
        self.written_slot[agent] = slot
        return slot

    def has_infos(self, int64_t begin, int64_t end):
        cdef int64_t i
        cdef int32_t bits = 0
        for i in range(begin, end):
            bits |= self.info_size[i]
        return bits != 0


def as_bytes(array):
    return array.reshape(len(array), -1).view(np.uint8)


include "_finite_check.pxi"
include "_gymnasium_runner.pxi"
include "_worker_channel.pxi"
