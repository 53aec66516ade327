// pufferlib/kernels_advantage.c - advantages and value targets of whole rows.
//
//     rho = min(ratio, rho_clip), c = min(ratio, c_clip)
//     delta_t = rho_t * (reward_t + gamma * next_value_t - value_t)
//     adv_t = delta_t + gamma * lambda * c_t * adv_{t+1}   if LIVE and t + 1 is of the same piece
//     adv_t = delta_t                                      else
//     target_t = value_t + adv_t
//
// With ratio 1 this is GAE (Schulman et al. 2016); with lambda 1 the target is V-trace's v_s
// (Espeholt et al. 2018, equation 1).
#include "kernels_math.h"

enum { LIVE, TERMINAL }; // of `done`; TRUNCATED is whatever is left

PUF_INLINE float value_after(const PufAdvantage *pass, int64_t s, int goes_on) {
    const float next = goes_on ? pass->value[s + 1] : pass->next_value[s];
    return pass->done[s] == TERMINAL ? 0.0f : next;
}

PUF_INLINE float scaled_reward(const PufAdvantage *pass, float reward) {
    const float clip = pass->reward_clip;
    float scaled = reward * pass->reward_scale;
    if (clip <= 0.0f) return scaled;
    scaled = scaled > clip ? clip : scaled;
    return scaled < -clip ? -clip : scaled;
}

// Slot t of row `b` of the batch: delta into `advantage`, the factor of adv_{t+1} into `target`.
PUF_INLINE void prepare(const PufAdvantage *pass, int64_t b, int64_t t, int goes_on) {
    const int64_t s = pass->rows[b] * pass->horizon + t, out = b * pass->horizon + t;
    const float ratio = pass->ratio ? pass->ratio[out] : 1.0f;
    const float rho = ratio > pass->rho_clip ? pass->rho_clip : ratio;
    const float c = ratio > pass->c_clip ? pass->c_clip : ratio;
    const float next = value_after(pass, s, goes_on);
    const float reward = scaled_reward(pass, pass->reward[s]);
    pass->advantage[out] = rho * (reward + pass->gamma * next - pass->value[s]);
    pass->target[out] = goes_on ? pass->gamma * pass->gae_lambda * c : 0.0f;
}

PUF_INLINE void advantage_rows(const PufAdvantage *pass) {
    const int64_t horizon = pass->horizon;
    for (int64_t b = 0; b < pass->batch_rows; b++) {
        const uint8_t *done = pass->done + pass->rows[b] * horizon;
        const uint8_t *start = pass->piece_start + pass->rows[b] * horizon;
        const float *value = pass->value + pass->rows[b] * horizon;
        float *advantage = pass->advantage + b * horizon, *target = pass->target + b * horizon;
        for (int64_t t = 0; t < horizon - 1; t++)
            prepare(pass, b, t, (done[t] == LIVE) & !start[t + 1]);
        prepare(pass, b, horizon - 1, 0);
        float after = 0.0f;
        for (int64_t t = horizon - 1; t >= 0; t--) {
            after = advantage[t] + (target[t] != 0.0f ? target[t] * after : 0.0f);
            advantage[t] = after;
            target[t] = value[t] + after;
        }
    }
}
PUF_WIDE(PufAdvantage, advantage_rows)

int puf_advantage(const PufAdvantage *pass, PufFault *fault) {
    for (int64_t b = 0; b < pass->batch_rows; b++)
        if (puf_outside(fault, "rows", b, pass->rows[b], 0, pass->num_rows)) return -1;
    advantage_rows_wide(pass);
    return 0;
}
