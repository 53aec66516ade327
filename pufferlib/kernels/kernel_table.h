// pufferlib/kernels/kernel_table.h - the table of all kernels, for one vector width.
//
// To add a kernel: write its header, with a struct of arguments and a function; add an include and a
// row here; add a binding to a _bindings_*.pxi. avx512.c, avx2.c and dispatch.c set the compiler's
// target and PUF_LANES, then include this file.
#ifndef PUF_KERNEL_TABLE_H
#define PUF_KERNEL_TABLE_H

#include "adam.h"
#include "advantage.h"
#include "fill.h"
#include "gather.h"
#include "linear.h"
#include "lstm.h"
#include "mingru.h"
#include "moments.h"
#include "ppo_loss.h"
#include "reduce_grads.h"
#include "sample.h"
#include "state.h"
#include "to_float.h"

// ROW(name, Args) stands for `static int puf_name(const Args *args, PufFault *fault)`.
#define PUF_KERNEL_ROWS(ROW) \
    ROW(sample, PufSample) \
    ROW(advantage, PufAdvantage) \
    ROW(ppo_loss, PufPPOLoss) \
    ROW(reduce_grads, PufReduceGrads) \
    ROW(adam, PufAdam) \
    ROW(gather, PufGather) \
    ROW(moments, PufMoments) \
    ROW(to_float, PufToFloat) \
    ROW(linear, PufLinear) \
    ROW(linear_backward, PufLinearBackward) \
    ROW(lstm, PufLSTM) \
    ROW(lstm_backward, PufLSTMBackward) \
    ROW(mingru, PufMinGRU) \
    ROW(mingru_backward, PufMinGRUBackward) \
    ROW(transpose_rows, PufTransposeRows) \
    ROW(not_reset, PufNotReset) \
    ROW(mask_state, PufMaskState) \
    ROW(init_states, PufInitStates) \
    ROW(fill, PufFill)

// Each row defines a function with the table's signature, and an entry of the table.
#define PUF_RUN(name, Args) \
    static int puf_run_##name(const void *args, PufFault *fault) { \
        return puf_##name((const Args *)args, fault); \
    }
PUF_KERNEL_ROWS(PUF_RUN)
#define PUF_ENTRY(name, Args) {#name, puf_run_##name},
static const PufKernel PUF_ENTRIES[] = {PUF_KERNEL_ROWS(PUF_ENTRY)};

#define PUF_KERNELS(isa) {isa, sizeof PUF_ENTRIES / sizeof *PUF_ENTRIES, PUF_ENTRIES}

#endif
