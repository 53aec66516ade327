// pufferlib/kernels/advantage.h - advantages and value targets of whole rows.
//
//     rho = min(ratio, rho_clip), c = min(ratio, c_clip)
//     delta_t = rho_t * (reward_t + gamma * next_value_t - value_t)
//     adv_t = delta_t + gamma * lambda * c_t * adv_{t+1}   if LIVE and t + 1 is of the same segment
//     adv_t = delta_t                                      otherwise
//     target_t = value_t + adv_t
//
// With ratio 1 this is GAE (Schulman et al. 2016); with lambda 1 the target is V-trace's v_s
// (Espeholt et al. 2018, equation 1).
#ifndef PUF_ADVANTAGE_H
#define PUF_ADVANTAGE_H

#include "kernels.h"
#include "pufferenv/contract/spec.h"

typedef struct PufAdvantage {
    int64_t num_rows, batch_rows, horizon; // R, B, H
    int in_place;                          // advantage and target are (R x H), not (B x H)
    const int32_t *rows;                   // (B)
    const float *pool_reward;              // (R x H)
    const float *pool_value;               // (R x H)
    const float *pool_next_value;          // (R x H)
    const uint8_t *pool_done;              // (R x H) PufDone
    const uint8_t *pool_segment_start;     // (R x H)
    const float *ratio;                    // (B x H), or NULL: 1
    float gamma, gae_lambda, rho_clip, c_clip;
    float reward_scale, reward_clip; // reward_clip <= 0: not clipped
    float *advantage;                // (B x H) out
    float *target;                   // (B x H) out
} PufAdvantage;

#ifdef PUF_LANES // the kernel, for one vector width; the bindings need only the arguments
#include "simd.h"

// One row (H) of each column. Advantage and target may share the memory of reward and next_value,
// because each slot is read before it is written.
typedef struct Row {
    const float *reward, *value, *next_value, *ratio;
    const uint8_t *done, *segment_start;
    float *advantage, *target;
} Row;

// Slot t: writes delta_t, and the factor of adv_{t+1}. The loop over t has no dependency between
// steps, so that compilers vectorize it; only the recursion in advantage_row is sequential.
PUF_INLINE void prepare(const PufAdvantage *args, Row row, int64_t t, int same_segment,
                        float *deltas, float *factors) {
    const float clip = args->reward_clip > 0.0f ? args->reward_clip : INFINITY;
    const float ratio = row.ratio ? row.ratio[t] : 1.0f;
    const float rho = ratio > args->rho_clip ? args->rho_clip : ratio;
    const float c = ratio > args->c_clip ? args->c_clip : ratio;
    const int continues = same_segment & (row.done[t] == PUF_LIVE);
    const float other = row.done[t] == PUF_TERMINAL ? 0.0f : row.next_value[t];
    const float next = continues ? row.value[t + same_segment] : other;
    float reward = row.reward[t] * args->reward_scale;
    reward = reward > clip ? clip : reward;
    reward = reward < -clip ? -clip : reward;
    deltas[t] = rho * (reward + args->gamma * next - row.value[t]);
    factors[t] = continues ? args->gamma * args->gae_lambda * c : 0.0f;
}

PUF_INLINE void advantage_row(const PufAdvantage *args, Row row) {
    const int64_t last = args->horizon - 1;
    for (int64_t t = 0; t < last; t++)
        prepare(args, row, t, !row.segment_start[t + 1], row.advantage, row.target);
    prepare(args, row, last, 0, row.advantage, row.target);
    float after = 0.0f;
    for (int64_t t = last; t >= 0; t--) {
        const float factor = row.target[t];
        after = row.advantage[t] +
                (factor == 0.0f ? 0.0f : factor * after); // a factor of 0 also stops a NaN
        row.advantage[t] = after;
        row.target[t] = row.value[t] + after;
    }
}

PUF_INLINE void advantage_rows(const PufAdvantage *args) {
    for (int64_t b = 0; b < args->batch_rows; b++) {
        const int64_t from = args->rows[b] * args->horizon, place = b * args->horizon;
        const int64_t to = args->in_place ? from : place;
        advantage_row(args,
                      (Row){args->pool_reward + from, args->pool_value + from,
                            args->pool_next_value + from, args->ratio ? args->ratio + place : NULL,
                            args->pool_done + from, args->pool_segment_start + from,
                            args->advantage + to, args->target + to});
    }
}

static int puf_advantage(const PufAdvantage *args, PufFault *fault) {
    for (int64_t b = 0; b < args->batch_rows; b++)
        if (puf_out_of_range(fault, "rows", b, args->rows[b], 0, args->num_rows)) return -1;
    advantage_rows(args);
    return 0;
}

#endif
#endif
