// pufferlib/kernels/advantage.h - advantages and value targets of whole rows.
//
//     rho = min(ratio, rho_clip), c = min(ratio, c_clip)
//     delta_t = rho_t * (reward_t + gamma * next_value_t - value_t)
//     adv_t = delta_t + gamma * lambda * c_t * adv_{t+1}   if LIVE and t + 1 is of the same piece
//     adv_t = delta_t                                      else
//     target_t = value_t + adv_t
//
// With ratio 1 this is GAE (Schulman et al. 2016); with lambda 1 the target is V-trace's v_s
// (Espeholt et al. 2018, equation 1).
#ifndef PUF_KERNELS_ADVANTAGE_H
#define PUF_KERNELS_ADVANTAGE_H

#include "simd.h"

enum { LIVE, TERMINAL }; // of `done`; TRUNCATED is whatever is left

// One row (H,) of each column, and its place in the batch. Advantage and target may be where reward
// and next_value are: of each slot these are read before it is written.
typedef struct Row {
    const float *reward, *value, *next_value, *ratio;
    const uint8_t *done, *piece_start;
    float *advantage, *target;
} Row;

// Slot t: delta into `deltas`, the factor of adv_{t+1} into `factors`.
PUF_INLINE void prepare(const PufAdvantage *pass, Row row, int64_t t, int next_is_here,
                        float *deltas, float *factors) {
    const float clip = pass->reward_clip > 0.0f ? pass->reward_clip : INFINITY;
    const float ratio = row.ratio ? row.ratio[t] : 1.0f;
    const float rho = ratio > pass->rho_clip ? pass->rho_clip : ratio;
    const float c = ratio > pass->c_clip ? pass->c_clip : ratio;
    const int goes_on = next_is_here & (row.done[t] == LIVE);
    const float other = row.done[t] == TERMINAL ? 0.0f : row.next_value[t];
    const float next = goes_on ? row.value[t + next_is_here] : other;
    float reward = row.reward[t] * pass->reward_scale;
    reward = reward > clip ? clip : reward;
    reward = reward < -clip ? -clip : reward;
    deltas[t] = rho * (reward + pass->gamma * next - row.value[t]);
    factors[t] = goes_on ? pass->gamma * pass->gae_lambda * c : 0.0f;
}

PUF_INLINE void advantage_row(const PufAdvantage *pass, Row row) {
    const int64_t last = pass->horizon - 1;
    for (int64_t t = 0; t < last; t++)
        prepare(pass, row, t, !row.piece_start[t + 1], row.advantage, row.target);
    prepare(pass, row, last, 0, row.advantage, row.target);
    float after = 0.0f;
    for (int64_t t = last; t >= 0; t--) {
        const float factor = row.target[t];
        after = row.advantage[t] + (factor == 0.0f ? 0.0f : factor * after); // 0: not even of a NaN
        row.advantage[t] = after;
        row.target[t] = row.value[t] + after;
    }
}

PUF_INLINE void advantage_rows(const PufAdvantage *pass) {
    for (int64_t b = 0; b < pass->batch_rows; b++) {
        const int64_t from = pass->rows[b] * pass->horizon, place = b * pass->horizon;
        const int64_t to = pass->in_place ? from : place;
        advantage_row(pass,
                      (Row){pass->reward + from, pass->value + from, pass->next_value + from,
                            pass->ratio ? pass->ratio + place : NULL, pass->done + from,
                            pass->piece_start + from, pass->advantage + to, pass->target + to});
    }
}

static int puf_advantage(const PufAdvantage *pass, PufFault *fault) {
    for (int64_t b = 0; b < pass->batch_rows; b++)
        if (puf_outside(fault, "rows", b, pass->rows[b], 0, pass->num_rows)) return -1;
    advantage_rows(pass);
    return 0;
}

#endif
