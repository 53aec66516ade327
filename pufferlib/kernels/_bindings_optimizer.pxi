# Bindings of the kernels of the optimizer: reduce_grads.h, adam.h.

cdef extern from "reduce_grads.h" nogil:
    ctypedef struct PufReduceGrads:
        int64_t num_rows, size
        PufMatrix more
        float *out
        double *squares

cdef extern from "adam.h" nogil:
    ctypedef struct PufAdamParams:
        float grad_scale, step_size, root_scale, weight_factor
    ctypedef struct PufAdam:
        int64_t size
        float *weights
        float *grads
        float *mean
        float *square
        float beta1, beta2, eps
        const PufAdamParams *params


cdef int64_t REDUCE_GRADS = find_kernel(b"reduce_grads"), ADAM = find_kernel(b"adam")


def reduce_grads(*, out, more, squares, Graph graph=None):
    """Add other threads' gradients to `out`, zero them, and sum the squares of the result.

    out      (W,) in and out
    more     (n, W) in and out, 0 afterwards, contiguous rows
    squares  (1,) float64, out
    """
    cdef PufReduceGrads p
    cdef Arrays a = Arrays()
    p.size, p.num_rows = length("out", out), length("more", more)
    p.out = <float *>a.array("out", out, F32, p.size, -1, True)
    p.more = a.matrix("more", more, p.num_rows, p.size, True)
    p.squares = <double *>a.array("squares", squares, F64, 1, -1, True)
    call_or_record(REDUCE_GRADS, &p, sizeof(p), a, graph)


cdef class AdamParams:
    """The parameters of AdamW that change between steps; t is the number of this step, from 1.

    grad_scale     gradients are multiplied by it
    step_size      learning rate / (1 - beta1^t)
    root_scale     1 / sqrt(1 - beta2^t)
    weight_factor  1 - learning rate * weight decay
    """

    cdef PufAdamParams values

    def set(self, *, float grad_scale, float step_size, float root_scale, float weight_factor):
        """Set all four; a recorded step reads them at replay."""
        self.values.grad_scale, self.values.step_size = grad_scale, step_size
        self.values.root_scale, self.values.weight_factor = root_scale, weight_factor


def adam(
    *, weights, grads, mean, square, AdamParams params not None, double beta1, double beta2, double eps,
    Graph graph=None,
):
    """Take one step of AdamW (Loshchilov, Hutter 2019), as torch.optim.AdamW does.

    weights  (W,) in and out
    grads    (W,) in and out, 0 afterwards
    mean     (W,) in and out, first moment of the gradient
    square   (W,) in and out, second moment
    """
    cdef PufAdam p
    cdef Arrays a = Arrays()
    p.size = length("weights", weights)
    p.weights = <float *>a.array("weights", weights, F32, p.size, -1, True)
    p.grads = <float *>a.array("grads", grads, F32, p.size, -1, True)
    p.mean = <float *>a.array("mean", mean, F32, p.size, -1, True)
    p.square = <float *>a.array("square", square, F32, p.size, -1, True)
    p.beta1, p.beta2, p.eps = beta1, beta2, eps
    p.params = &params.values
    a.keep(params)
    call_or_record(ADAM, &p, sizeof(p), a, graph)
