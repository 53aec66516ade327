# Matrix products by a BLAS: recording them on a graph, and the choice of the BLAS functions.

cdef extern from "product.h" nogil:
    ctypedef void (*PufGemm)(
        const char *, const char *, const int64_t *, const int64_t *, const int64_t *,
        const float *, const void *, const int64_t *, const void *, const int64_t *,
        const float *, float *, const int64_t *,
    ) noexcept nogil
    ctypedef struct PufFactor:
        const void *data
        int64_t stride
        const PufInput *input
        int64_t begin
        char transposed
    ctypedef struct PufProduct:
        PufGemm gemm
        int64_t num_rows, inner, num_columns
        PufFactor left, right
        PufMatrix out
        float beta
    int puf_product(const void *args, PufFault *fault)


cdef PufGemm[2] GEMM  # of float32, of bfloat16
GEMM[0], GEMM[1] = NULL, NULL


def use_blas(sgemm, bgemm, set_num_threads):
    """Use the functions at these addresses for products from now on; 0 if there is none.

    sgemm            gemm as BLAS defines it
    bgemm            the same for bfloat16 factors, with float32 sums
    set_num_threads  int -> int, limits the threads that products of the calling thread use; the
                     workers of a ThreadPool limit theirs to 1
    """
    global SET_NUM_THREADS
    GEMM[0], GEMM[1] = <PufGemm><size_t>int(sgemm), <PufGemm><size_t>int(bgemm)
    SET_NUM_THREADS = <PufSetNumThreads><size_t>int(set_num_threads)


def product(*, left, right, out, bint add=False, Graph graph not None):
    """Record out = left @ right, or out += left @ right.

    left   (N, F) float32 or bfloat16 with contiguous rows or columns, or a GraphInput of float32
    right  (F, D) like left, of the same dtype
    out    (N, D) float32, contiguous rows

    Raise RuntimeError if `use_blas` was given no function for this dtype.
    """
    cdef PufProduct p
    cdef Arrays a = Arrays()
    cdef DType dtype = factor_dtype("left", left)
    if dtype not in (F32, BF16):
        raise ValueError(f"left: expected float32 or bfloat16 as uint16, got {dtype_name(dtype)}")
    p.gemm = GEMM[dtype == BF16]
    if p.gemm == NULL:
        raise RuntimeError(f"there is no BLAS for {DTYPE_NAMES[dtype]}; call use_blas first")
    p.num_rows, p.inner = length("left", left), length("left", left, 1)
    p.num_columns = length("right", right, 1)
    if length("right", right) != p.inner:
        raise ValueError(f"right: expected {p.inner} rows, got shape {tuple(right.shape)}")
    take_factor(&p.left, "left", left, dtype, a, graph)
    take_factor(&p.right, "right", right, dtype, a, graph)
    p.out = a.matrix("out", out, p.num_rows, p.num_columns, True)
    p.out.stride = gemm_stride("out", p.out.stride, p.num_rows, p.num_columns)
    p.beta = 1.0 if add else 0.0
    a.shrink()
    graph.append(puf_product, &p, sizeof(p), a)


cdef DType factor_dtype(str name, object matrix) except *:
    cdef Arrays a
    if isinstance(matrix, GraphInput):
        return (<GraphInput>matrix).kind
    a = Arrays()
    return dtype_of(a.acquire(name, matrix, False, False))


cdef int take_factor(
    PufFactor *factor, str name, object matrix, DType dtype, Arrays a, Graph graph
) except -1:
    """Fill in a factor from a GraphInput or from a matrix with contiguous rows or columns."""
    cdef Py_buffer *view
    cdef GraphInput source
    cdef int along
    factor.input, factor.begin, factor.transposed = NULL, 0, b"N"
    if isinstance(matrix, GraphInput):
        other = (<GraphInput>matrix).kind
        if other != dtype:
            raise ValueError(f"{name}: expected {dtype_name(dtype)}, got {dtype_name(other)}")
        if dtype != F32:
            raise ValueError(f"{name}: a GraphInput in a product is float32, not {dtype_name(dtype)}")
        source = (<GraphInput>matrix).source()
        factor.input, factor.begin = &source.current, (<GraphInput>matrix).begin
        graph.inputs.append(source)
        return 0
    view = a.acquire(name, matrix, False, False)
    if dtype_of(view) != dtype or view.ndim != 2:
        raise ValueError(f"{name}: expected {DTYPE_NAMES[dtype]} of two dimensions, got {described(view)}")
    along = 1 if view.shape[1] == 1 or view.strides[1] == view.itemsize else 0  # the lines' axis
    if (view.shape[along] > 1 and view.strides[along] != view.itemsize) or (
        view.strides[1 - along] % view.itemsize
    ):
        raise ValueError(f"{name}: neither its rows nor its columns are contiguous")
    factor.transposed = b"N" if along else b"T"
    factor.data = view.buf
    factor.stride = gemm_stride(
        name, view.strides[1 - along] // view.itemsize, view.shape[1 - along], view.shape[along]
    )
    return 0


cdef int64_t gemm_stride(str name, int64_t stride, int64_t lines, int64_t width) except -1:
    """Return the stride between lines for BLAS, which requires at least the width."""
    if lines > 1 and stride < width:
        raise ValueError(f"{name}: its lines overlap; pass numpy.ascontiguousarray({name})")
    return max(stride if lines > 1 else width, 1)
