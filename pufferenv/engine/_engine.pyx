# cython: language_level=3, wraparound=False
"""The engine's Cython layer: Engine, all envs of one vector env. Documented in _engine.pyi."""

import os
from collections import namedtuple

import numpy as np

from pufferenv._installation import ISAS, choose_isa
from pufferenv.engine.arrays import given_memory, own_memory

from cpython.buffer cimport Py_buffer, PyBUF_SIMPLE, PyBuffer_Release, PyObject_GetBuffer
from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t, uint64_t
from libc.string cimport memcpy, memset
from posix.dlfcn cimport RTLD_LOCAL, RTLD_NOW, dlclose, dlerror, dlopen, dlsym

from pufferenv.contract.spec cimport (
    PUF_ABI, PUF_ERR_CONFIG, PUF_LIVE, PUF_MAX_AXES, PUF_MAX_DIMS, PUF_MAX_HEADS, PUF_OK,
    PUF_TERMINAL, PUF_TRUNCATED, PufAxis, PufField, PufHead, PufSpec
)

ABI = PUF_ABI
MAX_DIMS, MAX_HEADS, MAX_AXES = PUF_MAX_DIMS, PUF_MAX_HEADS, PUF_MAX_AXES
LIVE, TERMINAL, TRUNCATED = PUF_LIVE, PUF_TERMINAL, PUF_TRUNCATED
ROWS, SAME_STEP, NEXT_STEP, DISABLED = PUF_ROWS, PUF_SAME_STEP, PUF_NEXT_STEP, PUF_DISABLED
DTYPES = (np.dtype("u1"), np.dtype("i1"), np.dtype("i4"), np.dtype("f4"))


def mix_seed(seed, count, begin=0):
    """Return one seed per env: splitmix64 of (seed, env), independent of `count`."""
    mask = (1 << 64) - 1
    base = np.uint64((int(seed) * 0x9E3779B97F4A7C15 + 0x632BE59BD9B4E019) & mask)
    z = np.arange(begin, begin + count, dtype=np.uint64)
    with np.errstate(over="ignore"):
        z = (z + np.uint64(1)) * np.uint64(0xD1B54A32D192ED03) + base
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return z ^ (z >> np.uint64(31))


include "_this_build.pxi"
include "_game.pxi"


cdef class Engine:
    """All envs of one vector env: memory, threads, resets, rows. Documented in _engine.pyi."""

    cdef PufEngine engine
    cdef readonly Game game
    cdef readonly dict arrays
    cdef readonly int num_envs, env_agents, num_threads
    cdef readonly object num_agents
    cdef list memory
    cdef object pid
    cdef bint is_open
    cdef bint busy
    cdef int32_t[::1] rows_out

    def __cinit__(self):
        memset(&self.engine, 0, sizeof(PufEngine))
        self.is_open = False

    def __init__(self, Game game, bytes config, int num_envs, *, int mode, seeds, int num_threads=1,
                 int horizon=0, int num_rows=0, int batch_rows=0, int num_finals=0,
                 bint check=False, allocate=None):
        if self.is_open:
            raise RuntimeError("this engine is open already: make a new one")
        # Sizes are checked before anything is allocated.
        cdef PufOptions options
        options.mode, options.num_envs, options.num_threads = mode, num_envs, num_threads
        options.horizon, options.num_rows, options.batch_rows = horizon, num_rows, batch_rows
        options.num_finals, options.check = num_finals, check
        least = {"num_envs": num_envs, "num_threads": num_threads}
        if mode == PUF_ROWS:
            least |= {"horizon": horizon, "num_rows": num_rows, "batch_rows": batch_rows,
                      "num_finals": num_finals}
        for name, value in least.items():
            if value < 1:
                raise ValueError(f"{name}={value} must be at least 1")
        if num_threads > 256:
            raise ValueError(f"num_threads={num_threads} is outside [1, 256]")
        agents = game.shapes(config).num_agents
        if agents < 1:
            raise ValueError(f"{game.name} has num_agents={agents} per env under this config; "
                             "PUF_AGENTS must be at least 1")
        if agents * num_envs >= 1 << 31:
            raise ValueError(f"{num_envs} envs of {agents} agents are too many: at most 2^31 agents")
        if num_rows * horizon >= 1 << 40:
            raise ValueError(f"{num_rows} rows of horizon={horizon} are too many: at most 2^40 slots")
        if mode == PUF_ROWS and num_rows < agents * num_envs:
            raise ValueError(f"num_rows={num_rows} is less than one row for each of "
                             f"{agents * num_envs} agents; batch_rows + 2 * agents = "
                             f"{batch_rows + 2 * agents * num_envs} always suffices")
        # The plan decides the shapes of the arrays; with their memory the envs can be made.
        self.game, self.num_envs, self.num_threads = game, num_envs, num_threads
        self.pid = os.getpid()
        if puf_engine_plan(&self.engine, game.spec, <const char *>config, &options) != PUF_OK:
            raise MemoryError("no memory for the config")
        self.env_agents, self.num_agents = self.engine.env_agents, self.engine.num_agents
        self._allocate(allocate)
        cdef const char *why = NULL
        cdef uint64_t[::1] seeds_view = self._seeds(seeds)
        cdef int status = puf_engine_open(&self.engine, &seeds_view[0], &why)
        if status != PUF_OK:
            puf_engine_close(&self.engine, False)
            self._refuse(status, why)
        self.is_open = True
        self.rows_out = np.zeros(max(batch_rows, 1), np.int32)
        self._raise_first_faults()  # of the first observations

    cdef _seeds(self, seeds):
        seeds = np.ascontiguousarray(seeds, dtype=np.uint64)
        if seeds.shape != (self.num_envs,):
            raise ValueError(f"seeds has shape {seeds.shape}, it must be ({self.num_envs},): one per env")
        return seeds

    cdef _refuse(self, int status, const char *why):
        text = why.decode() if why != NULL else "no reason given"
        if status == PUF_ERR_CONFIG:
            raise ValueError(f"{self.game.name} refuses this config: {text}")
        raise MemoryError(f"{self.game.name}: {text if why != NULL else 'out of memory'}")

    cdef _allocate(self, allocate):
        cdef PufArrayInfo[PUF_MAX_ARRAYS] infos
        cdef Member[PUF_MAX_ARRAYS] members
        cdef size_t address
        cdef int k, d, count = puf_engine_arrays(&self.engine, infos, members)
        self.arrays, self.memory = {}, []
        for k in range(count):
            members[k][0] = NULL
            if not infos[k].present:
                continue
            name, code = infos[k].name.decode(), infos[k].code.decode()
            dtype = self.game.obs_dtype if code == "obs" else np.dtype(code)
            shape = tuple([infos[k].dims[d] for d in range(infos[k].ndim)])
            given = allocate(name, shape, dtype) if allocate is not None else None
            if given is None:
                item = int(np.prod(shape[1:], dtype=np.int64)) * dtype.itemsize
                memory = own_memory(shape[0] * item, k, infos[k].usual * item)
            else:
                memory = given_memory(name, given, shape, dtype)
            self.memory.append(memory)
            address = memory.ctypes.data
            members[k][0] = <void *>address
            self.arrays[name] = memory.view(dtype).reshape(shape)
        if self.engine.options.mode == PUF_ROWS:
            self._split_slots()

    cdef _split_slots(self):
        """Divide the single array of slots into pool, final slots and sinks."""
        slots, finals = self.engine.num_slots, self.engine.options.num_finals
        pool = (self.engine.options.num_rows, self.engine.options.horizon)
        memory = self.arrays.pop("observation")
        self.arrays["final_observation"] = memory[slots:slots + finals]
        self.arrays["pool_observation"] = memory[:slots].reshape(pool + memory.shape[1:])
        if "mask" in self.arrays:
            memory = self.arrays.pop("mask")
            self.arrays["pool_mask"] = memory[:slots].reshape(pool + memory.shape[1:])

    # --- guards -------------------------------------------------------------------------------
    cdef _enter(self):
        """Claim the engine for one call; RuntimeError if it is closed, busy or forked."""
        if not self.is_open:
            raise RuntimeError(f"{self.game.name if self.game else 'engine'} is closed: make a new one")
        if self.busy:
            raise RuntimeError("another thread is in a step or reset of this env: "
                               "one thread at a time, or one env per thread")
        if os.getpid() != self.pid:
            raise RuntimeError(f"this env was made in process {self.pid} and its threads did not follow "
                               f"the fork into process {os.getpid()}: make a new env here")
        self.busy = True

    cdef int32_t _last(self, int begin, end) except -1:
        """Return the end of a range of envs; ValueError for a range that is not in [0, E)."""
        last = self.num_envs if end is None else end
        if not 0 <= begin < last <= self.num_envs:
            raise ValueError(f"envs [{begin}, {last}) are not in [0, {self.num_envs})")
        return last

    cdef _raise_fault(self):
        fault = self.engine.fault
        text = fault.text.decode()
        if fault.head != NULL:
            text += f" head {fault.head.decode()}"
        who = "" if fault.agent < 0 else f", agent {fault.agent}"
        raise RuntimeError(f"{self.game.name} {text}: env {fault.env}{who}, step {fault.step}")

    cdef _raise_first_faults(self):
        if puf_engine_check_faults(&self.engine, 0, self.num_envs) == PUF_STEP_FAULT:
            self._raise_fault()

    # --- the calls --------------------------------------------------------------------------
    def reset(self, seeds=None, mask=None):
        """Begin new episodes; `seeds` (E,) re-creates the envs, `mask` (E,) selects envs."""
        cdef uint64_t[::1] seeds_view
        cdef const uint8_t[::1] mask_view
        cdef const uint64_t *seeds_at = NULL
        cdef const uint8_t *mask_at = NULL
        cdef const char *why = NULL
        cdef int status
        if seeds is not None:
            seeds_view = self._seeds(seeds)
            seeds_at = &seeds_view[0]
        if mask is not None:
            if self.engine.options.mode == PUF_ROWS:
                raise ValueError("mask: with rows all envs are reset together, leave it out")
            mask = np.asarray(mask)
            if mask.shape != (self.num_envs,) or mask.dtype != np.bool_:
                raise ValueError(f"mask has shape {mask.shape} and dtype {mask.dtype}, "
                                 f"it must be ({self.num_envs},) and bool: one per env")
            mask_view = np.ascontiguousarray(mask).view(np.uint8)
            mask_at = &mask_view[0]
        self._enter()
        try:
            with nogil:
                status = puf_engine_reset(&self.engine, seeds_at, mask_at, &why)
        finally:
            self.busy = False
        if status != PUF_OK:  # some envs were not made: none may be stepped again
            self.is_open = False
            puf_engine_close(&self.engine, False)
            self._refuse(status, why)
        self._raise_first_faults()

    def step(self, int begin=0, end=None):
        """Step envs [begin, end) with the arrays action and axis; releases the GIL."""
        cdef int32_t last = self._last(begin, end)
        cdef PufStepStatus status
        self._enter()
        try:
            with nogil:
                status = puf_engine_step(&self.engine, begin, last)
        finally:
            self.busy = False
        if status != PUF_STEP_OK:
            self._raise_step(status, (last - begin) * self.env_agents)

    cdef _raise_step(self, PufStepStatus status, agents):
        if status == PUF_STEP_FAULT:
            self._raise_fault()
        if status == PUF_STEP_FINALS:
            free = self.engine.options.num_finals - self.engine.num_final
            raise RuntimeError(f"{free} final slots are free and {agents} agents step: evaluate the final "
                               "observations, then call clear_finals()")
        if status == PUF_STEP_FULL:
            raise RuntimeError(f"{self.num_free} rows are free and {agents} agents step: {self.num_full} "
                               "rows are full; call batch() and release() before the next step")
        if status == PUF_STEP_EMPTY:
            raise RuntimeError(f"no agent of {self.num_envs} envs has been alive for more than "
                               f"{self.engine.options.horizon} steps (one horizon): the game must spawn "
                               "an agent or end the episode")
        raise AssertionError(self.engine.fault.text.decode())

    def set_actions(self, actions=None, axes=None):
        """Check and copy integers (A, K) and floats (A, X); the floats are clipped."""
        if (actions is None) != (self.engine.num_heads == 0):
            raise ValueError(width_error(self, "actions", self.engine.num_heads, actions))
        if (axes is None) != (self.engine.num_axes == 0):
            raise ValueError(width_error(self, "axes", self.engine.num_axes, axes))
        if actions is not None:
            copy_actions(self, actions, "actions", self.engine.num_heads, "i")
        if axes is not None:
            copy_actions(self, axes, "axes", self.engine.num_axes, "f")

    @property
    def addresses(self):
        """Return addresses of the PufEngine and of two functions, for loops written in C."""
        return {"engine": <size_t>&self.engine, "step": <size_t>&puf_engine_step,
                "release": <size_t>&puf_rows_release}

    @property
    def env_bytes(self):
        """Return the size of one env's own state, the game's struct, in bytes."""
        return self.engine.spec.env_size

    def env_address(self, int env):
        """Return the address of one env's state, valid until the next step or reset."""
        if not 0 <= env < self.num_envs:
            raise ValueError(f"env {env} is not in [0, {self.num_envs})")
        self._enter()
        self.busy = False
        return <size_t>self.engine.envs + <size_t>env * self.engine.spec.env_size

    def alive_address(self, int env):
        """Return the address of one env's part of `alive`, valid until the engine is closed."""
        if not 0 <= env < self.num_envs:
            raise ValueError(f"env {env} is not in [0, {self.num_envs})")
        return <size_t>self.engine.io.alive + <size_t>env * self.env_agents

    @property
    def shared_address(self):
        """Return the address of what env_load made, or 0."""
        return <size_t>self.engine.io.shared

    # --- after a step -------------------------------------------------------------------------
    @property
    def begun(self):
        """Return whether every env was at the start of an episode when the engine was made."""
        return True

    @property
    def any_final(self):
        return bool(self.engine.any_final)

    @property
    def any_log(self):
        return bool(self.engine.any_log)

    @property
    def num_final(self):
        return self.engine.num_final

    @property
    def num_full(self):
        return self.engine.rows.full.count

    @property
    def num_open(self):
        return self.engine.rows.num_open

    @property
    def num_abandoned(self):
        return self.engine.rows.abandoned.count

    @property
    def num_free(self):
        return self.engine.rows.num_free

    @property
    def num_live(self):
        return self.engine.num_live

    def clear_finals(self):
        """Free the final slots, once their observations have been evaluated."""
        self.engine.num_final = 0

    def uniform_first_slot(self, int begin=0, end=None):
        """Return the first agent's slot s if each agent a of the range is at s + a * H, else -1."""
        cdef int32_t last = self._last(begin, end)
        return puf_engine_uniform_first_slot(&self.engine, begin, last) if self.is_open else -1

    def live_agents(self, int begin=0, end=None):
        """Return the live agents of envs [begin, end), ascending."""
        cdef int32_t last = self._last(begin, end)
        cdef int32_t count = puf_engine_live_agents(&self.engine, begin, last) if self.is_open else 0
        out = np.empty(count, np.int32)
        cdef int32_t[::1] view = out
        if count:
            memcpy(&view[0], self.engine.live, count * sizeof(int32_t))
        return out

    def batch(self):
        """Return the `batch_rows` oldest full rows, the oldest first; ties by env, then agent."""
        cdef int32_t want = self.engine.options.batch_rows
        if not self.is_open or puf_rows_oldest(&self.engine.rows, want, &self.rows_out[0]):
            raise RuntimeError(f"{self.num_full} rows are full, a batch takes {want}")
        return np.array(self.rows_out)

    def release(self):
        """Free the rows of `batch()`."""
        cdef int32_t want = self.engine.options.batch_rows
        if not self.is_open or puf_rows_release(&self.engine.rows, want):
            raise RuntimeError(f"{self.num_full} rows are full, a batch takes {want}")

    def check(self):
        """Raise AssertionError with the first invariant of the rows that does not hold."""
        cdef const char *text = puf_engine_check(&self.engine) if self.is_open else NULL
        if text != NULL:
            raise AssertionError(text.decode())

    def log(self):
        """Return count, then mean, deviation, min and max per log field, since the last call."""
        cdef uint32_t k
        cdef double count = self.engine.num_logs
        if not self.is_open:
            return {}
        answer = {"episodes": (count, 0.0, count, count)}
        for k in range(self.engine.spec.num_log if count else 0):
            stat = self.engine.stats[k]
            name = self.engine.spec.log[k].name.decode()
            answer[name] = (stat.mean, (max(stat.m2, 0.0) / count) ** 0.5, stat.min, stat.max)
        self.engine.num_logs = 0
        return answer

    def close(self):
        """Stop the threads and free the envs. The arrays stay valid; closing twice is fine."""
        if not self.is_open:
            return
        if self.busy:
            raise RuntimeError("another thread is in a step of this env: close it afterwards")
        self.is_open = False
        puf_engine_close(&self.engine, os.getpid() != self.pid)

    def __dealloc__(self):
        puf_engine_close(&self.engine, self.is_open and os.getpid() != self.pid)


include "_actions.pxi"
