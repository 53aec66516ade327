# Recorded graphs: kernels that run at once or are recorded, matrix products, threads that replay.

# A product as BLAS has it, of float32 or bfloat16, to float32. Sizes are read as 32 or 64 bits,
# whichever the library was built for.
ctypedef void (*Gemm)(
    const char *, const char *, const int64_t *, const int64_t *, const int64_t *, const float *,
    const void *, const int64_t *, const void *, const int64_t *, const float *, float *,
    const int64_t *,
) noexcept nogil
cdef Gemm[2] GEMM  # of float32, of bfloat16
GEMM[0], GEMM[1] = NULL, NULL
cdef int (*SET_NUM_THREADS)(int) noexcept nogil
SET_NUM_THREADS = NULL  # of the calling thread's products


cdef struct Factor:
    PufMatrix fixed
    const PufMatrix *given  # what a GraphInput was given last, or NULL
    int64_t begin  # of the rows of that
    char turned


cdef struct Product:
    int64_t num_rows, inner, num_columns
    Factor left, right
    PufMatrix out
    float beta
    int narrow  # whether both factors are bfloat16


cdef struct Loss:
    PufPPOLoss loss
    const double *numbers  # adv_mean, adv_scale, ent_coef and count of the moment, or NULL


cdef struct Sample:
    PufSample sample
    int64_t most  # agents that there is room for
    const int64_t *moment  # version, and how many act, or NULL


cdef struct Float:
    PufToFloat rows
    char *const *at  # of the moment
    const int64_t *stride
    int64_t begin


cdef struct Adam:
    PufAdam adam
    const double *numbers  # scale, step_size, root_scale and keep of the moment


# The passes that a graph can hold.
cdef enum Pass:
    PRODUCT, FILL, SAMPLE, LOSS, GATHER, MOMENTS, TO_FLOAT, DENSE, DENSE_BACK, LSTM, LSTM_BACK
    MINGRU, MINGRU_BACK, TURN, KEEP, CARRY, BEGIN, JOIN, ADAM


cdef struct Entry:
    Pass which
    void *args


# One graph while it is played.
cdef struct StreamSlice:
    const Entry *entries
    int64_t length, reached
    double seconds
    PufFault fault


# What one thread plays, one graph after the other.
cdef struct Stream:
    StreamSlice *slices
    int64_t length
    const void *caller  # the thread that waits for it


cdef PufMatrix rows_of(const Factor *factor) noexcept nogil:
    cdef PufMatrix rows = factor.fixed
    if factor.given != NULL:
        rows = factor.given[0]
        rows.at += factor.begin * rows.stride
    return rows


cdef void multiply(const Product *p) noexcept nogil:
    """Give BLAS, which counts column by column, the factors the other way round."""
    cdef PufMatrix left = rows_of(&p.left), right = rows_of(&p.right)
    cdef float alpha = 1.0
    GEMM[p.narrow](
        &p.right.turned, &p.left.turned, &p.num_columns, &p.num_rows, &p.inner, &alpha,
        right.at, &right.stride, left.at, &left.stride, &p.beta, p.out.at, &p.out.stride,
    )


cdef int lose(Loss *p, PufFault *fault) noexcept nogil:
    if p.numbers != NULL:
        p.loss.adv_mean, p.loss.adv_scale = <float>p.numbers[0], <float>p.numbers[1]
        p.loss.ent_coef, p.loss.count = <float>p.numbers[2], p.numbers[3]
    return KERNELS.ppo_loss(&p.loss, fault)


cdef int draw(Sample *p, PufFault *fault) noexcept nogil:
    if p.moment != NULL:
        p.sample.version, p.sample.num_acting = <int32_t>p.moment[0], p.moment[1]
        if not 0 <= p.moment[1] <= p.most:
            fault.array, fault.index, fault.value = b"moment", 1, p.moment[1]
            fault.begin, fault.end = 0, p.most + 1
            return -1
    return KERNELS.sample(&p.sample, fault)


cdef void make_float(Float *p) noexcept nogil:
    p.rows.from_, p.rows.stride = p.at[0] + p.begin * p.stride[0], p.stride[0]
    KERNELS.to_float(&p.rows)


cdef void adjust(Adam *p) noexcept nogil:
    p.adam.scale, p.adam.step_size = <float>p.numbers[0], <float>p.numbers[1]
    p.adam.root_scale, p.adam.keep = <float>p.numbers[2], <float>p.numbers[3]
    KERNELS.adam(&p.adam)


cdef int run(Pass which, void *p, PufFault *fault) noexcept nogil:
    """Run one pass -> 0, or -1 with the fault filled in."""
    if which == PRODUCT:
        multiply(<const Product *>p)
    elif which == FILL:
        KERNELS.fill(<const PufFill *>p)
    elif which == SAMPLE:
        return draw(<Sample *>p, fault)
    elif which == LOSS:
        return lose(<Loss *>p, fault)
    elif which == GATHER:
        return KERNELS.gather(<const PufGather *>p, fault)
    elif which == MOMENTS:
        return KERNELS.moments(<const PufMoments *>p, fault)
    elif which == TO_FLOAT:
        make_float(<Float *>p)
    elif which == DENSE:
        KERNELS.linear(<const PufLinear *>p)
    elif which == DENSE_BACK:
        KERNELS.linear_backward(<const PufLinearBackward *>p)
    elif which == LSTM:
        KERNELS.lstm(<const PufLSTM *>p)
    elif which == LSTM_BACK:
        KERNELS.lstm_backward(<const PufLSTMBackward *>p)
    elif which == MINGRU:
        KERNELS.mingru(<const PufMinGRU *>p)
    elif which == MINGRU_BACK:
        KERNELS.mingru_backward(<const PufMinGRUBackward *>p)
    elif which == TURN:
        KERNELS.transpose_rows(<const PufTransposeRows *>p)
    elif which == KEEP:
        KERNELS.not_reset(<const PufNotReset *>p)
    elif which == BEGIN:
        return KERNELS.init_states(<const PufInitStates *>p, fault)
    elif which == CARRY:
        KERNELS.mask_state(<const PufMaskState *>p)
    elif which == JOIN:
        KERNELS.reduce_grads(<const PufReduceGrads *>p)
    elif which == ADAM:
        adjust(<Adam *>p)
    return 0


cdef double seconds() noexcept nogil:
    cdef timespec now
    clock_gettime(CLOCK_MONOTONIC, &now)
    return now.tv_sec + 1e-9 * now.tv_nsec


cdef void replay_stream(void *streams, size_t number) noexcept nogil:
    """Play one of the streams, up to a fault."""
    cdef Stream *stream = &(<Stream *>streams)[number]
    cdef StreamSlice *slice
    cdef double begin = seconds()
    cdef int64_t k
    if SET_NUM_THREADS != NULL and puf_thread() != stream.caller:
        puf_alone(SET_NUM_THREADS)
    for k in range(stream.length):
        slice = &stream.slices[k]
        while slice.reached < slice.length:
            entry = slice.entries[slice.reached]
            if run(entry.which, entry.args, &slice.fault):
                return
            slice.reached += 1
        slice.seconds = seconds() - begin
        begin += slice.seconds


cdef class Graph:
    """Passes with their arrays, checked once, played one after the other without the GIL."""

    cdef Entry *entries
    cdef int64_t length, room
    cdef list held, inputs, names

    def __cinit__(self):
        self.held, self.inputs, self.names = [], [], []

    def __dealloc__(self):
        cdef int64_t i
        for i in range(self.length):
            free(self.entries[i].args)
        free(self.entries)

    cdef int add(self, Pass which, const void *args, size_t size, Arrays arrays, str name) except -1:
        cdef int64_t room = self.room if self.length < self.room else 2 * self.room + 8
        cdef Entry *entries = <Entry *>realloc(self.entries, room * sizeof(Entry))
        if entries == NULL:
            raise MemoryError("out of memory for a graph")
        self.entries, self.room = entries, room
        cdef void *own = malloc(size)
        if own == NULL:
            raise MemoryError("out of memory for a graph")
        memcpy(own, args, size)
        arrays.settle()
        self.held.append(arrays)
        self.names.append(name)
        entries[self.length].which, entries[self.length].args = which, own
        self.length += 1
        return 0

    cdef int ready(self) except -1:
        cdef GraphInput given
        for given in self.inputs:
            if given.at == NULL:
                raise ValueError(f"a matrix {given.shape} that this graph reads was never put")
        return 0


cdef class LaunchPlan:
    """Streams, each a list of graphs, made ready to be played by a thread_pool."""

    cdef Stream *streams
    cdef StreamSlice *slices  # of all streams, one after the other
    cdef size_t count
    cdef int64_t total
    cdef list graphs

    def __cinit__(self, list streams):
        cdef int64_t at = 0
        cdef size_t i
        cdef Graph graph
        self.graphs = [graph for stream in streams for graph in stream]
        for made in self.graphs:
            if not isinstance(made, Graph):
                raise TypeError(f"streams: expected graphs, got {type(made).__name__}")
        self.count, self.total = len(streams), len(self.graphs)
        self.streams = <Stream *>malloc(max(self.count, 1) * sizeof(Stream))
        self.slices = <StreamSlice *>malloc(max(self.total, 1) * sizeof(StreamSlice))
        if self.streams == NULL or self.slices == NULL:
            raise MemoryError("out of memory to play graphs")
        for i, stream in enumerate(streams):
            self.streams[i].slices, self.streams[i].length = self.slices + at, len(stream)
            at += len(stream)

    def __dealloc__(self):
        free(self.slices)
        free(self.streams)

    cdef int ready(self) except -1:
        """Begin at the beginning."""
        cdef Graph graph
        cdef int64_t at = 0
        cdef size_t i
        for graph in self.graphs:
            graph.ready()
            self.slices[at].entries, self.slices[at].length = graph.entries, graph.length
            self.slices[at].reached, self.slices[at].seconds = 0, 0.0
            at += 1
        for i in range(self.count):
            self.streams[i].caller = puf_thread()
        return 0

    cdef int fail(self, int64_t which) except -1:
        """Raise the fault of this graph."""
        cdef Graph graph = self.graphs[which]
        cdef StreamSlice *slice = &self.slices[which]
        return raise_fault(&slice.fault, graph.names[slice.reached])


# Nanoseconds that a thread waits before it sleeps: longer than what Python does between two plays.
cdef enum:
    PATIENCE = 1000000


cdef class ThreadPool:
    """Threads that play graphs side by side, the calling one among them."""

    cdef PufThreads *threads
    cdef pid_t process  # that the threads are of
    cdef readonly int size

    def __init__(self, int size):
        if size < 1:
            raise ValueError(f"size={size}: at least the calling thread")
        self.size, self.process, self.threads = size, getpid(), puf_threads_new(size, PATIENCE)
        if self.threads == NULL:
            raise RuntimeError(
                f"{size} threads could not be started; take fewer, or raise the limit of processes"
            )

    def __dealloc__(self):
        self.close()

    cpdef close(self):
        """End the threads; in a fork there are none to end."""
        puf_threads_free(self.threads, getpid() != self.process)
        self.threads = NULL

    def run(self, LaunchPlan work not None):
        """Play streams side by side -> the seconds of the first one's graphs."""
        cdef int64_t i
        if self.threads == NULL:
            raise RuntimeError("this thread_pool was closed")
        work.ready()
        with nogil:
            puf_threads_run(self.threads, replay_stream, work.streams, work.count)
        for i in range(work.total):
            if work.slices[i].reached < work.slices[i].length:
                work.fail(i)
        return [work.slices[i].seconds for i in range(work.streams[0].length)] if work.count else []


cdef int do(
    Pass which, void *args, size_t size, Arrays arrays, Graph graph, str name="", bint let_go=True
) except -1:
    """Run a pass, or put it on the graph; `name` is what an index in a fault is called."""
    cdef PufFault fault
    cdef int bad
    if graph is not None:
        return graph.add(which, args, size, arrays, name)
    if let_go:
        with nogil:
            bad = run(which, args, &fault)
    else:
        bad = run(which, args, &fault)
    if bad:
        raise_fault(&fault, name)
    return 0


cdef class GraphInput:
    """A matrix (N, F) that graphs read and that changes: what `put` was given last."""

    cdef char *at
    cdef int64_t stride  # bytes from row to row
    cdef PufMatrix floats  # the same, of floats
    cdef Kind kind
    cdef Arrays held
    cdef GraphInput whole  # what these are rows of, from `begin` on, or None
    cdef int64_t begin
    cdef readonly tuple shape

    def __init__(self, int64_t rows, int64_t columns, array):
        cdef Arrays a = Arrays()
        if rows < 1 or columns < 0:
            raise ValueError(f"a matrix ({rows}, {columns}) has no rows to read")
        self.shape, self.at, self.kind = (rows, columns), NULL, kind_of(a.hold("array", array))

    cdef GraphInput source(self):
        return self if self.whole is None else self.whole

    def rows(self, int64_t begin, int64_t end):
        """Return these rows of whatever this is."""
        cdef GraphInput part = GraphInput.__new__(GraphInput)
        if not 0 <= begin < end <= self.shape[0]:
            raise ValueError(f"rows {begin} to {end} of {self.shape[0]}")
        part.shape, part.kind, part.at = (end - begin, self.shape[1]), self.kind, NULL
        part.whole, part.begin = self.source(), self.begin + begin
        return part

    def bind(self, array, int64_t first=0, int64_t step=0):
        """Be rows first, first + step, ... of this one, or all; only the rows are contiguous."""
        cdef Arrays a = Arrays()
        cdef Py_buffer *view = a.hold("array", array, False, False)
        cdef int64_t n = self.shape[0], size = self.shape[1], apart = step if step else 1, lines
        cdef bint fits = view.ndim == 2 and view.shape[1] == size and kind_of(view) == self.kind
        if self.whole is not None:
            raise ValueError("these are rows of another one: put that")
        if not fits or (step == 0 and view.shape[0] != n):
            wanted = expected(self.kind, n if step == 0 else view.shape[0], size, False)
            raise ValueError(f"array: expected {wanted}, got {described(view)}")
        if not 0 <= first < view.shape[0] or step < 0 or (view.shape[0] - 1 - first) // apart < n - 1:
            raise ValueError(
                f"array: it has no {n} rows from {first} on, {step} apart, but {view.shape[0]} in all"
            )
        if size > 1 and view.strides[1] != view.itemsize:
            raise ValueError("array: its rows are not contiguous")
        lines = leading("array", apart * view.strides[0] // view.itemsize, n, size)
        self.at, self.stride = <char *>view.buf + first * view.strides[0], apart * view.strides[0]
        self.floats.at, self.floats.stride, self.held = <float *>self.at, lines, a


cdef int64_t leading(str name, int64_t stride, int64_t lines, int64_t width) except -1:
    """What BLAS wants to hear of the elements between two lines, even if there is only one."""
    if lines > 1 and stride < width:
        raise ValueError(f"{name}: its lines overlap; pass numpy.ascontiguousarray({name})")
    return max(stride if lines > 1 else width, 1)


cdef Kind factor_of(str name, object matrix) except *:
    """The kind of a factor's numbers."""
    cdef Arrays a
    if isinstance(matrix, GraphInput):
        return (<GraphInput>matrix).kind
    a = Arrays()
    return kind_of(a.hold(name, matrix, False, False))


cdef int take_factor(
    Factor *factor, str name, object matrix, Kind kind, Arrays a, Graph graph
) except -1:
    """Fill in a factor: a GraphInput, or a matrix of which rows or columns are contiguous."""
    cdef Py_buffer *view
    cdef GraphInput source
    cdef int along
    factor.given, factor.begin, factor.turned = NULL, 0, b"N"
    if isinstance(matrix, GraphInput):
        if (<GraphInput>matrix).kind != kind:
            raise ValueError(f"{name}: expected {named(kind)}, got {named((<GraphInput>matrix).kind)}")
        if kind != F32:
            raise ValueError(f"{name}: a matrix that changes is float32, not {named(kind)}")
        source = (<GraphInput>matrix).source()
        factor.given, factor.begin = &source.floats, (<GraphInput>matrix).begin
        graph.inputs.append(source)
        return 0
    view = a.hold(name, matrix, False, False)
    if kind_of(view) != kind or view.ndim != 2:
        raise ValueError(f"{name}: expected {KIND_NAMES[kind]} of two dimensions, got {described(view)}")
    along = 1 if view.shape[1] == 1 or view.strides[1] == view.itemsize else 0  # its lines
    if (view.shape[along] > 1 and view.strides[along] != view.itemsize) or (
        view.strides[1 - along] % view.itemsize
    ):
        raise ValueError(f"{name}: neither its rows nor its columns are contiguous")
    factor.turned = b"N" if along else b"T"
    factor.fixed.at = <float *>view.buf
    factor.fixed.stride = leading(
        name, view.strides[1 - along] // view.itemsize, view.shape[1 - along], view.shape[along]
    )
    return 0


def product(*, left, right, out, bint add=False, Graph graph not None):
    """Record a matrix product."""
    cdef Product p
    cdef Arrays a = Arrays()
    cdef Kind kind = factor_of("left", left)
    p.narrow = kind == BF16
    if kind not in (F32, BF16):
        raise ValueError(f"left: expected float32 or bfloat16 as uint16, got {named(kind)}")
    if GEMM[p.narrow] == NULL:
        raise RuntimeError(f"there is no BLAS to multiply {KIND_NAMES[kind]} with; call use_blas first")
    p.num_rows, p.inner = length("left", left), length("left", left, 1)
    p.num_columns = length("right", right, 1)
    if length("right", right) != p.inner:
        raise ValueError(f"right: expected {p.inner} rows, got shape {tuple(right.shape)}")
    take_factor(&p.left, "left", left, kind, a, graph)
    take_factor(&p.right, "right", right, kind, a, graph)
    p.out = a.rows("out", out, p.num_rows, p.num_columns, True)
    p.out.stride = leading("out", p.out.stride, p.num_rows, p.num_columns)
    p.beta = 1.0 if add else 0.0
    graph.add(PRODUCT, &p, sizeof(p), a, "")


def use_blas(sgemm, bgemm, set_num_threads):
    """Multiply by the functions at these addresses."""
    global SET_NUM_THREADS
    GEMM[0], GEMM[1] = <Gemm><size_t>int(sgemm), <Gemm><size_t>int(bgemm)
    SET_NUM_THREADS = <int (*)(int) noexcept nogil><size_t>int(set_num_threads)
