# the arrays of one call: held, checked, and what is said of those that do not fit.

cdef enum:
    MAX_ARRAYS = 32

cdef enum Kind:
    F32, F64, BF16, I32, I64, U64, U8, I8, NUM_KINDS

KIND_NAMES = (
    "float32", "float64", "bfloat16 as uint16", "int32", "int64", "uint64", "uint8 or bool", "int8",
)


cdef class Arrays:
    """The arrays of one call, checked and held until it returns."""

    cdef Py_buffer *views
    cdef int count
    cdef list objects  # what else must live as long: parameters and inputs of a recorded call
    cdef str index_name  # what the caller calls the array that a fault names "index"

    def __cinit__(self):
        self.objects, self.index_name = [], "index"
        self.views = <Py_buffer *>malloc(MAX_ARRAYS * sizeof(Py_buffer))
        if self.views == NULL:
            raise MemoryError("out of memory for a call's arrays")

    def __dealloc__(self):
        cdef int i
        for i in range(self.count):
            PyBuffer_Release(&self.views[i])
        free(self.views)

    cdef void keep(self, object what):
        """Hold an object too."""
        self.objects.append(what)

    cdef int settle(self) except -1:
        """Give back what was kept for more arrays: there will be none. The next call takes it."""
        cdef size_t size = max(self.count, 1) * sizeof(Py_buffer)
        cdef void *views = malloc(size)
        if views == NULL:
            raise MemoryError("out of memory for a call's arrays")
        memcpy(views, self.views, size)
        free(self.views)
        self.views = <Py_buffer *>views
        return 0

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

    cdef PufMatrix rows(
        self, str name, object array, int64_t items, int64_t width, bint writable=False,
    ) except *:
        """Take float32 (items, width) of which only the rows need be contiguous."""
        cdef PufMatrix rows
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

    cdef PufMatrix steps(
        self, str name, object array, int64_t items, int64_t horizon, int64_t size
    ) except *:
        """Take float32 (items, horizon, size) to write to, all steps equally far apart."""
        cdef PufMatrix rows
        cdef Py_buffer *view
        cdef int64_t apart
        cdef bint fits
        if array is None:
            raise TypeError(f"{name}: missing; expected {expected(F32, items * horizon, size, True)}")
        view = self.hold(name, array, True, False)
        if kind_of(view) != F32 or tuple(array.shape) != (items, horizon, size):
            raise ValueError(
                f"{name}: expected float32 of shape {(items, horizon, size)}, got {described(view)}"
            )
        apart = view.strides[1] if horizon > 1 else view.strides[0]
        fits = apart % view.itemsize == 0 and (size < 2 or view.strides[2] == view.itemsize)
        if horizon > 1 and items > 1:
            fits = fits and view.strides[0] == horizon * apart
        rows.at, rows.stride = <float *>view.buf, apart // view.itemsize
        if not fits:
            raise ValueError(f"{name}: its steps are not contiguous, or not equally far apart")
        return rows

    cdef PufOperand operand(
        self, str name, object array, int64_t items, int64_t width, bint writable=False,
        bint pool=False,
    ) except *:
        """Take what a product takes: float32 or bfloat16 (items, width), of which only the rows
        need be contiguous; of a pool as in `take`."""
        cdef PufOperand taken
        cdef Py_buffer *view
        if array is None:
            raise TypeError(f"{name}: missing; expected float32 or {expected(BF16, items, width, pool)}")
        view = self.hold(name, array, writable, pool)
        if kind_of(view) not in (F32, BF16):
            raise ValueError(f"{name}: expected float32 or bfloat16 as uint16, got {described(view)}")
        taken.narrow = kind_of(view) == BF16
        if pool:
            taken.at = self.take(name, array, kind_of(view), items, width, writable, True)
            taken.stride = width
            return taken
        if view.ndim != 2 or view.shape[0] != items or view.shape[1] != width:
            raise ValueError(
                f"{name}: expected {expected(kind_of(view), items, width, False)}, got {described(view)}"
            )
        if view.strides[0] % view.itemsize or (width > 1 and view.strides[1] != view.itemsize):
            raise ValueError(f"{name}: its rows are not contiguous")
        taken.at, taken.stride = view.buf, view.strides[0] // view.itemsize
        return taken

    cdef PufMatrix column(self, str name, object array, int64_t items, bint writable=False) except *:
        """Take float32 (items,), whatever its stride."""
        cdef PufMatrix rows
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


cdef str named(Kind kind):
    return KIND_NAMES[kind] if kind != NUM_KINDS else "another dtype"


cdef str expected(Kind kind, int64_t items, int64_t width, bint pool):
    shape = f"({items},)" if width < 0 else f"({items}, {width})"
    return f"{KIND_NAMES[kind]} of shape {shape}" + (", the first as (rows, horizon) too" * pool)


cdef str described(const Py_buffer *view):
    shape = tuple([view.shape[i] for i in range(view.ndim)])
    kind = kind_of(view)
    if kind == NUM_KINDS:
        return f"buffer format '{view.format.decode()}' of shape {shape}"
    return f"{KIND_NAMES[kind]} of shape {shape}"


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
        raise MemoryError("out of memory in a kernel")
    name = fault.array.decode()
    name = index_name if name == "index" else name
    place = name if fault.index < 0 else f"{name}[{fault.index}]"
    raise IndexError(f"{place} = {fault.value} is outside [{fault.begin}, {fault.end})")
