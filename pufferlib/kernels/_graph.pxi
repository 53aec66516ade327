# Recorded graphs of kernel calls, the inputs that change between replays, and the threads that
# replay them. graph.c implements the replay.

# Limits the number of BLAS threads of the calling thread; NULL if there is nothing to limit.
cdef PufSetNumThreads SET_NUM_THREADS
SET_NUM_THREADS = NULL

# The dtypes that a GraphInput may have, by name.
DTYPES = {
    "float32": F32, "bfloat16": BF16, "int32": I32, "int8": I8, "uint8": U8, "bool": U8,
    "float64": F64, "int64": I64,
}


cdef class Graph:
    """Kernel calls with their arrays, checked once, replayed in order without the GIL."""

    cdef PufEntry *entries
    cdef int64_t length, room
    cdef list calls  # Arrays or PythonCall of each entry
    cdef list inputs

    def __cinit__(self):
        self.calls, self.inputs = [], []

    def __dealloc__(self):
        cdef int64_t i
        for i in range(self.length):
            free(self.entries[i].args)
        free(self.entries)

    def __len__(self):
        return self.length

    def replay(self):
        """Run all recorded calls in the calling thread.

        Raise ValueError for an input that was never bound. If a call raises, its exception is
        raised and the calls after it do not run.
        """
        cdef PufStreamSlice whole
        cdef int failed
        self.prepare(&whole)
        with nogil:
            failed = puf_replay_slice(&whole)
        if failed:
            self.fail(&whole)

    def record_python(self, function):
        """Record a call of a Python function without arguments; a replay takes the GIL for it."""
        cdef PythonArgs args
        cdef PythonCall call = PythonCall()
        call.function = function
        args.call = <PyObject *>call
        self.append(call_python, &args, sizeof(args), call)

    cdef int append(self, PufRun run, const void *args, size_t size, object call) except -1:
        """Add an entry with a copy of its arguments."""
        cdef int64_t room = self.room if self.length < self.room else 2 * self.room + 8
        cdef PufEntry *entries = <PufEntry *>realloc(self.entries, room * sizeof(PufEntry))
        if entries == NULL:
            raise MemoryError("out of memory for a graph")
        self.entries, self.room = entries, room
        cdef void *own = malloc(size)
        if own == NULL:
            raise MemoryError("out of memory for a graph")
        memcpy(own, args, size)
        entries[self.length].run, entries[self.length].args = run, own
        self.calls.append(call)
        self.length += 1
        return 0

    cdef int prepare(self, PufStreamSlice *part) except -1:
        """Point a slice at the first entry."""
        cdef GraphInput changing
        for changing in self.inputs:
            if changing.current.data == NULL:
                raise ValueError(f"input {changing.shape} of this graph was never bound: call bind")
        part.entries, part.length = self.entries, self.length
        part.reached, part.seconds = 0, 0.0
        return 0

    cdef int fail(self, const PufStreamSlice *part) except -1:
        """Raise what stopped the slice."""
        call = self.calls[part.reached]
        if isinstance(call, PythonCall):  # it keeps no exception, which keeps the frames it came by
            error, (<PythonCall>call).error = (<PythonCall>call).error, None
            raise error
        return raise_fault(&part.fault, (<Arrays>call).index_name)


cdef class PythonCall:
    """A function that a graph calls, and the exception of its last call."""

    cdef object function, error


cdef struct PythonArgs:
    PyObject *call  # borrowed: the graph holds it


cdef int call_python(const void *args, PufFault *fault) noexcept with gil:
    """Run a recorded PythonCall; it has the signature of a kernel."""
    cdef PythonCall call = <PythonCall>(<const PythonArgs *>args).call
    try:
        call.function()
    except BaseException as error:
        call.error = error
        return -1
    return 0


cdef int call_or_record(
    int64_t kernel, const void *args, size_t size, Arrays arrays, Graph graph, bint release_gil=True
) except -1:
    """Run a kernel of the table in use, or record it on the graph."""
    cdef PufRun run = KERNELS.kernels[kernel].run
    cdef PufFault fault
    cdef int failed
    if graph is not None:
        arrays.shrink()
        return graph.append(run, args, size, arrays)
    if release_gil:
        with nogil:
            failed = run(args, &fault)
    else:
        failed = run(args, &fault)
    if failed:
        raise_fault(&fault, arrays.index_name)
    return 0


cdef class GraphInput:
    """A matrix (N, F) that graphs read at replay: the array of the last `bind`.

    `dtype` is a name, or an object whose name ends in one, such as torch.float32; arrays of bfloat16
    are uint16. Raise ValueError for a matrix without rows and for an unknown dtype.
    """

    cdef PufInput current
    cdef DType kind
    cdef Arrays held
    cdef object bound  # the array; its rows first, first + step, ... are read
    cdef int64_t first, step
    cdef GraphInput whole  # the input that these are rows of, from `begin` on; or None
    cdef int64_t begin
    cdef readonly tuple shape
    cdef readonly object dtype

    def __init__(self, int64_t rows, int64_t columns, dtype):
        name = str(dtype).rpartition(".")[2]
        if rows < 1 or columns < 0:
            raise ValueError(f"a GraphInput of shape ({rows}, {columns}) has no rows to read")
        if name not in DTYPES:
            raise ValueError(f"dtype {dtype}: expected one of {', '.join(DTYPES)}")
        self.shape, self.dtype, self.kind = (rows, columns), dtype, DTYPES[name]
        self.current.data = NULL

    cdef GraphInput source(self):
        return self if self.whole is None else self.whole

    def rows(self, int64_t begin, int64_t end):
        """Return an input of rows [begin, end) of whatever is bound to this one."""
        cdef GraphInput part = GraphInput.__new__(GraphInput)
        if not 0 <= begin < end <= self.shape[0]:
            raise ValueError(f"rows [{begin}, {end}) are outside [0, {self.shape[0]})")
        part.shape, part.dtype, part.kind = (end - begin, self.shape[1]), self.dtype, self.kind
        part.whole, part.begin = self.source(), self.begin + begin
        return part

    def bind(self, array, int64_t first=0, int64_t step=0):
        """Read rows first, first + step, ... of this array (.., F); step 0 reads all N rows.

        Each row must be contiguous. Raise ValueError for another shape or dtype, and for an input
        made by `rows`: bind the input that it is made of.
        """
        cdef Arrays a = Arrays()
        cdef Py_buffer *view = a.acquire("array", array, False, False)
        cdef int64_t n = self.shape[0], size = self.shape[1], apart = step if step else 1
        cdef bint fits = view.ndim == 2 and view.shape[1] == size and dtype_of(view) == self.kind
        if self.whole is not None:
            raise ValueError("this input is made of rows of another one: bind that one")
        if not fits or (step == 0 and view.shape[0] != n):
            wanted = expected(self.kind, n if step == 0 else view.shape[0], size, False)
            raise ValueError(f"array: expected {wanted}, got {described(view)}")
        if not 0 <= first < view.shape[0] or step < 0 or (view.shape[0] - 1 - first) // apart < n - 1:
            raise ValueError(
                f"array: no {n} rows from {first} on, {step} apart, in {view.shape[0]} rows"
            )
        if size > 1 and view.strides[1] != view.itemsize:
            raise ValueError("array: its rows are not contiguous")
        gemm_stride("array", apart * view.strides[0] // view.itemsize, n, size)
        self.current.data = <const char *>view.buf + first * view.strides[0]
        self.current.stride = apart * view.strides[0]
        self.held, self.bound, self.first, self.step = a, array, first, apart

    @property
    def array(self):
        """The rows (N, F) that are bound now. Raise ValueError if none are."""
        cdef GraphInput whole = self.source()
        cdef int64_t first = whole.first + self.begin * whole.step
        if whole.bound is None:
            raise ValueError(f"input {whole.shape} was never bound: call bind")
        return whole.bound[first : first + (self.shape[0] - 1) * whole.step + 1 : whole.step]


cdef class LaunchPlan:
    """Streams to replay in parallel; each is a list of (name, graph), replayed in order.

    A plan can run many times, but not in two threads at once, because it holds the progress of a
    run.
    """

    cdef PufStream *streams
    cdef PufStreamSlice *slices  # of all streams, one after the other
    cdef size_t count
    cdef list graphs
    cdef readonly list names  # of the first stream's graphs, which `ThreadPool.run` times

    def __cinit__(self, streams):
        cdef int64_t at = 0
        cdef size_t i
        self.graphs = [graph for stream in streams for _, graph in stream]
        self.names = [name for name, _ in streams[0]] if len(streams) else []
        for graph in self.graphs:
            if not isinstance(graph, Graph):
                raise TypeError(f"streams: expected graphs, got {type(graph).__name__}")
        self.count = len(streams)
        self.streams = <PufStream *>malloc(max(self.count, 1) * sizeof(PufStream))
        self.slices = <PufStreamSlice *>malloc(max(len(self.graphs), 1) * sizeof(PufStreamSlice))
        if self.streams == NULL or self.slices == NULL:
            raise MemoryError("out of memory for a launch plan")
        for i, stream in enumerate(streams):
            self.streams[i].slices, self.streams[i].num_slices = self.slices + at, len(stream)
            at += len(stream)

    def __dealloc__(self):
        free(self.slices)
        free(self.streams)

    def __len__(self):
        """Return the number of streams."""
        return self.count

    cdef int prepare(self) except -1:
        cdef Graph graph
        cdef int64_t i = 0
        for graph in self.graphs:
            graph.prepare(&self.slices[i])
            i += 1
        return 0

    cdef int check(self) except -1:
        """Raise the error of the first stream that failed."""
        cdef Graph graph
        cdef int64_t i = 0
        for graph in self.graphs:
            if self.slices[i].reached < self.slices[i].length:
                graph.fail(&self.slices[i])
            i += 1
        return 0

    cdef dict seconds(self):
        """Sum the seconds of the first stream's graphs by name."""
        cdef int64_t i = 0
        cdef dict taken = {}
        for name in self.names:
            taken[name] = taken.get(name, 0.0) + self.slices[i].seconds
            i += 1
        return taken


# Nanoseconds that a waiting thread yields before it sleeps: longer than Python takes between two runs.
cdef enum:
    PATIENCE = 1000000


cdef class ThreadPool:
    """`size` threads, including the calling one, that replay streams in parallel.

    Raise ValueError for a size below 1, RuntimeError if the threads cannot be started.
    """

    cdef PufThreadPool *threads
    cdef pid_t process  # that started the threads
    cdef readonly int size

    def __init__(self, int size):
        if size < 1:
            raise ValueError(f"size={size} must be at least 1, the calling thread")
        self.size, self.process, self.threads = size, getpid(), puf_thread_pool_new(size, PATIENCE)
        if self.threads == NULL:
            raise RuntimeError(
                f"{size} threads could not be started; use fewer, or raise the limit on processes"
            )

    def __dealloc__(self):
        puf_thread_pool_free(self.threads, getpid() != self.process)

    def close(self):
        """End the threads; may be called twice. A forked process has no threads to end."""
        puf_thread_pool_free(self.threads, getpid() != self.process)
        self.threads = NULL

    def run(self, LaunchPlan plan not None):
        """Replay the streams in parallel; return the seconds of the first stream's graphs, by name.

        The calling thread replays the first stream. A stream ends at its first error. After all
        streams have ended, the error of the first stream that failed is raised. Raise ValueError
        for an input that was never bound, RuntimeError after `close`.
        """
        if self.threads == NULL:
            raise RuntimeError("this thread pool was closed")
        plan.prepare()
        with nogil:
            puf_replay(self.threads, plan.streams, plan.count, SET_NUM_THREADS)
        plan.check()
        return plan.seconds()
