# cython: language_level=3, wraparound=False
"""Games played by Python envs: their spec, the mailbox, the loop over Gymnasium envs. See _outside.pyi."""

import numpy as np
from gymnasium.spaces import Discrete

from pufferenv._engine import DISABLED, NEXT_STEP, DTYPES

from cpython.buffer cimport (
    Py_buffer, PyBUF_C_CONTIGUOUS, PyBUF_FORMAT, PyBuffer_Release, PyObject_CheckBuffer,
    PyObject_GetBuffer
)
from libc.math cimport isfinite
from libc.stdint cimport int32_t, int64_t, uint8_t
from libc.string cimport memcmp, memcpy, memset, strcmp


cdef class Table:
    """The spec of an outside game and its config; the game keeps it alive."""

    cdef PufSpec spec
    cdef PufOutside outside
    cdef list kept  # bytes that the structs point to

    def __init__(self, str name, str doc, tuple obs_shape, obs_dtype, heads, axes, int num_agents):
        memset(&self.outside, 0, sizeof(self.outside))
        self.kept = []
        puf_outside_spec(&self.spec, self._text(name), self._text(doc), DTYPES.index(obs_dtype))
        self.outside.num_agents = num_agents
        self.outside.obs_ndim = len(obs_shape)
        for k, width in enumerate(obs_shape):
            self.outside.obs_dims[k] = width
        self.outside.num_heads, self.outside.num_axes = len(heads), len(axes)
        for k, head in enumerate(heads):
            self.outside.heads[k] = PufHead(self._text(head.name), self._text(head.doc), head.n)
        for k, axis in enumerate(axes):
            self.outside.axes[k] = PufAxis(
                self._text(axis.name), self._text(axis.doc), axis.low, axis.high)

    cdef const char *_text(self, str text) except NULL:
        cdef bytes encoded = text.encode()
        self.kept.append(encoded)
        return encoded

    @property
    def address(self):
        """Of the PufSpec."""
        return <size_t>&self.spec

    def config(self, Mail mail=None):
        """The bytes of a PufOutside; without `mail` it says shapes and cannot be played."""
        cdef PufOutside outside = self.outside
        if mail is not None:
            outside.mail = PufMail(
                &mail.reward[0], &mail.done[0], &mail.alive[0], &mail.over[0], &mail.written[0],
                <const char *>&mail.obs[0, 0], <const char *>&mail.final[0, 0])
        return (<const char *>&outside)[:sizeof(outside)]


cdef class Mail:
    """The mailbox of outside.h, and what of the engine's arrays a host reads and writes."""

    cdef float[::1] reward
    cdef uint8_t[::1] done, alive, over
    cdef int64_t[::1] written, slot, row_end
    cdef uint8_t[:, ::1] obs, final, slots
    cdef int32_t[:, ::1] actions
    cdef float[:, ::1] axes
    cdef int64_t advance
    cdef bint direct
    cdef readonly dict arrays

    def __init__(self, dict arrays, bint rows, bint direct=True):
        self.arrays, self.advance, self.direct = arrays, rows, direct
        self.reward, self.done = arrays["reward"], arrays["done"]
        self.alive, self.over = arrays["alive"], arrays["over"]
        self.written = arrays["written"]
        self.obs, self.final = raw(arrays["obs"]), raw(arrays["final"])
        if "slot" not in arrays:  # the mailbox alone: what the engine reads
            return
        self.slot, self.row_end = arrays["slot"], arrays["row_end"]
        self.slots = raw(arrays["slots"])
        self.actions, self.axes = arrays["actions"], arrays["axes"]

    cpdef int64_t place(self, int64_t agent) except -2:
        """Note where an agent's next observation goes and return it: a slot, or -1: the mailbox."""
        cdef int64_t at = self.slot[agent] + self.advance
        self.written[agent] = at if self.direct and self.row_end[agent] > at else -1
        return self.written[agent]


def raw(array):
    """The bytes of (n, *shape) as (n, bytes)."""
    return array.reshape(len(array), -1).view(np.uint8)


class EnvError(RuntimeError):
    """An outside env raised, or gave what it may not: which one and when."""


def scalars(actions):
    """What each choice of a single Discrete action is to its env, or None: not one of these."""
    if not isinstance(actions.space, Discrete) or actions.space.n > 65536:
        return None
    none = np.zeros(0, np.float32)
    return [actions.unpack(np.array([choice]), none) for choice in range(actions.space.n)]


cdef class Singles:
    """Gymnasium envs of one agent each, stepped one after the other. `first`: index of envs[0]."""

    cdef Mail mail
    cdef readonly list envs
    cdef list steps, table, next, mailed, final  # the last three: views by part, see packing.py
    cdef object pack, act, name
    cdef int64_t first
    cdef int mode
    cdef uint8_t[::1] ended     # (E,) waits for its reset, or for the step that shows it
    cdef int64_t[::1] ticks     # (E,) steps since this env was made
    cdef bytes code             # of the observation's dtype in the buffer protocol; b"": packed
    cdef Py_ssize_t[::1] shape  # of one observation

    def __init__(self, Mail mail, list envs, int64_t first, int mode, name, observations, actions):
        self.mail, self.envs, self.first, self.mode, self.name = mail, envs, first, mode, name
        self.steps = [env.step for env in envs]
        self.pack, self.act = observations.write, actions.unpack
        self.table = scalars(actions)
        self.next, self.mailed, self.final = (
            observations.views(mail.arrays[key]) for key in ("slots", "obs", "final"))
        self.shape = np.array(mail.arrays["obs"].shape[1:], np.intp)
        self.code = mail.arrays["obs"].dtype.char.encode() if observations.is_plain else b""
        self.ended = np.zeros(len(envs), np.uint8)
        self.ticks = np.zeros(len(envs), np.int64)

    def reset(self, int64_t begin, int64_t end, seeds=None, mask=None):
        """Begin new episodes in envs [begin, end), those of `mask` (E,)."""
        cdef int64_t i = begin
        try:
            for i in range(begin, end):
                if mask is None or mask[i]:
                    self._reset(i, None if seeds is None else int(seeds[i]))
        except Exception as error:
            raise self._error(i, error, "reset") from error

    cdef _reset(self, int64_t i, seed):
        env = self.envs[i - self.first]
        obs, _ = env.reset() if seed is None else env.reset(seed=seed)
        self.mail.written[i] = -1
        self._write(<char *>&self.mail.obs[i, 0], self.mailed, i, obs)
        self.mail.alive[i] = 1
        self.mail.over[i] = self.mail.done[i] = self.ended[i - self.first] = 0
        self.mail.reward[i] = 0

    def step(self, int64_t begin, int64_t end):
        """Step envs [begin, end) with the actions of the engine's arrays."""
        cdef int64_t i = begin
        try:
            for i in range(begin, end):
                if self.ended[i - self.first]:
                    self.ended[i - self.first] = self.mode == DISABLED
                else:
                    self._step(i)
        except Exception as error:
            raise self._error(i, error, "step") from error

    cdef _step(self, int64_t i):
        cdef int64_t e = i - self.first
        cdef double reward
        cdef int64_t at
        if self.table is not None:
            action = self.table[self.mail.actions[i, 0]]
        else:
            action = self.act(self.mail.arrays["actions"][i], self.mail.arrays["axes"][i])
        self.ticks[e] += 1
        obs, given, terminated, truncated, _ = self.steps[e](action)
        reward = given
        if not isfinite(reward):
            raise ValueError(f"its reward is {given!r}")
        self.mail.reward[i] = <float>reward
        self.mail.over[i] = PUF_TERMINAL if terminated else PUF_TRUNCATED if truncated else PUF_LIVE
        if self.mail.over[i]:
            self._write(<char *>&self.mail.final[i, 0], self.final, i, obs)
            self.ended[e] = self.mode == NEXT_STEP or self.mode == DISABLED
            if self.mode == DISABLED:
                return
            obs, _ = self.envs[e].reset()
            if self.mode == NEXT_STEP:
                self.mail.written[i] = -1
                self._write(<char *>&self.mail.obs[i, 0], self.mailed, i, obs)
                return
        at = self.mail.place(i)
        if at < 0:
            self._write(<char *>&self.mail.obs[i, 0], self.mailed, i, obs)
        else:
            self._write(<char *>&self.mail.slots[at, 0], self.next, at, obs)

    cdef int _write(self, char *to, list views, int64_t index, obs) except -1:
        """Put an observation to place `index` of `views`, which is at `to`."""
        cdef Py_buffer view
        cdef bint fits = False
        if self.code and PyObject_CheckBuffer(obs):
            try:
                PyObject_GetBuffer(obs, &view, PyBUF_FORMAT | PyBUF_C_CONTIGUOUS)
            except (BufferError, ValueError):  # numpy raises the latter for a strided array
                pass
            else:
                if view.ndim == self.shape.shape[0] and \
                        strcmp(view.format, <const char *>self.code) == 0:
                    fits = view.ndim == 0 or memcmp(
                        view.shape, &self.shape[0], view.ndim * sizeof(Py_ssize_t)) == 0
                if fits:
                    memcpy(to, view.buf, view.len)
                PyBuffer_Release(&view)
        if not fits:
            self.pack(views, index, obs)
        return 0

    cdef _error(self, int64_t i, error, what):
        return EnvError(f"{self.name}: env {i}, {what} {self.ticks[i - self.first]}: "
                        f"{type(error).__name__}: {error}")

    def close(self):
        """Close all envs."""
        for env in self.envs:
            env.close()
