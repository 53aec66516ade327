# Bindings of the kernels of a linear layer: linear.h.

cdef extern from "linear.h" nogil:
    ctypedef enum PufActivation:
        pass
    ctypedef struct PufLinear:
        int64_t num_rows, size
        PufActivation activation
        PufMatrix product
        const float *bias
        PufOperand y
    ctypedef struct PufLinearBackward:
        int64_t num_rows, size
        PufActivation activation
        PufMatrix grad
        PufOperand y, out
        float *grad_bias


cdef int64_t LINEAR = find_kernel(b"linear"), LINEAR_BACKWARD = find_kernel(b"linear_backward")

ACTIVATIONS = ("identity", "relu", "tanh")  # in the order of PufActivation


cdef int activation_of(str name) except -1:
    if name not in ACTIVATIONS:
        raise ValueError(f"activation: expected one of {', '.join(ACTIVATIONS)}, got {name!r}")
    return ACTIVATIONS.index(name)


def linear(*, product, y, bias, str activation, Graph graph=None):
    """Add the bias to a layer's product and apply the activation; tanh has an error below 2e-7.

    product     (N, D) x W', contiguous rows
    y           (N, D) operand, out, contiguous rows: activation(product + bias); may share the product's
                memory if each row begins where the product's does
    bias        (D,)
    activation  identity, relu or tanh
    """
    cdef PufLinear p
    cdef Arrays a = Arrays()
    p.num_rows, p.size = length("product", product), length("product", product, 1)
    p.activation = <PufActivation>activation_of(activation)
    p.product = a.matrix("product", product, p.num_rows, p.size)
    p.bias = <const float *>a.array("bias", bias, F32, p.size)
    p.y = a.operand("y", y, p.num_rows, p.size, True)
    call_or_record(LINEAR, &p, sizeof(p), a, graph)


def linear_backward(*, y, grad, out, grad_bias, str activation, Graph graph=None):
    """Compute the gradient of a layer's product from that of its output.

    y           (N, D) operand, the output, contiguous rows
    grad        (N, D) gradient of y, contiguous rows
    out         (N, D) operand, out, contiguous rows: gradient of the product; may share grad's memory if
                each row begins where grad's does
    grad_bias   (D,) accumulated, before the gradients are rounded
    activation  identity, relu or tanh
    """
    cdef PufLinearBackward p
    cdef Arrays a = Arrays()
    p.num_rows, p.size = length("y", y), length("y", y, 1)
    p.activation = <PufActivation>activation_of(activation)
    p.y = a.operand("y", y, p.num_rows, p.size)
    p.grad = a.matrix("grad", grad, p.num_rows, p.size)
    p.out = a.operand("out", out, p.num_rows, p.size, True)
    p.grad_bias = <float *>a.array("grad_bias", grad_bias, F32, p.size, -1, True)
    call_or_record(LINEAR_BACKWARD, &p, sizeof(p), a, graph)
