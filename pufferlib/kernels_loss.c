// pufferlib/kernels_loss.c - PPO's clipped loss (Schulman et al. 2017) and its gradient in one pass.
//
//     loss = policy + vf_coef * value - ent_coef * entropy, each a mean over M slots
//     policy  = max(-A r, -A clip(r, 1 - eps, 1 + eps)),  r = exp(logp_theta - logp_prox)
//     value   = max((v - target)^2, (old + clip(v - old, -c, c) - target)^2) / 2;  c <= 0: first term
//     entropy = sum over all heads and axes
//
// With l_j a head's log-probabilities, p_j = exp(l_j), H its entropy and a the choice taken:
//     d logp / d logit_j = [j = a] - p_j,    d H / d logit_j = -p_j (l_j + H)
// and of an axis with z = (x - mean) / std:
//     d logp / d mean = z / std,    d logp / d log_std = z^2 - 1,    d H / d log_std = 1
#include <stdlib.h>

#include "kernels_math.h"

typedef struct Work {
    const PufLoss *pass;
    float *z, *p; // (C x LANES) each: logit - max, and exp of it, then the probability
    float *log_total, *head_entropy; // (K x LANES) each
    double *log_std_sum;             // (X) gradient of a shared log_std
    double *sums;                    // (PUF_NUM_METRICS)
} Work;

// Up to PUF_LANES slots; lanes behind `used` repeat the last one, weigh nothing and are never stored.
typedef struct Block {
    int used;
    int64_t slot[PUF_LANES];
    float logprob[PUF_LANES], entropy[PUF_LANES];
    float slope[PUF_LANES]; // d loss / d logp_theta
} Block;

PUF_INLINE void load_head(const PufLoss *pass, const Block *block, int64_t offset, int32_t n,
                          float *z) {
    for (int l = 0; l < PUF_LANES; l++) {
        const int64_t at = block->slot[l] * pass->num_choices + offset;
        for (int32_t j = 0; j < n; j++) z[j * PUF_LANES + l] = pass->logits[at + j];
        if (!pass->masks) continue;
        for (int32_t j = 0; j < n; j++)
            if (!pass->masks[at + j]) z[j * PUF_LANES + l] = -puf_float_of(0x7f800000u);
    }
}

// Log-probability and entropy of one head; leaves z and p for `head_gradient`.
PUF_INLINE void head_forward(const Work *work, Block *block, int64_t head, int64_t offset) {
    const PufLoss *pass = work->pass;
    const int32_t n = pass->sizes[head];
    float *z = work->z + offset * PUF_LANES, *p = work->p + offset * PUF_LANES;
    float *log_total = work->log_total + head * PUF_LANES;
    float *head_entropy = work->head_entropy + head * PUF_LANES;
    float max[PUF_LANES], total[PUF_LANES], weighted[PUF_LANES];
    load_head(pass, block, offset, n, z);
    for (int l = 0; l < PUF_LANES; l++) {
        max[l] = -puf_float_of(0x7f800000u);
        total[l] = weighted[l] = 0.0f;
    }
    for (int32_t j = 0; j < n; j++)
        for (int l = 0; l < PUF_LANES; l++)
            max[l] = z[j * PUF_LANES + l] > max[l] ? z[j * PUF_LANES + l] : max[l];
    for (int32_t j = 0; j < n; j++) {
        for (int l = 0; l < PUF_LANES; l++) {
            const float below = z[j * PUF_LANES + l] - max[l];
            const float e = puf_exp(below);
            total[l] += e;
            weighted[l] += e * (below < -87.3f ? -87.3f : below);
            z[j * PUF_LANES + l] = below;
            p[j * PUF_LANES + l] = e;
        }
    }
    float taken[PUF_LANES];
    for (int l = 0; l < PUF_LANES; l++)
        taken[l] = z[pass->action[block->slot[l] * pass->num_heads + head] * PUF_LANES + l];
    for (int l = 0; l < PUF_LANES; l++) {
        total[l] = 1.0f / total[l];
        log_total[l] = -puf_log(total[l]);
        head_entropy[l] = log_total[l] - weighted[l] * total[l];
        block->logprob[l] += taken[l] - log_total[l];
        block->entropy[l] += head_entropy[l];
    }
    for (int32_t j = 0; j < n; j++)
        for (int l = 0; l < PUF_LANES; l++) p[j * PUF_LANES + l] *= total[l];
}

PUF_INLINE void head_gradient(const Work *work, const Block *block, int64_t head, int64_t offset) {
    const PufLoss *pass = work->pass;
    const int32_t n = pass->sizes[head];
    const float entropy_slope = pass->ent_coef / (float)pass->num_slots;
    const float *log_total = work->log_total + head * PUF_LANES;
    const float *head_entropy = work->head_entropy + head * PUF_LANES;
    const float *z = work->z + offset * PUF_LANES;
    float *p = work->p + offset * PUF_LANES;
    for (int32_t j = 0; j < n; j++) {
        for (int l = 0; l < PUF_LANES; l++) {
            const float below = z[j * PUF_LANES + l];
            const float logp = (below < -87.3f ? -87.3f : below) - log_total[l];
            p[j * PUF_LANES + l] *= entropy_slope * (logp + head_entropy[l]) - block->slope[l];
        }
    }
    for (int l = 0; l < block->used; l++) {
        float *gradient = pass->grad_logits + block->slot[l] * pass->num_choices + offset;
        for (int32_t j = 0; j < n; j++) gradient[j] = p[j * PUF_LANES + l];
        gradient[pass->action[block->slot[l] * pass->num_heads + head]] += block->slope[l];
    }
}

// One axis: log-probability and entropy, or, once the slope is known, the gradient.
PUF_INLINE void axis_pass(const Work *work, Block *block, int64_t axis, int gradient) {
    const PufLoss *pass = work->pass;
    const int64_t stride = pass->log_std_shared ? 0 : pass->num_axes;
    float log_std[PUF_LANES], std[PUF_LANES], z[PUF_LANES];
    for (int l = 0; l < PUF_LANES; l++) {
        const int64_t at = block->slot[l] * pass->num_axes + axis;
        log_std[l] = pass->log_std[block->slot[l] * stride + axis];
        z[l] = pass->axis[at] - pass->mean[at];
    }
    for (int l = 0; l < PUF_LANES; l++) {
        std[l] = puf_exp(log_std[l]);
        z[l] /= std[l];
    }
    if (!gradient) {
        for (int l = 0; l < PUF_LANES; l++) {
            block->logprob[l] += -0.5f * z[l] * z[l] - log_std[l] - PUF_HALF_LOG_2PI;
            block->entropy[l] += log_std[l] + (0.5f + PUF_HALF_LOG_2PI);
        }
        return;
    }
    const float entropy_slope = pass->ent_coef / (float)pass->num_slots;
    for (int l = 0; l < block->used; l++) {
        const int64_t at = block->slot[l] * pass->num_axes + axis;
        const float slope = block->slope[l] * (z[l] * z[l] - 1.0f) - entropy_slope;
        pass->grad_mean[at] = block->slope[l] * z[l] / std[l];
        if (pass->log_std_shared) work->log_std_sum[axis] += (double)slope;
        else pass->grad_log_std[at] = slope;
    }
}

// Policy loss of each lane, its slope and its share of the metrics.
PUF_INLINE void policy_terms(const Work *work, Block *block) {
    const PufLoss *pass = work->pass;
    const float low = 1.0f - pass->clip_coef, high = 1.0f + pass->clip_coef;
    const float share = 1.0f / (float)pass->num_slots;
    float log_ratio[PUF_LANES], advantage[PUF_LANES];
    float policy[PUF_LANES], kl[PUF_LANES], far[PUF_LANES];
    for (int l = 0; l < PUF_LANES; l++) {
        log_ratio[l] = block->logprob[l] - pass->logprob[block->slot[l]];
        advantage[l] = (pass->advantage[block->slot[l]] - pass->adv_mean) * pass->adv_scale;
    }
    for (int l = 0; l < PUF_LANES; l++) {
        const float r = puf_exp(log_ratio[l]);
        float clipped = r < low ? low : r;
        clipped = clipped > high ? high : clipped;
        const float free_loss = -advantage[l] * r, clipped_loss = -advantage[l] * clipped;
        const int is_clipped = clipped_loss > free_loss;
        policy[l] = is_clipped ? clipped_loss : free_loss;
        block->slope[l] = is_clipped ? 0.0f : free_loss * share;
        kl[l] = (r - 1.0f) - log_ratio[l];
        far[l] = (r < low) | (r > high) ? 1.0f : 0.0f;
    }
    for (int l = 0; l < block->used; l++) {
        work->sums[PUF_POLICY_LOSS] += (double)policy[l];
        work->sums[PUF_ENTROPY] += (double)block->entropy[l];
        work->sums[PUF_APPROX_KL] += (double)kl[l];
        work->sums[PUF_CLIP_FRACTION] += (double)far[l];
        work->sums[PUF_OLD_APPROX_KL] -= (double)log_ratio[l];
    }
}

PUF_INLINE void value_terms(const Work *work, const Block *block) {
    const PufLoss *pass = work->pass;
    const float c = pass->vf_clip_coef, share = pass->vf_coef / (float)pass->num_slots;
    for (int l = 0; l < block->used; l++) {
        const int64_t m = block->slot[l];
        const float error = pass->values[m] - pass->target[m];
        const float moved = pass->values[m] - pass->old_value[m];
        float loss = error * error, slope = error * share;
        if (c > 0.0f && (moved > c || moved < -c)) {
            const float clipped = pass->old_value[m] + (moved > c ? c : -c) - pass->target[m];
            if (clipped * clipped > loss) loss = clipped * clipped, slope = 0.0f;
        }
        work->sums[PUF_VALUE_LOSS] += 0.5 * (double)loss;
        pass->grad_values[m] = slope;
    }
}

PUF_INLINE void loss_blocks(const Work *work) {
    const PufLoss *pass = work->pass;
    for (int64_t begin = 0; begin < pass->num_slots; begin += PUF_LANES) {
        Block block;
        const int64_t left = pass->num_slots - begin;
        block.used = left < PUF_LANES ? (int)left : PUF_LANES;
        for (int l = 0; l < PUF_LANES; l++) {
            block.slot[l] = begin + (l < block.used ? l : block.used - 1);
            block.logprob[l] = block.entropy[l] = 0.0f;
        }
        int64_t offset = 0;
        for (int64_t k = 0; k < pass->num_heads; offset += pass->sizes[k++])
            head_forward(work, &block, k, offset);
        for (int64_t x = 0; x < pass->num_axes; x++) axis_pass(work, &block, x, 0);
        policy_terms(work, &block);
        value_terms(work, &block);
        offset = 0;
        for (int64_t k = 0; k < pass->num_heads; offset += pass->sizes[k++])
            head_gradient(work, &block, k, offset);
        for (int64_t x = 0; x < pass->num_axes; x++) axis_pass(work, &block, x, 1);
    }
}
PUF_WIDE(Work, loss_blocks)

int puf_ppo_loss(const PufLoss *pass, PufFault *fault) {
    for (int64_t m = 0; m < pass->num_slots; m++)
        for (int64_t k = 0; k < pass->num_heads; k++)
            if (puf_outside(fault, "action", m * pass->num_heads + k,
                            pass->action[m * pass->num_heads + k], 0, pass->sizes[k]))
                return -1;
    const size_t floats = 2 * (size_t)(pass->num_choices + pass->num_heads) * PUF_LANES;
    const size_t doubles = (size_t)pass->num_axes + PUF_NUM_METRICS;
    double *memory = calloc(1, doubles * sizeof(double) + floats * sizeof(float));
    if (!memory) return puf_no_memory(fault);
    const Work work = {
        .pass = pass,
        .sums = memory,
        .log_std_sum = memory + PUF_NUM_METRICS,
        .z = (float *)(memory + doubles),
        .p = (float *)(memory + doubles) + pass->num_choices * PUF_LANES,
        .log_total = (float *)(memory + doubles) + 2 * pass->num_choices * PUF_LANES,
        .head_entropy =
            (float *)(memory + doubles) + (2 * pass->num_choices + pass->num_heads) * PUF_LANES,
    };
    loss_blocks_wide(&work);
    for (int i = 0; i < PUF_NUM_METRICS; i++)
        pass->metrics[i] = work.sums[i] / (double)pass->num_slots;
    pass->metrics[PUF_LOSS] = pass->metrics[PUF_POLICY_LOSS] +
                              (double)pass->vf_coef * pass->metrics[PUF_VALUE_LOSS] -
                              (double)pass->ent_coef * pass->metrics[PUF_ENTROPY];
    if (pass->log_std_shared)
        for (int64_t x = 0; x < pass->num_axes; x++)
            pass->grad_log_std[x] = (float)work.log_std_sum[x];
    free(memory);
    return 0;
}
