# cython: language_level=3, wraparound=False
"""Games played by Python envs: their spec, the mailbox, the loop over Gymnasium envs. See _external.pyi."""

import numpy as np
from gymnasium.spaces import Discrete

from pufferenv.engine._engine import DISABLED, NEXT_STEP, DTYPES
from pufferenv.external.episode_infos import tell

cimport cython
from cpython.buffer cimport (
    Py_buffer, PyBUF_C_CONTIGUOUS, PyBUF_FORMAT, PyBuffer_Release, PyObject_CheckBuffer,
    PyObject_GetBuffer
)
from libc.math cimport isfinite
from cpython.exc cimport PyErr_CheckSignals
from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t
from libc.string cimport memcmp, memcpy, memset, strcmp

cdef enum:
    EXPONENT = 0x7f800000  # of a float32; all ones: NaN or infinite


cdef class SpecTable:
    """The spec of an external game and its config; the game keeps it alive."""

    cdef PufSpec spec
    cdef PufMailboxConfig mailbox_config
    cdef list kept  # bytes that the structs point to

    def __init__(self, str name, str doc, tuple obs_shape, obs_dtype, heads, axes, int num_agents,
                 bint has_mask):
        memset(&self.mailbox_config, 0, sizeof(self.mailbox_config))
        self.kept = []
        puf_mailbox_spec(
            &self.spec, self._text(name), self._text(doc), DTYPES.index(obs_dtype), has_mask)
        self.mailbox_config.num_agents = num_agents
        self.mailbox_config.obs_ndim = len(obs_shape)
        for k, width in enumerate(obs_shape):
            self.mailbox_config.obs_dims[k] = width
        self.mailbox_config.num_heads, self.mailbox_config.num_axes = len(heads), len(axes)
        for k, head in enumerate(heads):
            self.mailbox_config.heads[k] = PufHead(self._text(head.name), self._text(head.doc), head.n)
        for k, axis in enumerate(axes):
            self.mailbox_config.axes[k] = PufAxis(
                self._text(axis.name), self._text(axis.doc), axis.low, axis.high)

    cdef const char *_text(self, str text) except NULL:
        cdef bytes encoded = text.encode()
        self.kept.append(encoded)
        return encoded

    @property
    def address(self):
        """Of the PufSpec."""
        return <size_t>&self.spec

    def config(self, Mailbox mailbox=None):
        """The bytes of a PufMailboxConfig; without `mailbox` it says shapes and cannot be played."""
        cdef PufMailboxConfig config = self.mailbox_config
        if mailbox is not None:
            config.mailbox = PufMailbox(
                &mailbox.reward[0], &mailbox.done[0], &mailbox.alive[0], &mailbox.over[0], &mailbox.written[0],
                <const char *>&mailbox.obs[0, 0], <const char *>&mailbox.final[0, 0],
                &mailbox.legal[0, 0])
        return (<const char *>&config)[:sizeof(config)]


cdef class Mailbox:
    """The mailbox of mailbox_game.h, and what of the engine's arrays a runner reads and writes."""

    cdef float[::1] reward
    cdef uint8_t[::1] done, alive, over
    cdef int64_t[::1] written, slot, row_end
    cdef uint8_t[:, ::1] obs, final, slots, legal
    cdef int32_t[:, ::1] actions
    cdef int32_t[::1] told
    cdef float[:, ::1] axes
    cdef int64_t advance
    cdef bint direct
    cdef int64_t[::1] at  # (1,) the env at hand
    cdef readonly dict arrays

    def __init__(self, dict arrays, bint rows):
        self.arrays, self.advance, self.direct = arrays, rows, "slots" in arrays
        self.reward, self.done = arrays["reward"], arrays["done"]
        self.alive, self.over = arrays["alive"], arrays["over"]
        self.written = arrays["written"]
        self.obs, self.final = raw(arrays["obs"]), raw(arrays["final"])
        self.legal, self.told = arrays["legal"], arrays["told"]
        if "slot" not in arrays:  # the mailbox alone: what the engine reads
            return
        self.slot, self.row_end = arrays["slot"], arrays["row_end"]
        if self.direct:
            self.slots = raw(arrays["slots"])
        self.at = arrays.get("at", np.zeros(1, np.int64))
        self.actions, self.axes = arrays["action"], arrays["axis"]

    cpdef int64_t place(self, int64_t agent) except -2:
        """Note where an agent's next observation goes and return it: a slot, or -1: the mailbox."""
        cdef int64_t at = self.slot[agent] + self.advance
        self.written[agent] = at if self.direct and self.row_end[agent] > at else -1
        return self.written[agent]

    def has_told(self, int64_t begin, int64_t end):
        cdef int64_t i
        cdef int32_t some = 0
        for i in range(begin, end):
            some |= self.told[i]
        return some != 0


def raw(array):
    """The bytes of (n, *shape) as (n, bytes)."""
    return array.reshape(len(array), -1).view(np.uint8)


cdef class Floats:
    """The floats of an observation, which have to be finite."""

    cdef list parts
    cdef Py_ssize_t[:, ::1] ranges  # (floating parts, 2) first byte, number of floats

    def __init__(self, observations):
        self.parts = [part for part in observations.parts if part.dtype.kind == "f"]
        self.ranges = np.array(
            [[part.offset, part.num_bytes // 4] for part in self.parts], np.intp).reshape(-1, 2)

    @cython.boundscheck(False)
    cdef Py_ssize_t bad_part(self, const char *slot):
        """The first part that has a NaN or an infinity; -1: none."""
        cdef Py_ssize_t p, k, count
        cdef const uint32_t *bits
        cdef uint32_t bad
        for p in range(self.ranges.shape[0]):
            bits, count, bad = <const uint32_t *>(slot + self.ranges[p, 0]), self.ranges[p, 1], 0
            for k in range(count):  # without a branch, so that it is vectorized
                bad |= (bits[k] & EXPONENT) == EXPONENT
            if bad:
                return p
        return -1

    cdef int look(self, const char *slot) except -1:
        cdef Py_ssize_t k = 0, p = self.bad_part(slot)
        if p < 0:
            return 0
        values, part = <const float *>(slot + self.ranges[p, 0]), self.parts[p]
        while isfinite(values[k]):
            k += 1
        index = [int(n) for n in np.unravel_index(k, part.shape or (1,))]
        raise ValueError(f"{part.spelled} is {values[k]} at {index}: it must be finite, as float32 too")

    def check(self, uint8_t[:, ::1] slots, int64_t index):
        self.look(<const char *>&slots[index, 0])

    def first_bad(self, uint8_t[:, ::1] slots):
        cdef int64_t i
        for i in range(slots.shape[0]):
            if self.bad_part(<const char *>&slots[i, 0]) >= 0:
                return i
        return -1


class EnvError(RuntimeError):
    """An external env raised, or gave what it may not: which one and when."""


def scalars(actions):
    """What each choice of a single Discrete action is to its env, or None: not one of these."""
    if not isinstance(actions.space, Discrete) or actions.space.n > 65536:
        return None
    none = np.zeros(0, np.float32)
    return [actions.unpack(np.array([choice]), none) for choice in range(actions.space.n)]


cdef class GymnasiumRunner:
    """Gymnasium envs of one agent each, stepped one after the other. `first`: index of envs[0]."""

    cdef Mailbox mailbox
    cdef readonly list envs
    cdef list steps, table, next, mailed, final  # the last three: views by part, see packing.py
    cdef object pack, act, name, legal
    cdef Floats floats
    cdef int64_t first
    cdef int mode
    cdef uint8_t[::1] ended     # (E,) waits for its reset, or for the step that shows it
    cdef int64_t[::1] ticks     # (E,) steps since this env was made
    cdef bytes code             # of the observation's dtype in the buffer protocol; b"": packed
    cdef Py_ssize_t[::1] shape  # of one observation

    def __init__(self, Mailbox mailbox, list envs, int64_t first, int mode, name, observations, actions,
                 legal):
        self.mailbox, self.envs, self.first, self.mode, self.name = mailbox, envs, first, mode, name
        self.steps = [env.step for env in envs]
        self.legal, self.floats = legal, Floats(observations)
        self.pack, self.act = observations.write, actions.unpack
        self.table = scalars(actions)
        self.next, self.mailed, self.final = (
            observations.views(mailbox.arrays[key]) if key in mailbox.arrays else None
            for key in ("slots", "obs", "final"))
        self.shape = np.array(mailbox.arrays["obs"].shape[1:], np.intp)
        self.code = mailbox.arrays["obs"].dtype.char.encode() if observations.is_plain else b""
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
        self.mailbox.at[0] = i
        env = self.envs[i - self.first]
        obs, info = env.reset() if seed is None else env.reset(seed=seed)
        self.mailbox.written[i] = -1
        if self.legal is not None:
            self.legal.write(self.mailbox.arrays["legal"][i], obs, info)
        self._write(<char *>&self.mailbox.obs[i, 0], self.mailed, i, obs)
        self.mailbox.alive[i] = 1
        self.mailbox.over[i] = self.mailbox.done[i] = self.ended[i - self.first] = 0
        self.mailbox.reward[i] = 0

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
        cdef int64_t at, e = i - self.first
        cdef float reward
        self.mailbox.at[0] = i
        if self.table is not None:
            action = self.table[self.mailbox.actions[i, 0]]
        else:
            action = self.act(self.mailbox.arrays["action"][i], self.mailbox.arrays["axis"][i])
        self.ticks[e] += 1
        obs, given, terminated, truncated, info = self.steps[e](action)
        reward = given
        if not isfinite(reward):
            raise ValueError(f"its reward is {given!r}")
        self.mailbox.reward[i] = reward
        self.mailbox.over[i] = PUF_TERMINAL if terminated else PUF_TRUNCATED if truncated else PUF_LIVE
        if self.mailbox.over[i]:
            self._write(<char *>&self.mailbox.final[i, 0], self.final, i, obs)
            if info:
                tell(self.mailbox.arrays, i, (info,))
            self.ended[e] = self.mode == NEXT_STEP or self.mode == DISABLED
            if self.mode == DISABLED:
                return
            obs, info = self.envs[e].reset()
        if self.legal is not None:
            self.legal.write(self.mailbox.arrays["legal"][i], obs, info)
        if self.ended[e]:
            self.mailbox.written[i] = at = -1
        else:
            at = self.mailbox.place(i)
        if at < 0:
            self._write(<char *>&self.mailbox.obs[i, 0], self.mailed, i, obs)
        else:
            self._write(<char *>&self.mailbox.slots[at, 0], self.next, at, obs)

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
        return self.floats.look(to)

    cdef _error(self, int64_t i, error, what):
        return EnvError(f"{self.name}: env {i}, {what} {self.ticks[i - self.first]}: "
                        f"{type(error).__name__}: {error}")

    def close(self):
        """Close all envs."""
        for env in self.envs:
            env.close()


# --- between a process and its workers ----------------------------------------------------------
CHANNEL_BYTES = sizeof(PufChannel)


cdef class WorkerChannel:
    """One end of a line between this process and a worker (worker_channel.h)."""

    cdef PufChannel *line
    cdef uint8_t[::1] memory
    cdef int fd
    cdef uint32_t number  # of the last command that this end sent, or took

    def __init__(self, uint8_t[::1] memory, int fd):
        if memory.shape[0] != sizeof(PufChannel):
            raise ValueError(f"a line takes {sizeof(PufChannel)} bytes")
        self.memory, self.fd, self.number = memory, fd, 0
        self.line = <PufChannel *>&memory[0]

    @property
    def sent(self):
        return self.number

    @property
    def under_way(self):
        return <uint32_t>(self.number - self.line.done.count)

    @property
    def at(self):
        return self.line.at

    def place(self):
        """Where the worker says which env is at hand, (1,); valid as long as the memory."""
        return np.asarray(<int64_t[:1]>&self.line.at)

    def send(self, int kind, int begin, int end):
        cdef int32_t *command = self.line.commands[(self.number + 1) % PUF_CHANNEL_CAPACITY]
        if self.under_way >= PUF_CHANNEL_CAPACITY:
            raise RuntimeError(f"{PUF_CHANNEL_CAPACITY} commands are under way: receive some first")
        command[0], command[1], command[2] = kind, begin, end
        self.number += 1
        puf_signal_raise(&self.line.sent, self.fd)
        return self.number

    def take(self, int spin_us):
        cdef PufChannelStatus status = PUF_CHANNEL_TIMEOUT
        cdef int32_t *command
        while status != PUF_CHANNEL_OK:
            with nogil:
                status = puf_signal_wait(&self.line.sent, self.number + 1, self.fd, spin_us, -1)
            PyErr_CheckSignals()
            if status == PUF_CHANNEL_CLOSED:
                return None
        self.number += 1
        command = self.line.commands[self.number % PUF_CHANNEL_CAPACITY]
        return command[0], command[1], command[2]

    def finish(self):
        puf_signal_raise(&self.line.done, self.fd)

    def reached(self, uint32_t number):
        return puf_signal_reached(&self.line.done, number)


def wait_any(lines, numbers, int spin_us, int timeout_ms):
    """Wait until one line's command of its number is done -> whether it is; False: time is up.

    Raises EOFError where a worker is gone, and whatever a signal's handler raises.
    """
    cdef PufSignal *signals[256]
    cdef uint32_t[256] wanted
    cdef int[256] fds
    cdef int k, n = min(len(lines), 256)
    cdef PufChannelStatus status = PUF_CHANNEL_INTERRUPT
    for k in range(n):
        line = <WorkerChannel?>lines[k]
        signals[k], fds[k] = &(<WorkerChannel>line).line.done, (<WorkerChannel>line).fd
        wanted[k] = numbers[k]
    while status == PUF_CHANNEL_INTERRUPT:
        with nogil:
            status = puf_signal_wait_any(signals, wanted, fds, n, spin_us, timeout_ms)
        PyErr_CheckSignals()
    if status == PUF_CHANNEL_CLOSED:
        raise EOFError("a worker is gone")
    return status == PUF_CHANNEL_OK


def watch(int fd, int parent):
    """End this process when `fd`'s other end or the process `parent` is gone."""
    if puf_channel_watch(fd, parent):
        raise RuntimeError("cannot start a thread that watches the parent process")
