// pufferlib/kernels/product.c - a matrix product by a BLAS, which a graph records like a kernel.
#include "product.h"

// The factor's current memory, with a stride of at least the width, as a BLAS requires.
static PufFactor bound(const PufFactor *factor, int64_t width) {
    PufFactor now = *factor;
    if (!now.input) return now;
    const int64_t stride = now.input->stride / (int64_t)sizeof(float);
    now.data = now.input->data + now.begin * now.input->stride;
    now.stride = stride > width ? stride : width > 1 ? width : 1;
    return now;
}

// A BLAS reads a row-major matrix as its transpose, so it gets the factors in reverse order:
// out' = right' left'.
int puf_product(const void *args, PufFault *fault) {
    (void)fault;
    const PufProduct *p = args;
    const PufFactor left = bound(&p->left, p->inner), right = bound(&p->right, p->num_columns);
    const float alpha = 1.0f;
    p->gemm(&right.transposed, &left.transposed, &p->num_columns, &p->num_rows, &p->inner, &alpha,
            right.data, &right.stride, left.data, &left.stride, &p->beta, p->out.data,
            &p->out.stride);
    return 0;
}
