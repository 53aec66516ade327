# The runner of Gymnasium envs. It is compiled, because the loop around cheap envs costs as much as
# their own `step`.

cdef enum:
    MAX_ACTION_OBJECTS = 65536


def action_objects(actions):
    """Return the action for each choice of a Discrete space; None for a large or other space."""
    if not isinstance(actions.space, Discrete) or actions.space.n > MAX_ACTION_OBJECTS:
        return None
    none = np.zeros(0, np.float32)
    return [actions.unpack(np.array([choice]), none) for choice in range(actions.space.n)]


cdef class GymnasiumRunner:
    """Steps Gymnasium envs one after the other. `first`: the engine's index of envs[0]."""

    cdef Mailbox mailbox
    cdef readonly list envs
    cdef list env_steps         # their bound methods
    cdef list actions           # by choice, see action_objects; None: `unpack` makes each
    cdef object unpack          # (choices, axes) -> action, see ActionPacking
    cdef object write           # (views, index, observation), see Packing
    cdef list slot_views, obs_views, final_views  # one per part, of the arrays to write to
    cdef object name, masks
    cdef FiniteCheck finite
    cdef int64_t first
    cdef int mode
    cdef uint8_t[::1] ended      # (E,) skip the next step: the episode is over
    cdef int64_t[::1] num_steps  # (E,) since the env was made
    # An observation that is an array of this dtype and shape is copied directly, without Packing.
    cdef bytes dtype_code       # in the buffer protocol; b"" for a nested space
    cdef Py_ssize_t[::1] shape

    def __init__(self, Mailbox mailbox, list envs, int64_t first, int mode, description):
        observations, actions = description.observations, description.actions
        self.mailbox, self.envs, self.first, self.mode = mailbox, envs, first, mode
        self.env_steps = [env.step for env in envs]
        self.name, self.masks = description.name, description.masks
        self.finite = FiniteCheck(observations)
        self.write, self.unpack = observations.write, actions.unpack
        self.actions = action_objects(actions)
        self.slot_views, self.obs_views, self.final_views = (
            observations.views(mailbox.arrays[key]) if key in mailbox.arrays else None
            for key in ("slots", "obs", "final_obs"))
        obs = mailbox.arrays["obs"]
        self.shape = np.array(obs.shape[1:], np.intp)
        self.dtype_code = obs.dtype.char.encode() if observations.is_plain else b""
        self.ended = np.zeros(len(envs), np.uint8)
        self.num_steps = np.zeros(len(envs), np.int64)

    def reset(self, int64_t begin, int64_t end, seeds=None, mask=None):
        cdef int64_t i = begin
        try:
            for i in range(begin, end):
                if mask is None or mask[i]:
                    self._reset(i, None if seeds is None else int(seeds[i]))
        except Exception as error:
            raise self._error(i, error, "reset") from error

    cdef _reset(self, int64_t i, seed):
        self.mailbox.current_env[0] = i
        env = self.envs[i - self.first]
        obs, info = env.reset() if seed is None else env.reset(seed=seed)
        self.mailbox.written_slot[i] = -1
        if self.masks is not None:
            self.masks.read(obs, info, self.mailbox.arrays["action_mask"][i])
        self._write(<char *>&self.mailbox.obs[i, 0], self.obs_views, i, obs)
        self.mailbox.alive[i] = 1
        self.mailbox.episode_done[i] = self.mailbox.done[i] = self.ended[i - self.first] = 0
        self.mailbox.reward[i] = 0

    def step(self, int64_t begin, int64_t end):
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
        cdef int64_t slot, e = i - self.first
        cdef float reward
        cdef Mailbox mailbox = self.mailbox
        mailbox.current_env[0] = i
        if self.actions is not None:
            action = self.actions[mailbox.action[i, 0]]
        else:
            action = self.unpack(mailbox.arrays["action"][i], mailbox.arrays["axis"][i])
        self.num_steps[e] += 1
        obs, given, terminated, truncated, info = self.env_steps[e](action)
        reward = given
        if not isfinite(reward):
            raise ValueError(f"its reward is {given!r}; it must be finite as float32")
        mailbox.reward[i] = reward
        mailbox.episode_done[i] = \
            PUF_TERMINAL if terminated else PUF_TRUNCATED if truncated else PUF_LIVE

        # The episode ended: keep its last observation and info, then begin the next one.
        if mailbox.episode_done[i]:
            self._write(<char *>&mailbox.final_obs[i, 0], self.final_views, i, obs)
            if info:
                write_infos(mailbox.arrays, i, (info,))
            self.ended[e] = self.mode == NEXT_STEP or self.mode == DISABLED
            if self.mode == DISABLED:
                return
            obs, info = self.envs[e].reset()

        if self.masks is not None:
            self.masks.read(obs, info, mailbox.arrays["action_mask"][i])
        if self.ended[e]:  # NEXT_STEP: the engine reads this observation one step later
            mailbox.written_slot[i] = slot = -1
        else:
            slot = mailbox.next_slot(i)
        if slot < 0:
            self._write(<char *>&mailbox.obs[i, 0], self.obs_views, i, obs)
        else:
            self._write(<char *>&mailbox.slots[slot, 0], self.slot_views, slot, obs)

    cdef int _write(self, char *to, list views, int64_t index, obs) except -1:
        """Write an observation to place `index` of `views`, whose address is `to`."""
        cdef Py_buffer view
        cdef bint fits = False
        if self.dtype_code and PyObject_CheckBuffer(obs):
            try:
                PyObject_GetBuffer(obs, &view, PyBUF_FORMAT | PyBUF_C_CONTIGUOUS)
            except (BufferError, ValueError):  # numpy raises ValueError for a strided array
                pass
            else:
                if view.ndim == self.shape.shape[0] and \
                        strcmp(view.format, <const char *>self.dtype_code) == 0:
                    fits = view.ndim == 0 or memcmp(
                        view.shape, &self.shape[0], view.ndim * sizeof(Py_ssize_t)) == 0
                if fits:
                    memcpy(to, view.buf, view.len)
                PyBuffer_Release(&view)
        if not fits:
            self.write(views, index, obs)
        return self.finite.check_slot(to)

    cdef _error(self, int64_t i, error, what):
        return EnvError(f"{self.name}: env {i}, {what} {self.num_steps[i - self.first]}: "
                        f"{type(error).__name__}: {error}")

    def render(self, envs):
        return [self.envs[env - self.first].render() for env in envs]

    def close(self):
        for env in self.envs:
            env.close()
