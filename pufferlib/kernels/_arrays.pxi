# The arrays of one call: held as buffers, checked, and described in errors.
#
# Most kernels take contiguous arrays (`array`). `matrix` accepts columns of a wider array,
# `operand` a factor of a product, `column` a single column, `sequence` an array (rows, steps,
# size).

cdef enum:
    MAX_ARRAYS = 32

cdef enum DType:
    F32, F64, BF16, I32, I64, U64, U8, I8, NUM_DTYPES

DTYPE_NAMES = (
    "float32", "float64", "bfloat16 as uint16", "int32", "int64", "uint64", "uint8 or bool", "int8",
)


cdef class Arrays:
    """The arrays of one call, held until it returns or as long as the graph that records it."""

    cdef Py_buffer *views
    cdef int count
    cdef list objects  # kept alive as long as the arrays: the parameters of a recorded call
    cdef str index_name  # the caller's name for the array that a fault names "index"

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

    cdef int keep(self, object what) except -1:
        """Hold a reference to another object too."""
        self.objects.append(what)
        return 0

    cdef int shrink(self) except -1:
        """Free the unused capacity before a graph keeps these arrays."""
        cdef size_t size = max(self.count, 1) * sizeof(Py_buffer)
        cdef void *views = malloc(size)
        if views == NULL:
            raise MemoryError("out of memory for a call's arrays")
        memcpy(views, self.views, size)
        free(self.views)
        self.views = <Py_buffer *>views
        return 0

    cdef Py_buffer *acquire(
        self, str name, object array, bint writable=False, bint contiguous=True
    ) except NULL:
        """Hold an array of any shape and dtype; raise unless it is contiguous and writable if asked."""
        cdef Py_buffer *view = &self.views[self.count]
        if not PyObject_CheckBuffer(array):
            raise TypeError(
                f"{name}: expected a numpy array, got {type(array).__name__}"
                " (of a tensor: tensor.detach().numpy())"
            )
        PyObject_GetBuffer(array, view, PyBUF_FORMAT | PyBUF_STRIDES)
        self.count += 1
        if contiguous and not PyBuffer_IsContiguous(view, b"C"):
            raise ValueError(f"{name}: not C-contiguous; pass numpy.ascontiguousarray({name})")
        if writable and view.readonly:
            raise ValueError(f"{name}: the kernel writes to it, but the array is read-only")
        return view

    cdef void *array(
        self, str name, object array, DType dtype, int64_t items, int64_t width=-1,
        bint writable=False, bint pool=False,
    ) except? NULL:
        """Hold an array (items,) or (items, width), and return its data.

        With `pool`, several leading dimensions may hold the items, such as (rows, horizon).
        """
        if array is None:
            raise TypeError(f"{name}: missing; expected {expected(dtype, items, width, pool)}")
        cdef Py_buffer *view = self.acquire(name, array, writable)
        cdef int last = view.ndim if width < 0 else view.ndim - 1
        cdef bint fits = dtype_of(view) == dtype and last >= 1 and (pool or last == 1)
        cdef int64_t leading = 1
        cdef int i
        if fits:
            for i in range(last):
                leading *= view.shape[i]
            fits = leading == items and (width < 0 or view.shape[last] == width)
        if not fits:
            raise ValueError(
                f"{name}: expected {expected(dtype, items, width, pool)}, got {described(view)}"
            )
        return view.buf

    cdef PufMatrix matrix(
        self, str name, object array, int64_t items, int64_t width, bint writable=False,
    ) except *:
        """Hold float32 (items, width) with contiguous rows."""
        cdef PufMatrix rows
        if array is None:
            raise TypeError(f"{name}: missing; expected {expected(F32, items, width, False)}")
        cdef Py_buffer *view = self.acquire(name, array, writable, False)
        cdef bint fits = dtype_of(view) == F32 and view.ndim == 2
        if not fits or view.shape[0] != items or view.shape[1] != width:
            raise ValueError(
                f"{name}: expected {expected(F32, items, width, False)}, got {described(view)}"
            )
        if view.strides[0] % sizeof(float) or (width > 1 and view.strides[1] != sizeof(float)):
            raise ValueError(f"{name}: its rows are not contiguous")
        rows.data, rows.stride = <float *>view.buf, view.strides[0] // <int64_t>sizeof(float)
        return rows

    cdef PufMatrix sequence(
        self, str name, object array, int64_t items, int64_t horizon, int64_t size
    ) except *:
        """Hold writable float32 (items, horizon, size) with a constant stride between steps."""
        cdef PufMatrix rows
        cdef Py_buffer *view
        cdef int64_t apart
        cdef bint fits
        if array is None:
            raise TypeError(f"{name}: missing; expected {expected(F32, items * horizon, size, True)}")
        view = self.acquire(name, array, True, False)
        if dtype_of(view) != F32 or tuple(array.shape) != (items, horizon, size):
            raise ValueError(
                f"{name}: expected float32 of shape {(items, horizon, size)}, got {described(view)}"
            )
        apart = view.strides[1] if horizon > 1 else view.strides[0]
        fits = apart % view.itemsize == 0 and (size < 2 or view.strides[2] == view.itemsize)
        if horizon > 1 and items > 1:
            fits = fits and view.strides[0] == horizon * apart
        rows.data, rows.stride = <float *>view.buf, apart // view.itemsize
        if not fits:
            raise ValueError(f"{name}: its steps are not contiguous, or their stride varies")
        return rows

    cdef PufOperand operand(
        self, str name, object array, int64_t items, int64_t width, bint writable=False,
        bint pool=False,
    ) except *:
        """Hold float32 or bfloat16 (items, width) with contiguous rows; with `pool` as in `array`."""
        cdef PufOperand taken
        cdef Py_buffer *view
        if array is None:
            raise TypeError(f"{name}: missing; expected float32 or {expected(BF16, items, width, pool)}")
        view = self.acquire(name, array, writable, pool)
        if dtype_of(view) not in (F32, BF16):
            raise ValueError(f"{name}: expected float32 or bfloat16 as uint16, got {described(view)}")
        taken.is_bf16 = dtype_of(view) == BF16
        if pool:
            taken.data = self.array(name, array, dtype_of(view), items, width, writable, True)
            taken.stride = width
            return taken
        if view.ndim != 2 or view.shape[0] != items or view.shape[1] != width:
            raise ValueError(
                f"{name}: expected {expected(dtype_of(view), items, width, False)}, got {described(view)}"
            )
        if view.strides[0] % view.itemsize or (width > 1 and view.strides[1] != view.itemsize):
            raise ValueError(f"{name}: its rows are not contiguous")
        taken.data, taken.stride = view.buf, view.strides[0] // view.itemsize
        return taken

    cdef PufMatrix column(self, str name, object array, int64_t items, bint writable=False) except *:
        """Hold float32 (items,) of any stride."""
        cdef PufMatrix rows
        if array is None:
            raise TypeError(f"{name}: missing; expected {expected(F32, items, -1, False)}")
        cdef Py_buffer *view = self.acquire(name, array, writable, False)
        if dtype_of(view) != F32 or view.ndim != 1 or view.shape[0] != items:
            raise ValueError(
                f"{name}: expected {expected(F32, items, -1, False)}, got {described(view)}"
            )
        if view.strides[0] % sizeof(float):
            raise ValueError(f"{name}: its stride is not a multiple of 4 bytes")
        rows.data, rows.stride = <float *>view.buf, view.strides[0] // <int64_t>sizeof(float)
        return rows


cdef DType dtype_of(const Py_buffer *view) noexcept:
    """Return the dtype of an array, or NUM_DTYPES if no kernel takes it."""
    cdef char c = view.format[0] if view.format != NULL else b"B"
    if view.format != NULL and view.format[1] != 0:
        return NUM_DTYPES
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
    return NUM_DTYPES


cdef str dtype_name(DType dtype):
    return DTYPE_NAMES[dtype] if dtype != NUM_DTYPES else "another dtype"


cdef str expected(DType dtype, int64_t items, int64_t width, bint pool):
    shape = f"({items},)" if width < 0 else f"({items}, {width})"
    return f"{DTYPE_NAMES[dtype]} of shape {shape}" + (", or (rows, horizon) for its first dimension" * pool)


cdef str described(const Py_buffer *view):
    shape = tuple([view.shape[i] for i in range(view.ndim)])
    dtype = dtype_of(view)
    if dtype == NUM_DTYPES:
        return f"buffer format '{view.format.decode()}' of shape {shape}"
    return f"{DTYPE_NAMES[dtype]} of shape {shape}"


cdef int64_t length(str name, object array, int axis=0) except -1:
    """Return the size of dimension `axis`, which counts from the end if negative."""
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
    """Return the number of slots of a pool column: (S,) or (R, H)."""
    cdef int64_t slots = length(name, array)
    return slots if array.ndim == 1 else slots * length(name, array, 1)


cdef int raise_fault(const PufFault *fault, str index_name) except -1:
    """Raise IndexError for a kernel's fault, MemoryError if it ran out of memory."""
    if fault.array == NULL:
        raise MemoryError("out of memory in a kernel")
    name = fault.array.decode()
    name = index_name if name == "index" else name
    place = name if fault.index < 0 else f"{name}[{fault.index}]"
    raise IndexError(f"{place} = {fault.value} is outside [{fault.begin}, {fault.end})")
