# Bindings of the kernels that copy and convert data: gather.h, to_float.h, moments.h, fill.h.

cdef extern from "gather.h" nogil:
    ctypedef enum PufConvert:
        PUF_COPY, PUF_FROM_U8, PUF_FROM_I8, PUF_FROM_I32, PUF_FROM_F32
    ctypedef struct PufGather:
        int64_t num_items, num_taken, item_elements, item_bytes
        const char *pool
        const int32_t *index32
        const int64_t *index64
        PufConvert convert
        int to_bf16
        float scale
        void *out

cdef extern from "to_float.h" nogil:
    ctypedef struct PufToFloat:
        int64_t num_rows, size, begin
        const PufInput *input
        PufConvert convert
        const float *mean
        const float *scale
        float bound
        PufOperand out

cdef extern from "moments.h" nogil:
    ctypedef struct PufMoments:
        int64_t num_rows, num_taken, size
        const float *pool
        const int32_t *index
        double *mean
        double *deviation

cdef extern from "fill.h" nogil:
    ctypedef struct PufFill:
        int64_t num_rows, size
        PufMatrix out
        float value


cdef int64_t GATHER = find_kernel(b"gather"), TO_FLOAT = find_kernel(b"to_float")
cdef int64_t MEAN_AND_DEVIATION = find_kernel(b"moments"), FILL = find_kernel(b"fill")

CONVERT = {U8: PUF_FROM_U8, I8: PUF_FROM_I8, I32: PUF_FROM_I32, F32: PUF_FROM_F32}

# Copying fewer bytes takes less time than getting the GIL back from another thread.
cdef enum:
    RELEASE_GIL_BYTES = 1 << 16


cdef gather_items(str index_name, pool, index, out, float scale, int leading, Graph graph):
    """Gather items by `index` over the first `leading` dimensions of the pool; 0: any number."""
    cdef PufGather p
    cdef Arrays a = Arrays()
    cdef Py_buffer *from_view = a.acquire("pool", pool)
    cdef Py_buffer *index_view = a.acquire(index_name, index)
    cdef Py_buffer *out_view = a.acquire("out", out, True)
    cdef DType dtype = dtype_of(from_view), out_dtype = dtype_of(out_view)
    cdef DType index_dtype = dtype_of(index_view)
    cdef int i, spare = from_view.ndim - (out_view.ndim - 1)
    cdef bint fits = out_view.ndim >= 1 and spare >= 1 and (spare == leading or leading == 0)
    a.index_name = index_name
    if index_view.ndim != 1 or index_dtype not in (I32, I64):
        raise ValueError(
            f"{index_name}: expected int32 or int64 of one dimension, got {described(index_view)}"
        )
    if dtype not in (F32, I32, U8, I8):
        raise ValueError(f"pool: expected uint8, int8, int32 or float32, got {described(from_view)}")
    # An index runs over the dimensions that the pool has and `out` lacks.
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
    if out_dtype not in (F32, BF16) and (out_dtype != dtype or scale != 1.0):
        raise ValueError(
            "out: expected float32, bfloat16 as uint16, or the dtype of pool and scale 1; got"
            f" {described(out_view)}"
            f" for pool of {described(from_view)} and scale {scale:g}"
        )
    p.item_bytes = p.item_elements * from_view.itemsize
    p.pool, p.out, p.scale = <const char *>from_view.buf, out_view.buf, scale
    p.index32 = <const int32_t *>index_view.buf if index_dtype == I32 else NULL
    p.index64 = <const int64_t *>index_view.buf if index_dtype == I64 else NULL
    p.to_bf16 = out_dtype == BF16
    if out_dtype == dtype and scale == 1.0:
        p.convert = PUF_COPY
    else:
        p.convert = CONVERT[dtype]
    call_or_record(GATHER, &p, sizeof(p), a, graph, p.num_taken * p.item_bytes >= RELEASE_GIL_BYTES)


def gather(pool, rows, out, float scale=1.0, Graph graph=None):
    """Copy whole rows of a pool.

    pool  (R, H, ...) uint8, int8, int32 or float32
    rows  (m,) int32 or int64
    out   (m, H, ...) the pool's dtype with scale 1, or float32 or bfloat16: value * scale
    """
    gather_items("rows", pool, rows, out, scale, 1, graph)


def gather_slots(pool, slots, out, float scale=1.0, Graph graph=None):
    """Copy single slots of a pool.

    pool   (S, ...) or (R, H, ...) uint8, int8, int32 or float32
    slots  (n,) int32 or int64
    out    (n, ...), with the dtypes of `gather`
    """
    gather_items("slots", pool, slots, out, scale, 0, graph)


def moments(pool, rows):
    """Return the mean and the standard deviation (over n, not n - 1) of whole rows.

    pool  (R, H) float32
    rows  (m,) int32
    """
    cdef PufMoments p
    cdef Arrays a = Arrays()
    cdef double mean, deviation
    p.num_rows, p.size, p.num_taken = length("pool", pool), length("pool", pool, 1), length("rows", rows)
    if not p.num_taken or not p.size:
        raise ValueError("rows: there are no slots to take the mean of")
    p.pool = <const float *>a.array("pool", pool, F32, p.num_rows, p.size)
    p.index = <const int32_t *>a.array("rows", rows, I32, p.num_taken)
    p.mean, p.deviation = &mean, &deviation
    a.index_name = "rows"
    call_or_record(MEAN_AND_DEVIATION, &p, sizeof(p), a, None)
    return mean, deviation


def to_float(*, GraphInput input not None, out, mean=None, scale=None, bound=None, Graph graph=None):
    """Convert an input to floats; with `scale`, normalize: clip((x - mean) * scale, -bound, bound).

    input  (N, F) uint8, int8, int32 or float32
    out    (N, F) operand, out
    mean   (F,) or None
    scale  (F,) or None, as mean
    bound  at least 0, or None, as mean
    """
    cdef PufToFloat p
    cdef Arrays a = Arrays()
    cdef GraphInput source = input.source()
    p.num_rows, p.size = input.shape
    p.mean, p.scale = NULL, NULL
    if input.kind not in (F32, I32, U8, I8):
        raise ValueError(f"input: expected uint8, int8, int32 or float32, got {DTYPE_NAMES[input.kind]}")
    if not (mean is None) == (scale is None) == (bound is None):
        raise TypeError("mean, scale and bound: give all of them or none")
    if scale is not None:
        if not bound >= 0:
            raise ValueError(f"bound: expected a number from 0 on, got {bound}")
        p.bound = bound
        p.mean = <const float *>a.array("mean", mean, F32, p.size)
        p.scale = <const float *>a.array("scale", scale, F32, p.size)
    p.convert = CONVERT[input.kind]
    p.out = a.operand("out", out, p.num_rows, p.size, True)
    p.input, p.begin = &source.current, input.begin
    if graph is not None:
        graph.inputs.append(source)
    elif source.current.data == NULL:
        raise ValueError("input: no array was bound to it; call bind")
    call_or_record(TO_FLOAT, &p, sizeof(p), a, graph)


def fill(*, out, float value=0.0, Graph graph=None):
    """Fill a matrix `out` (n, D) with contiguous rows with one number."""
    cdef PufFill p
    cdef Arrays a = Arrays()
    p.num_rows, p.size = length("out", out), length("out", out, 1)
    p.out, p.value = a.matrix("out", out, p.num_rows, p.size, True), value
    call_or_record(FILL, &p, sizeof(p), a, graph)
