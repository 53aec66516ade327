// pufferlib/kernels_passes.h - all passes for one vector width: included by kernels_avx512.c,
// kernels_avx2.c and kernels_baseline.c, which set PUF_LANES and the target.
#ifndef PUF_KERNELS_PASSES_H
#define PUF_KERNELS_PASSES_H

#include "kernels_adam.h"
#include "kernels_advantage.h"
#include "kernels_dense.h"
#include "kernels_gather.h"
#include "kernels_loss.h"
#include "kernels_recurrent.h"
#include "kernels_sample.h"
#include "kernels_turn.h"

#define PUF_PASSES(name) \
    {name,          puf_sample,   puf_advantage,   puf_ppo_loss,   puf_gather, \
     puf_moments,   puf_to_float, puf_dense,       puf_dense_back, puf_lstm, \
     puf_lstm_back, puf_mingru,   puf_mingru_back, puf_turn,       puf_keep, \
     puf_carry,     puf_begin,    puf_fill,        puf_join,       puf_adam}

#endif
