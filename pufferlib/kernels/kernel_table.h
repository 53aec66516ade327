// pufferlib/kernels/kernel_table.h - all passes for one vector width: included by kernels_avx512.c,
// kernels_avx2.c and kernels_baseline.c, which set PUF_LANES and the target.
#ifndef PUF_KERNELS_PASSES_H
#define PUF_KERNELS_PASSES_H

#include "adam.h"
#include "advantage.h"
#include "gather.h"
#include "linear.h"
#include "ppo_loss.h"
#include "recurrent.h"
#include "sample.h"
#include "state.h"

#define PUF_PASSES(name) \
    {name,          puf_sample,   puf_advantage,   puf_ppo_loss,   puf_gather, \
     puf_moments,   puf_to_float, puf_dense,       puf_dense_back, puf_lstm, \
     puf_lstm_back, puf_mingru,   puf_mingru_back, puf_turn,       puf_keep, \
     puf_carry,     puf_begin,    puf_fill,        puf_join,       puf_adam}

#endif
