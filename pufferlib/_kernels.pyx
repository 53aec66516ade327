# cython: language_level=3
"""Python's door to the native passes of kernels.h: checks arrays, fills a struct, releases the GIL.

The signatures, with every shape, are documented in _kernels.pyi.
"""

from cpython.buffer cimport (
    PyBUF_FORMAT,
    PyBUF_STRIDES,
    PyBuffer_IsContiguous,
    PyBuffer_Release,
    PyObject_CheckBuffer,
    PyObject_GetBuffer,
)
from libc.stdint cimport int32_t, int64_t, uint8_t, uint16_t, uint64_t
from libc.stdlib cimport free, malloc, realloc
from libc.string cimport memcpy
from posix.time cimport CLOCK_MONOTONIC, clock_gettime, timespec


cdef const PufPasses *PASSES = puf_passes()
WIDTH = PASSES.width.decode()

cdef enum:
    MAX_ARRAYS = 32

cdef enum Kind:
    F32, F64, BF16, I32, I64, U64, U8, I8, NUM_KINDS

KIND_NAMES = (
    "float32", "float64", "bfloat16 as uint16", "int32", "int64", "uint64", "uint8 or bool", "int8",
)


cdef class Arrays:
    """The arrays of one call, checked and held until it returns."""

    cdef Py_buffer views[MAX_ARRAYS]
    cdef int count

    def __dealloc__(self):
        cdef int i
        for i in range(self.count):
            PyBuffer_Release(&self.views[i])

    cdef Py_buffer *hold(
        self, str name, object array, bint writable=False, bint contiguous=True
    ) except NULL:
        """Take any array, C-contiguous unless it says otherwise."""
        cdef Py_buffer *view = &self.views[self.count]
        if not PyObject_CheckBuffer(array):
            raise TypeError(
                f"{name}: expected a numpy array, got {type(array).__name__}"
                " (of a tensor pass tensor.detach().numpy())"
            )
        PyObject_GetBuffer(array, view, PyBUF_FORMAT | PyBUF_STRIDES)
        self.count += 1
        if contiguous and not PyBuffer_IsContiguous(view, b"C"):
            raise ValueError(f"{name}: not C-contiguous; pass numpy.ascontiguousarray({name})")
        if writable and view.readonly:
            raise ValueError(f"{name}: is written to, but the array is read-only")
        return view

    cdef void *take(
        self, str name, object array, Kind kind, int64_t items, int64_t width=-1,
        bint writable=False, bint pool=False,
    ) except? NULL:
        """Take an array (items,) or (items, width); of a pool its leading dimensions multiply to items."""
        if array is None:
            raise TypeError(f"{name}: missing; expected {expected(kind, items, width, pool)}")
        cdef Py_buffer *view = self.hold(name, array, writable)
        cdef int last = view.ndim if width < 0 else view.ndim - 1
        cdef bint fits = kind_of(view) == kind and last >= 1 and (pool or last == 1)
        cdef int64_t leading = 1
        cdef int i
        if fits:
            for i in range(last):
                leading *= view.shape[i]
            fits = leading == items and (width < 0 or view.shape[last] == width)
        if not fits:
            raise ValueError(
                f"{name}: expected {expected(kind, items, width, pool)}, got {described(view)}"
            )
        return view.buf

    cdef PufRows rows(
        self, str name, object array, int64_t items, int64_t width, bint writable=False,
    ) except *:
        """Take float32 (items, width) of which only the rows need be contiguous."""
        cdef PufRows rows
        if array is None:
            raise TypeError(f"{name}: missing; expected {expected(F32, items, width, False)}")
        cdef Py_buffer *view = self.hold(name, array, writable, False)
        cdef bint fits = kind_of(view) == F32 and view.ndim == 2
        if not fits or view.shape[0] != items or view.shape[1] != width:
            raise ValueError(
                f"{name}: expected {expected(F32, items, width, False)}, got {described(view)}"
            )
        if view.strides[0] % sizeof(float) or (width > 1 and view.strides[1] != sizeof(float)):
            raise ValueError(f"{name}: its rows are not contiguous")
        rows.at, rows.stride = <float *>view.buf, view.strides[0] // <int64_t>sizeof(float)
        return rows

    cdef PufRows column(self, str name, object array, int64_t items, bint writable=False) except *:
        """Take float32 (items,), whatever its stride."""
        cdef PufRows rows
        if array is None:
            raise TypeError(f"{name}: missing; expected {expected(F32, items, -1, False)}")
        cdef Py_buffer *view = self.hold(name, array, writable, False)
        if kind_of(view) != F32 or view.ndim != 1 or view.shape[0] != items:
            raise ValueError(
                f"{name}: expected {expected(F32, items, -1, False)}, got {described(view)}"
            )
        if view.strides[0] % sizeof(float):
            raise ValueError(f"{name}: its stride is no whole number of floats")
        rows.at, rows.stride = <float *>view.buf, view.strides[0] // <int64_t>sizeof(float)
        return rows


cdef Kind kind_of(const Py_buffer *view) noexcept:
    """The kind of an array's elements, NUM_KINDS if it is none of ours."""
    cdef char c = view.format[0] if view.format != NULL else b"B"
    if view.format != NULL and view.format[1] != 0:
        return NUM_KINDS
    if c == b"f":
        return F32
    if c == b"d":
        return F64
    if c == b"H" and view.itemsize == 2:
        return BF16
    if c == b"B" or c == b"?":
        return U8
    if c == b"b":
        return I8
    if c == b"i" or c == b"l" or c == b"q":
        return I32 if view.itemsize == 4 else I64
    if (c == b"L" or c == b"Q") and view.itemsize == 8:
        return U64
    return NUM_KINDS


cdef str expected(Kind kind, int64_t items, int64_t width, bint pool):
    shape = f"({items},)" if width < 0 else f"({items}, {width})"
    return f"{KIND_NAMES[kind]} of shape {shape}" + (", the first as (rows, horizon) too" * pool)


cdef str described(const Py_buffer *view):
    shape = tuple([view.shape[i] for i in range(view.ndim)])
    kind = kind_of(view)
    named = KIND_NAMES[kind] if kind != NUM_KINDS else f"buffer format '{view.format.decode()}'"
    return f"{named} of shape {shape}"


cdef int64_t length(str name, object array, int axis=0) except -1:
    """Dimension `axis` of an array, counted from its end if negative."""
    if array is None:
        raise TypeError(f"{name}: missing")
    shape = getattr(array, "shape", None)
    if shape is None:
        raise TypeError(f"{name}: expected a numpy array, got {type(array).__name__}")
    if not -len(shape) <= axis < len(shape):
        raise ValueError(f"{name}: expected at least {axis + 1 if axis >= 0 else -axis} dimensions, "
                         f"got shape {tuple(shape)}")
    return shape[axis]


cdef int64_t slots_of(str name, object array) except -1:
    """Slots of a pool column with one number per slot."""
    cdef int64_t slots = length(name, array)
    return slots if array.ndim == 1 else slots * length(name, array, 1)


cdef int raise_fault(const PufFault *fault, str index_name) except -1:
    if fault.array == NULL:
        raise MemoryError("out of memory in a native pass")
    name = fault.array.decode()
    name = index_name if name == "index" else name
    raise IndexError(
        f"{name}[{fault.index}] = {fault.value} is outside [{fault.begin}, {fault.end})"
    )


cdef int64_t choices_of(const int32_t *sizes, int64_t num_heads) except -1:
    cdef int64_t k, total = 0
    for k in range(num_heads):
        if sizes[k] < 1:
            raise ValueError(f"sizes[{k}] = {sizes[k]}: a head needs at least one choice")
        total += sizes[k]
    return total


# A product as BLAS has it. Sizes are read as 32 or 64 bits, whichever the library was built for.
ctypedef void (*Sgemm)(
    const char *, const char *, const int64_t *, const int64_t *, const int64_t *, const float *,
    const float *, const int64_t *, const float *, const int64_t *, const float *, float *,
    const int64_t *,
) noexcept nogil
cdef Sgemm SGEMM = NULL


cdef struct Factor:
    PufRows fixed
    const PufRows *given  # what a Given was given last, or NULL
    char turned


cdef struct Product:
    int64_t num_rows, inner, num_columns
    Factor left, right
    PufRows out
    float beta


cdef struct Loss:
    PufLoss loss
    const double *numbers  # adv_mean, adv_scale, ent_coef and count of the moment, or NULL


cdef struct Sample:
    PufSample sample
    const int32_t *version  # of the moment, or NULL


cdef struct Float:
    PufFloat rows
    char *const *at  # of the moment
    const int64_t *stride


# The passes that a tape can hold.
cdef enum Pass:
    PRODUCT, FILL, SAMPLE, LOSS, GATHER, MOMENTS, TO_FLOAT, DENSE, DENSE_BACK, LSTM, LSTM_BACK
    MINGRU, MINGRU_BACK, TURN, KEEP, CARRY, BEGIN


cdef struct Entry:
    Pass which
    void *args


# One tape while it is played.
cdef struct Stretch:
    const Entry *entries
    int64_t length, reached
    double seconds
    PufFault fault


# What one thread plays, one tape after the other.
cdef struct Track:
    Stretch *stretches
    int64_t length


cdef PufRows rows_of(const Factor *factor) noexcept nogil:
    return factor.fixed if factor.given == NULL else factor.given[0]


cdef void multiply(const Product *p) noexcept nogil:
    """Give BLAS, which counts column by column, the factors the other way round."""
    cdef PufRows left = rows_of(&p.left), right = rows_of(&p.right)
    cdef float alpha = 1.0
    SGEMM(
        &p.right.turned, &p.left.turned, &p.num_columns, &p.num_rows, &p.inner, &alpha,
        right.at, &right.stride, left.at, &left.stride, &p.beta, p.out.at, &p.out.stride,
    )


cdef int lose(Loss *p, PufFault *fault) noexcept nogil:
    if p.numbers != NULL:
        p.loss.adv_mean, p.loss.adv_scale = <float>p.numbers[0], <float>p.numbers[1]
        p.loss.ent_coef, p.loss.count = <float>p.numbers[2], p.numbers[3]
    return PASSES.ppo_loss(&p.loss, fault)


cdef int draw(Sample *p, PufFault *fault) noexcept nogil:
    if p.version != NULL:
        p.sample.version = p.version[0]
    return PASSES.sample(&p.sample, fault)


cdef void make_float(Float *p) noexcept nogil:
    p.rows.from_, p.rows.stride = p.at[0], p.stride[0]
    PASSES.to_float(&p.rows)


cdef int run(Pass which, void *p, PufFault *fault) noexcept nogil:
    """Run one pass -> 0, or -1 with the fault filled in."""
    if which == PRODUCT:
        multiply(<const Product *>p)
    elif which == FILL:
        PASSES.fill(<const PufFill *>p)
    elif which == SAMPLE:
        return draw(<Sample *>p, fault)
    elif which == LOSS:
        return lose(<Loss *>p, fault)
    elif which == GATHER:
        return PASSES.gather(<const PufGather *>p, fault)
    elif which == MOMENTS:
        return PASSES.moments(<const PufMoments *>p, fault)
    elif which == TO_FLOAT:
        make_float(<Float *>p)
    elif which == DENSE:
        PASSES.dense(<const PufDense *>p)
    elif which == DENSE_BACK:
        PASSES.dense_back(<const PufDenseBack *>p)
    elif which == LSTM:
        PASSES.lstm(<const PufLSTM *>p)
    elif which == LSTM_BACK:
        PASSES.lstm_back(<const PufLSTMBack *>p)
    elif which == MINGRU:
        PASSES.mingru(<const PufMinGRU *>p)
    elif which == MINGRU_BACK:
        PASSES.mingru_back(<const PufMinGRUBack *>p)
    elif which == TURN:
        PASSES.turn(<const PufTurn *>p)
    elif which == KEEP:
        PASSES.keep(<const PufKeep *>p)
    elif which == BEGIN:
        return PASSES.begin(<const PufBegin *>p, fault)
    elif which == CARRY:
        PASSES.carry(<const PufCarry *>p)
    return 0


cdef double seconds() noexcept nogil:
    cdef timespec now
    clock_gettime(CLOCK_MONOTONIC, &now)
    return now.tv_sec + 1e-9 * now.tv_nsec


cdef void play_track(void *tracks, size_t number) noexcept nogil:
    """Play one of the tracks, up to a fault."""
    cdef Track *track = &(<Track *>tracks)[number]
    cdef Stretch *stretch
    cdef double begin = seconds()
    cdef int64_t k
    for k in range(track.length):
        stretch = &track.stretches[k]
        while stretch.reached < stretch.length:
            entry = stretch.entries[stretch.reached]
            if run(entry.which, entry.args, &stretch.fault):
                return
            stretch.reached += 1
        stretch.seconds = seconds() - begin
        begin += stretch.seconds


cdef class Tape:
    """Passes with their arrays, checked once, played one after the other without the GIL."""

    cdef Entry *entries
    cdef int64_t length, room
    cdef list held, givens, names

    def __cinit__(self):
        self.held, self.givens, self.names = [], [], []

    def __dealloc__(self):
        cdef int64_t i
        for i in range(self.length):
            free(self.entries[i].args)
        free(self.entries)

    cdef int add(self, Pass which, const void *args, size_t size, Arrays arrays, str name) except -1:
        cdef int64_t room = self.room if self.length < self.room else 2 * self.room + 8
        cdef Entry *entries = <Entry *>realloc(self.entries, room * sizeof(Entry))
        if entries == NULL:
            raise MemoryError("out of memory for a tape")
        self.entries, self.room = entries, room
        cdef void *own = malloc(size)
        if own == NULL:
            raise MemoryError("out of memory for a tape")
        memcpy(own, args, size)
        self.held.append(arrays)
        self.names.append(name)
        entries[self.length].which, entries[self.length].args = which, own
        self.length += 1
        return 0

    cdef int ready(self) except -1:
        cdef Given given
        for given in self.givens:
            if given.at == NULL:
                raise ValueError(f"a matrix {given.shape} that this tape reads was never put")
        return 0


cdef class Crew:
    """Threads that play tapes side by side, the calling one among them."""

    cdef PufThreads *threads
    cdef readonly int size

    def __init__(self, int size):
        if size < 1:
            raise ValueError(f"size={size}: at least the calling thread")
        self.size, self.threads = size, puf_threads_new(size)
        if self.threads == NULL:
            raise RuntimeError(
                f"{size} threads could not be started; take fewer, or raise the limit of processes"
            )

    def __dealloc__(self):
        puf_threads_free(self.threads, 0)

    def close(self, bint forked=False):
        """End the threads."""
        puf_threads_free(self.threads, forked)
        self.threads = NULL

    def play(self, list tracks):
        """Play tracks, each a list of tapes, side by side -> the seconds of the first one's."""
        cdef size_t count = len(tracks), total = sum([len(track) for track in tracks]), at = 0
        cdef Track *own = NULL
        cdef Stretch *stretches = NULL
        cdef Tape tape
        cdef size_t i
        if self.threads == NULL:
            raise RuntimeError("this crew was closed")
        try:
            own = <Track *>malloc(max(count, 1) * sizeof(Track))
            stretches = <Stretch *>malloc(max(total, 1) * sizeof(Stretch))
            if own == NULL or stretches == NULL:
                raise MemoryError("out of memory to play tapes")
            for i, track in enumerate(tracks):
                own[i].stretches, own[i].length = stretches + at, len(track)
                for tape in track:
                    tape.ready()
                    stretches[at].entries, stretches[at].length = tape.entries, tape.length
                    stretches[at].reached, stretches[at].seconds = 0, 0.0
                    at += 1
            with nogil:
                puf_threads_run(self.threads, play_track, own, count)
            at = 0
            for track in tracks:
                for tape in track:
                    if stretches[at].reached < stretches[at].length:
                        raise_fault(&stretches[at].fault, tape.names[stretches[at].reached])
                    at += 1
            return [stretches[i].seconds for i in range(own[0].length)] if count else []
        finally:
            free(stretches)
            free(own)


cdef int do(
    Pass which, void *args, size_t size, Arrays arrays, Tape tape, str name="", bint let_go=True
) except -1:
    """Run a pass, or put it on the tape; `name` is what an index in a fault is called."""
    cdef PufFault fault
    cdef int bad
    if tape is not None:
        return tape.add(which, args, size, arrays, name)
    if let_go:
        with nogil:
            bad = run(which, args, &fault)
    else:
        bad = run(which, args, &fault)
    if bad:
        raise_fault(&fault, name)
    return 0


cdef class Given:
    """A matrix (N, F) that tapes read and that changes: what `put` was given last."""

    cdef char *at
    cdef int64_t stride  # bytes from row to row
    cdef PufRows rows  # the same, of floats
    cdef Kind kind
    cdef Arrays held
    cdef readonly tuple shape

    def __init__(self, int64_t rows, int64_t columns, array):
        cdef Arrays a = Arrays()
        self.shape, self.at, self.kind = (rows, columns), NULL, kind_of(a.hold("array", array))

    def put(self, array):
        """Be this one, of which only the rows are contiguous."""
        cdef Arrays a = Arrays()
        cdef Py_buffer *view = a.hold("array", array, False, False)
        cdef int64_t n = self.shape[0], size = self.shape[1]
        if view.ndim != 2 or view.shape[0] != n or view.shape[1] != size or kind_of(view) != self.kind:
            raise ValueError(
                f"array: expected {expected(self.kind, n, size, False)}, got {described(view)}"
            )
        if size > 1 and view.strides[1] != view.itemsize:
            raise ValueError("array: its rows are not contiguous")
        self.at, self.stride, self.held = <char *>view.buf, view.strides[0], a
        if self.kind == F32:
            self.rows.at = <float *>view.buf
            self.rows.stride = leading("array", view.strides[0] // view.itemsize, n, size)


cdef int64_t leading(str name, int64_t stride, int64_t lines, int64_t width) except -1:
    """What BLAS wants to hear of the elements between two lines, even if there is only one."""
    if lines > 1 and stride < width:
        raise ValueError(f"{name}: its lines overlap; pass numpy.ascontiguousarray({name})")
    return max(stride if lines > 1 else width, 1)


cdef int take_factor(Factor *factor, str name, object matrix, Arrays a, Tape tape) except -1:
    """Fill in a factor: a Given, or float32 of which rows or columns are contiguous."""
    cdef Py_buffer *view
    cdef int64_t one = sizeof(float)
    cdef int along
    factor.given, factor.turned = NULL, b"N"
    if isinstance(matrix, Given):
        if (<Given>matrix).kind != F32:
            raise ValueError(f"{name}: expected float32, got {KIND_NAMES[(<Given>matrix).kind]}")
        factor.given = &(<Given>matrix).rows
        tape.givens.append(matrix)
        return 0
    view = a.hold(name, matrix, False, False)
    if kind_of(view) != F32 or view.ndim != 2:
        raise ValueError(f"{name}: expected float32 of two dimensions, got {described(view)}")
    along = 1 if view.shape[1] == 1 or view.strides[1] == one else 0  # its lines
    if (view.shape[along] > 1 and view.strides[along] != one) or view.strides[1 - along] % one:
        raise ValueError(f"{name}: neither its rows nor its columns are contiguous")
    factor.turned = b"N" if along else b"T"
    factor.fixed.at = <float *>view.buf
    factor.fixed.stride = leading(
        name, view.strides[1 - along] // one, view.shape[1 - along], view.shape[along]
    )
    return 0


def product(*, left, right, out, bint add=False, Tape tape not None):
    """Record a matrix product."""
    cdef Product p
    cdef Arrays a = Arrays()
    if SGEMM == NULL:
        raise RuntimeError("there is no BLAS to multiply with; call use_sgemm first")
    p.num_rows, p.inner = length("left", left), length("left", left, 1)
    p.num_columns = length("right", right, 1)
    if length("right", right) != p.inner:
        raise ValueError(f"right: expected {p.inner} rows, got shape {tuple(right.shape)}")
    take_factor(&p.left, "left", left, a, tape)
    take_factor(&p.right, "right", right, a, tape)
    p.out = a.rows("out", out, p.num_rows, p.num_columns, True)
    p.out.stride = leading("out", p.out.stride, p.num_rows, p.num_columns)
    p.beta = 1.0 if add else 0.0
    tape.add(PRODUCT, &p, sizeof(p), a, "")


def use_sgemm(address):
    """Multiply by the function at this address, `sgemm_` as BLAS has it."""
    global SGEMM
    SGEMM = <Sgemm><size_t>int(address)


ACTIVATIONS = ("identity", "relu", "tanh")  # as PufActivation has them


cdef int activation_of(str name) except -1:
    if name not in ACTIVATIONS:
        raise ValueError(f"activation: expected one of {', '.join(ACTIVATIONS)}, got {name!r}")
    return ACTIVATIONS.index(name)


def sample(
    *, values, logits=None, sizes=None, masks=None, mean=None, log_std=None, low=None, high=None,
    agents=None, int64_t first=0, slot, waiting, counts, seed, version, bint greedy=False,
    actions=None, axes=None, pool_action=None, pool_axis=None, pool_logprob, pool_value,
    pool_next_value, pool_version, entropy=None, Tape tape=None,
):
    """Choose an action for each acting agent; write it where the game and the pool want it."""
    cdef Sample both
    cdef PufSample *p = &both.sample
    cdef Arrays a = Arrays()
    cdef int64_t n = length("values", values)
    cdef int64_t num_agents = length("slot", slot)
    cdef int64_t num_slots = slots_of("pool_logprob", pool_logprob)
    cdef int64_t heads = 0 if logits is None else length("sizes", sizes)
    cdef int64_t num_axes = 0 if mean is None else length("mean", mean, 1)
    cdef int64_t choices
    cdef bint counted = isinstance(version, int)
    if not heads and not num_axes:
        raise ValueError("nothing to sample: give logits and sizes, or mean and log_std, or both")
    p.num_acting, p.num_agents, p.num_slots = n, num_agents, num_slots
    p.num_heads, p.num_choices, p.num_axes = heads, 0, num_axes
    p.first, p.version, p.greedy = first, version if counted else 0, greedy
    both.version = NULL if counted else <const int32_t *>a.take("version", version, I32, 1)
    p.seed = <uint64_t>(int(seed) & 0xFFFFFFFFFFFFFFFF)
    p.masks, p.agents, p.entropy = NULL, NULL, NULL
    if heads:
        p.sizes = <const int32_t *>a.take("sizes", sizes, I32, heads)
        choices = p.num_choices = choices_of(p.sizes, heads)
        p.logits = a.rows("logits", logits, n, choices)
        p.actions = <int32_t *>a.take("actions", actions, I32, num_agents, heads, True)
        p.pool_action = <int32_t *>a.take("pool_action", pool_action, I32, num_slots, heads, True, True)
        if masks is not None:
            p.masks = <const uint8_t *>a.take("masks", masks, U8, num_slots, choices, False, True)
    if num_axes:
        p.mean = a.rows("mean", mean, n, num_axes)
        if getattr(log_std, "ndim", 2) == 1:
            p.log_std.at = <float *>a.take("log_std", log_std, F32, num_axes)
            p.log_std.stride = 0
        else:
            p.log_std = a.rows("log_std", log_std, n, num_axes)
        p.low = <const float *>a.take("low", low, F32, num_axes)
        p.high = <const float *>a.take("high", high, F32, num_axes)
        p.axes = <float *>a.take("axes", axes, F32, num_agents, num_axes, True)
        p.pool_axis = <float *>a.take("pool_axis", pool_axis, F32, num_slots, num_axes, True, True)
    p.values = a.column("values", values, n)
    if agents is not None:
        p.agents = <const int32_t *>a.take("agents", agents, I32, n)
    p.slot = <const int64_t *>a.take("slot", slot, I64, num_agents)
    p.waiting = <int64_t *>a.take("waiting", waiting, I64, num_agents, -1, True)
    p.counts = <uint64_t *>a.take("counts", counts, U64, num_agents, -1, True)
    p.pool_logprob = <float *>a.take("pool_logprob", pool_logprob, F32, num_slots, -1, True, True)
    p.pool_value = <float *>a.take("pool_value", pool_value, F32, num_slots, -1, True, True)
    p.pool_next_value = <float *>a.take("pool_next_value", pool_next_value, F32, num_slots, -1, True, True)
    p.pool_version = <int32_t *>a.take("pool_version", pool_version, I32, num_slots, -1, True, True)
    if entropy is not None:
        p.entropy = <float *>a.take("entropy", entropy, F32, n, -1, True)
    do(SAMPLE, &both, sizeof(both), a, tape)


def advantage(
    *, rows, reward, value, next_value, done, piece_start, ratio=None, float gamma, float gae_lambda,
    float rho_clip=1.0, float c_clip=1.0, float reward_scale=1.0, float reward_clip=0.0,
    out_advantage, out_target,
):
    """Compute advantages and value targets of whole rows."""
    cdef PufAdvantage p
    cdef PufFault fault
    cdef Arrays a = Arrays()
    cdef int64_t batch = length("rows", rows)
    cdef int64_t num_rows = length("reward", reward)
    cdef int64_t horizon = length("reward", reward, 1)
    cdef int bad
    if horizon == 0:
        raise ValueError(f"reward: rows without slots, shape {tuple(reward.shape)}")
    p.batch_rows, p.num_rows, p.horizon = batch, num_rows, horizon
    p.gamma, p.gae_lambda, p.rho_clip, p.c_clip = gamma, gae_lambda, rho_clip, c_clip
    p.reward_scale, p.reward_clip = reward_scale, reward_clip
    p.ratio = NULL
    p.rows = <const int32_t *>a.take("rows", rows, I32, batch)
    p.reward = <const float *>a.take("reward", reward, F32, num_rows, horizon)
    p.value = <const float *>a.take("value", value, F32, num_rows, horizon)
    p.next_value = <const float *>a.take("next_value", next_value, F32, num_rows, horizon)
    p.done = <const uint8_t *>a.take("done", done, U8, num_rows, horizon)
    p.piece_start = <const uint8_t *>a.take("piece_start", piece_start, U8, num_rows, horizon)
    if ratio is not None:
        p.ratio = <const float *>a.take("ratio", ratio, F32, batch, horizon)
    p.advantage = <float *>a.take("out_advantage", out_advantage, F32, batch, horizon, True)
    p.target = <float *>a.take("out_target", out_target, F32, batch, horizon, True)
    with nogil:
        bad = PASSES.advantage(&p, &fault)
    if bad:
        raise_fault(&fault, "")


def ppo_loss(
    *, values, logits=None, sizes=None, masks=None, mean=None, log_std=None, action=None, axis=None,
    logprob, old_value, advantage, target, float adv_mean=0.0, float adv_scale=1.0, float clip_coef,
    float vf_coef, float vf_clip_coef=0.0, float ent_coef, int64_t count=0, grad_logits=None,
    grad_mean=None, grad_log_std=None, grad_values, numbers=None, metrics=None, Tape tape=None,
):
    """Compute PPO's clipped loss and its gradient in one pass; returns the seven metrics."""
    cdef Loss both
    cdef PufLoss *p = &both.loss
    cdef Arrays a = Arrays()
    cdef double[PUF_NUM_METRICS] found
    cdef int64_t m = length("values", values)
    cdef int64_t heads = 0 if logits is None else length("sizes", sizes)
    cdef int64_t num_axes = 0 if mean is None else length("mean", mean, 1)
    cdef int64_t choices
    cdef int i
    if m == 0:
        raise ValueError("values: a minibatch without slots has no mean loss")
    if not heads and not num_axes:
        raise ValueError("no policy: give logits and sizes, or mean and log_std, or both")
    if count and count < m:
        raise ValueError(f"count={count}: means are over these {m} slots or more")
    p.num_slots, p.num_heads, p.num_choices, p.num_axes = m, heads, 0, num_axes
    p.count = count or m
    p.adv_mean, p.adv_scale, p.clip_coef = adv_mean, adv_scale, clip_coef
    p.vf_coef, p.vf_clip_coef, p.ent_coef = vf_coef, vf_clip_coef, ent_coef
    p.masks, p.log_std_shared, p.metrics, both.numbers = NULL, 0, found, NULL
    for i in range(PUF_NUM_METRICS):
        found[i] = 0.0
    if metrics is not None:
        p.metrics = <double *>a.take("metrics", metrics, F64, PUF_NUM_METRICS, -1, True)
    elif tape is not None:
        raise TypeError("metrics: missing; on a tape they are added to an array")
    if numbers is not None:
        both.numbers = <const double *>a.take("numbers", numbers, F64, 4)
    if heads:
        p.sizes = <const int32_t *>a.take("sizes", sizes, I32, heads)
        choices = p.num_choices = choices_of(p.sizes, heads)
        p.logits = a.rows("logits", logits, m, choices)
        p.action = <const int32_t *>a.take("action", action, I32, m, heads)
        p.grad_logits = a.rows("grad_logits", grad_logits, m, choices, True)
        if masks is not None:
            p.masks = <const uint8_t *>a.take("masks", masks, U8, m, choices)
    if num_axes:
        p.mean = a.rows("mean", mean, m, num_axes)
        p.axis = <const float *>a.take("axis", axis, F32, m, num_axes)
        p.grad_mean = a.rows("grad_mean", grad_mean, m, num_axes, True)
        p.log_std_shared = getattr(log_std, "ndim", 2) == 1
        if p.log_std_shared:
            p.log_std = <const float *>a.take("log_std", log_std, F32, num_axes)
            p.grad_log_std = <float *>a.take("grad_log_std", grad_log_std, F32, num_axes, -1, True)
        else:
            p.log_std = <const float *>a.take("log_std", log_std, F32, m, num_axes)
            p.grad_log_std = <float *>a.take("grad_log_std", grad_log_std, F32, m, num_axes, True)
    p.values = a.column("values", values, m)
    p.logprob = <const float *>a.take("logprob", logprob, F32, m)
    p.old_value = <const float *>a.take("old_value", old_value, F32, m)
    p.advantage = <const float *>a.take("advantage", advantage, F32, m)
    p.target = <const float *>a.take("target", target, F32, m)
    p.grad_values = a.column("grad_values", grad_values, m, True)
    do(LOSS, &both, sizeof(both), a, tape)
    return tuple([found[i] for i in range(PUF_NUM_METRICS)]) if metrics is None else None


CONVERT = {U8: PUF_FROM_U8, I8: PUF_FROM_I8, I32: PUF_FROM_I32, F32: PUF_FROM_F32}

# Bytes up to which a copy is over sooner than Python's lock is had back from another thread.
cdef enum:
    WORTH_LETTING_GO = 1 << 16


cdef take_items(str index_name, pool, index, out, float scale, int leading, Tape tape):
    """Gather by `index`; `leading` is how many dimensions of the pool one index runs over, 0: any."""
    cdef PufGather p
    cdef Arrays a = Arrays()
    cdef Py_buffer *from_view = a.hold("pool", pool)
    cdef Py_buffer *index_view = a.hold(index_name, index)
    cdef Py_buffer *out_view = a.hold("out", out, True)
    cdef Kind kind = kind_of(from_view), out_kind = kind_of(out_view)
    cdef Kind index_kind = kind_of(index_view)
    cdef int i, spare = from_view.ndim - (out_view.ndim - 1)
    cdef bint fits = out_view.ndim >= 1 and spare >= 1 and (spare == leading or leading == 0)
    if index_view.ndim != 1 or index_kind not in (I32, I64):
        raise ValueError(
            f"{index_name}: expected int32 or int64 of one dimension, got {described(index_view)}"
        )
    if kind not in (F32, I32, U8, I8):
        raise ValueError(f"pool: expected uint8, int8, int32 or float32, got {described(from_view)}")
    p.num_taken, p.num_items, p.item_elements = index_view.shape[0], 1, 1
    if fits:
        for i in range(spare):
            p.num_items *= from_view.shape[i]
        for i in range(spare, from_view.ndim):
            p.item_elements *= from_view.shape[i]
            fits = fits and from_view.shape[i] == out_view.shape[i - spare + 1]
        fits = fits and out_view.shape[0] == p.num_taken
    if not fits:
        raise ValueError(
            f"out: expected one item of pool, {described(from_view)}, for each of {p.num_taken}"
            f" {index_name}, got {described(out_view)}"
        )
    if out_kind not in (F32, BF16) and (out_kind != kind or scale != 1.0):
        raise ValueError(
            "out: expected float32, bfloat16 as uint16, or the dtype of pool and scale 1; got"
            f" {described(out_view)}"
            f" for pool of {described(from_view)} and scale {scale:g}"
        )
    p.item_bytes = p.item_elements * from_view.itemsize
    p.pool, p.out, p.scale = <const char *>from_view.buf, out_view.buf, scale
    p.index32 = <const int32_t *>index_view.buf if index_kind == I32 else NULL
    p.index64 = <const int64_t *>index_view.buf if index_kind == I64 else NULL
    p.to_bf16 = out_kind == BF16
    if out_kind == kind and scale == 1.0:
        p.convert = PUF_COPY
    else:
        p.convert = CONVERT[kind]
    do(GATHER, &p, sizeof(p), a, tape, index_name, p.num_taken * p.item_bytes >= WORTH_LETTING_GO)


def gather(pool, rows, out, float scale=1.0, Tape tape=None):
    """Copy whole rows of the pool, converted and scaled if `out` is float32 or bfloat16."""
    take_items("rows", pool, rows, out, scale, 1, tape)


def gather_slots(pool, slots, out, float scale=1.0, Tape tape=None):
    """Copy single slots of the pool, converted and scaled if `out` is float32 or bfloat16."""
    take_items("slots", pool, slots, out, scale, 0, tape)


def moments(pool, rows):
    """Return mean and deviation of whole rows of the pool."""
    cdef PufMoments p
    cdef Arrays a = Arrays()
    cdef double mean, deviation
    p.num_rows, p.size, p.num_taken = length("pool", pool), length("pool", pool, 1), length("rows", rows)
    if not p.num_taken or not p.size:
        raise ValueError("rows: nothing has no mean")
    p.pool = <const float *>a.take("pool", pool, F32, p.num_rows, p.size)
    p.index = <const int64_t *>a.take("rows", rows, I64, p.num_taken)
    p.mean, p.deviation = &mean, &deviation
    do(MOMENTS, &p, sizeof(p), a, None, "rows")
    return mean, deviation


def to_float(*, Given rows not None, out, Tape tape=None):
    """Make floats of what is given."""
    cdef Float p
    cdef Arrays a = Arrays()
    p.rows.num_rows, p.rows.size = rows.shape
    if rows.kind not in (F32, I32, U8, I8):
        raise ValueError(f"rows: expected uint8, int8, int32 or float32, got {KIND_NAMES[rows.kind]}")
    p.rows.convert = CONVERT[rows.kind]
    p.rows.out = <float *>a.take("out", out, F32, p.rows.num_rows, p.rows.size, True)
    p.at, p.stride = <char *const *>&rows.at, &rows.stride
    if tape is not None:
        tape.givens.append(rows)
    elif rows.at == NULL:
        raise ValueError("rows: nothing was put")
    do(TO_FLOAT, &p, sizeof(p), a, tape)


def dense(*, y, bias, str activation, Tape tape=None):
    """Do the arithmetic of a dense layer behind its product."""
    cdef PufDense p
    cdef Arrays a = Arrays()
    p.num_rows, p.size = length("y", y), length("y", y, 1)
    p.activation = <PufActivation>activation_of(activation)
    p.y = a.rows("y", y, p.num_rows, p.size, True)
    p.bias = <const float *>a.take("bias", bias, F32, p.size)
    do(DENSE, &p, sizeof(p), a, tape)


def dense_back(*, y, grad, grad_bias, str activation, Tape tape=None):
    """Go back through a dense layer, from its result to its product."""
    cdef PufDenseBack p
    cdef Arrays a = Arrays()
    p.num_rows, p.size = length("y", y), length("y", y, 1)
    p.activation = <PufActivation>activation_of(activation)
    p.y = a.rows("y", y, p.num_rows, p.size)
    p.grad = a.rows("grad", grad, p.num_rows, p.size, True)
    p.grad_bias = <float *>a.take("grad_bias", grad_bias, F32, p.size, -1, True)
    do(DENSE_BACK, &p, sizeof(p), a, tape)


cdef bint wide_of(str name, object array) except -1:
    """Whether an array is of float32, not of bfloat16."""
    cdef Arrays a = Arrays()
    cdef Kind kind = kind_of(a.hold(name, array))
    if kind not in (F32, BF16):
        raise ValueError(f"{name}: expected float32 or bfloat16 as uint16, got {described(&a.views[0])}")
    return kind == F32


def dense_bf16(*, product, y, bias, str activation):
    """Do the arithmetic of a dense layer behind its product of bfloat16."""
    cdef PufDenseBF16 p
    cdef Arrays a = Arrays()
    cdef bint wide = wide_of("y", y)
    cdef int64_t n = length("product", product), size = length("product", product, 1)
    p.num_rows, p.size = n, size
    p.activation = <PufActivation>activation_of(activation)
    p.product = <const uint16_t *>a.take("product", product, BF16, n, size)
    p.bias = <const float *>a.take("bias", bias, F32, size)
    p.y = NULL if wide else <uint16_t *>a.take("y", y, BF16, n, size, True)
    p.wide = <float *>a.take("y", y, F32, n, size, True) if wide else NULL
    with nogil:
        PASSES.dense_bf16(&p)


def dense_bf16_back(*, y, grad, out, grad_bias, str activation):
    """Go back through a dense layer, from its result to its product of bfloat16."""
    cdef PufDenseBF16Back p
    cdef Arrays a = Arrays()
    cdef bint wide = wide_of("y", y)
    cdef Kind kind = F32 if wide else BF16
    cdef int64_t n = length("y", y), size = length("y", y, 1)
    cdef void *given = a.take("y", y, kind, n, size)
    cdef void *of_it = a.take("grad", grad, kind, n, size)
    p.num_rows, p.size = n, size
    p.activation = <PufActivation>activation_of(activation)
    p.y, p.grad = NULL if wide else <const uint16_t *>given, <const uint16_t *>of_it
    p.wide_y, p.wide_grad = <const float *>given, <const float *>of_it
    p.out = <uint16_t *>a.take("out", out, BF16, n, size, True)
    p.grad_bias = <float *>a.take("grad_bias", grad_bias, F32, size, -1, True)
    with nogil:
        PASSES.dense_bf16_back(&p)


def lstm(
    *, gates, bias, cell, keep=None, out, next_cell, next_hidden=None, Tape tape=None,
):
    """Do the arithmetic of one LSTM step behind its products."""
    cdef PufLSTM p
    cdef Arrays a = Arrays()
    cdef int64_t n = length("cell", cell), size = length("cell", cell, 1)
    p.num_rows, p.size, p.keep = n, size, NULL
    p.next_hidden.at = NULL
    p.gates = a.rows("gates", gates, n, 4 * size, True)
    p.bias = <const float *>a.take("bias", bias, F32, 4 * size)
    p.cell = a.rows("cell", cell, n, size)
    p.out = a.rows("out", out, n, size, True)
    p.next_cell = a.rows("next_cell", next_cell, n, size, True)
    if next_hidden is not None:
        p.next_hidden = a.rows("next_hidden", next_hidden, n, size, True)
    if keep is not None:
        p.keep = <const float *>a.take("keep", keep, F32, n)
    do(LSTM, &p, sizeof(p), a, tape)


def lstm_back(
    *, gates, cell, keep=None, grad_out, grad_hidden, grad_cell, grad_gates, grad_bias,
    Tape tape=None,
):
    """Go back through one LSTM step, from its states to its products."""
    cdef PufLSTMBack p
    cdef Arrays a = Arrays()
    cdef int64_t n = length("cell", cell), size = length("cell", cell, 1)
    p.num_rows, p.size, p.keep = n, size, NULL
    p.gates = a.rows("gates", gates, n, 4 * size)
    p.cell = a.rows("cell", cell, n, size)
    p.grad_out = a.rows("grad_out", grad_out, n, size)
    p.grad_hidden = a.rows("grad_hidden", grad_hidden, n, size)
    p.grad_cell = a.rows("grad_cell", grad_cell, n, size, True)
    p.grad_gates = a.rows("grad_gates", grad_gates, n, 4 * size, True)
    p.grad_bias = <float *>a.take("grad_bias", grad_bias, F32, 4 * size, -1, True)
    if keep is not None:
        p.keep = <const float *>a.take("keep", keep, F32, n)
    do(LSTM_BACK, &p, sizeof(p), a, tape)


def mingru(*, gates, bias, keep=None, x, state, hidden, out, Tape tape=None):
    """Do the arithmetic of all steps of minGRU behind their product."""
    cdef PufMinGRU p
    cdef Arrays a = Arrays()
    cdef int64_t n = length("x", x), horizon = length("x", x, 1), size = length("x", x, 2)
    cdef int64_t steps = n * horizon
    p.num_rows, p.horizon, p.size, p.keep = n, horizon, size, NULL
    p.gates = <float *>a.take("gates", gates, F32, steps, 2 * size, True, True)
    p.bias = <const float *>a.take("bias", bias, F32, 2 * size)
    p.x = <const float *>a.take("x", x, F32, steps, size, False, True)
    p.state = a.rows("state", state, n, size)
    p.hidden = <float *>a.take("hidden", hidden, F32, steps, size, True, True)
    p.out = <float *>a.take("out", out, F32, steps, size, True, True)
    if keep is not None:
        p.keep = <const float *>a.take("keep", keep, F32, steps, -1, False, True)
    do(MINGRU, &p, sizeof(p), a, tape)


def mingru_back(
    *, gates, keep, state, hidden, grad_out, grad_state, grad_gates, grad_bias, Tape tape=None,
):
    """Go back through all steps of minGRU, from their results to the product."""
    cdef PufMinGRUBack p
    cdef Arrays a = Arrays()
    cdef int64_t n = length("hidden", hidden), horizon = length("hidden", hidden, 1)
    cdef int64_t size = length("hidden", hidden, 2), steps = n * horizon
    p.num_rows, p.horizon, p.size = n, horizon, size
    p.gates = <const float *>a.take("gates", gates, F32, steps, 2 * size, False, True)
    p.keep = <const float *>a.take("keep", keep, F32, steps, -1, False, True)
    p.state = a.rows("state", state, n, size)
    p.hidden = <const float *>a.take("hidden", hidden, F32, steps, size, False, True)
    p.grad_out = <const float *>a.take("grad_out", grad_out, F32, steps, size, False, True)
    p.grad_state = <float *>a.take("grad_state", grad_state, F32, n, size, True)
    p.grad_gates = <float *>a.take("grad_gates", grad_gates, F32, steps, 2 * size, True, True)
    p.grad_bias = <float *>a.take("grad_bias", grad_bias, F32, 2 * size, -1, True)
    do(MINGRU_BACK, &p, sizeof(p), a, tape)


def turn(*, rows, out, Tape tape=None):
    """Copy rows of steps to steps of rows."""
    cdef PufTurn p
    cdef Arrays a = Arrays()
    cdef int64_t n = length("rows", rows), steps = length("rows", rows, 1)
    p.num_rows, p.num_steps, p.size = n, steps, length("rows", rows, 2)
    p.from_ = <const float *>a.take("rows", rows, F32, n * steps, p.size, False, True)
    if tuple(out.shape) != (steps, n, p.size):
        raise ValueError(f"out: expected shape {(steps, n, p.size)}, got {tuple(out.shape)}")
    p.out = <float *>a.take("out", out, F32, n * steps, p.size, True, True)
    do(TURN, &p, sizeof(p), a, tape)


def keep(*, reset, out, bint steps_first=False, Tape tape=None):
    """Write 0 where a life begins, else 1."""
    cdef PufKeep p
    cdef Arrays a = Arrays()
    cdef int64_t n = length("reset", reset), steps = length("reset", reset, 1)
    p.num_rows, p.num_steps, p.steps_first = n, steps, steps_first
    p.reset = <const uint8_t *>a.take("reset", reset, U8, n, steps)
    n, steps = (steps, n) if steps_first else (n, steps)
    p.out = <float *>a.take("out", out, F32, n, steps, True)
    do(KEEP, &p, sizeof(p), a, tape)


def carry(*, state, keep, out, Tape tape=None):
    """Copy states, 0 where a life begins."""
    cdef PufCarry p
    cdef Arrays a = Arrays()
    p.num_rows, p.size = length("state", state), length("state", state, 1)
    p.state = a.rows("state", state, p.num_rows, p.size)
    p.keep = <const float *>a.take("keep", keep, F32, p.num_rows)
    p.out = a.rows("out", out, p.num_rows, p.size, True)
    do(CARRY, &p, sizeof(p), a, tape)


def begin(
    *, state, agents=None, int64_t first=0, fresh, slot, initial, row_state, int64_t horizon,
):
    """Give lives that begin the initial state, and rows that begin theirs."""
    cdef PufBegin p
    cdef Arrays a = Arrays()
    cdef int64_t n = length("state", state)
    if horizon < 1:
        raise ValueError(f"horizon={horizon}: a row has at least one slot")
    p.num_acting, p.num_agents, p.num_rows = n, length("slot", slot), length("row_state", row_state)
    p.horizon, p.size, p.first, p.agents = horizon, length("initial", initial), first, NULL
    if agents is not None:
        p.agents = <const int32_t *>a.take("agents", agents, I32, n)
    p.fresh = <const uint8_t *>a.take("fresh", fresh, U8, p.num_agents)
    p.slot = <const int64_t *>a.take("slot", slot, I64, p.num_agents)
    p.initial = <const float *>a.take("initial", initial, F32, p.size)
    p.state = a.rows("state", state, n, p.size, True)
    p.row_state = <float *>a.take("row_state", row_state, F32, p.num_rows, p.size, True)
    do(BEGIN, &p, sizeof(p), a, None)


def fill(*, out, float value=0.0, Tape tape=None):
    """Write the same everywhere."""
    cdef PufFill p
    cdef Arrays a = Arrays()
    p.num_rows, p.size = length("out", out), length("out", out, 1)
    p.out, p.value = a.rows("out", out, p.num_rows, p.size, True), value
    do(FILL, &p, sizeof(p), a, tape)


def adam(
    *, weights, grads, mean, square, int64_t steps, double learning_rate, double beta1, double beta2,
    double eps, double weight_decay=0.0,
):
    """Take one step of AdamW; forget the gradients."""
    cdef PufAdam p
    cdef Arrays a = Arrays()
    if steps < 1:
        raise ValueError(f"steps={steps}: the first step is number 1")
    p.size = length("weights", weights)
    p.weights = <float *>a.take("weights", weights, F32, p.size, -1, True)
    p.grads = <float *>a.take("grads", grads, F32, p.size, -1, True)
    p.mean = <float *>a.take("mean", mean, F32, p.size, -1, True)
    p.square = <float *>a.take("square", square, F32, p.size, -1, True)
    p.beta1, p.beta2, p.eps = beta1, beta2, eps
    p.step_size = learning_rate / (1 - beta1**steps)
    p.root_scale = (1 - beta2**steps) ** -0.5
    p.keep = 1 - learning_rate * weight_decay
    with nogil:
        PASSES.adam(&p)


def norm(x):
    """Return the Euclidean norm of a vector."""
    cdef Arrays a = Arrays()
    cdef int64_t size = length("x", x)
    cdef const float *at = <const float *>a.take("x", x, F32, size)
    cdef double found
    with nogil:
        found = PASSES.norm(at, size)
    return found
