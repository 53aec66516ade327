// pufferlib/kernels/kernel_table.h - all passes for one vector width: included by kernels_avx512.c,
// kernels_avx2.c and kernels_baseline.c, which set PUF_LANES and the target.
#ifndef PUF_KERNEL_TABLE_H
#define PUF_KERNEL_TABLE_H

#include "adam.h"
#include "advantage.h"
#include "gather.h"
#include "linear.h"
#include "ppo_loss.h"
#include "recurrent.h"
#include "sample.h"
#include "state.h"

#define PUF_KERNELS(name) \
    {name, \
     puf_sample, \
     puf_advantage, \
     puf_ppo_loss, \
     puf_gather, \
     puf_moments, \
     puf_to_float, \
     puf_linear, \
     puf_linear_backward, \
     puf_lstm, \
     puf_lstm_backward, \
     puf_mingru, \
     puf_mingru_backward, \
     puf_transpose_rows, \
     puf_not_reset, \
     puf_mask_state, \
     puf_init_states, \
     puf_fill, \
     puf_reduce_grads, \
     puf_adam}

#endif
