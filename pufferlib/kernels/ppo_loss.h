// pufferlib/kernels/ppo_loss.h - PPO's clipped loss (Schulman et al. 2017) and its gradient.
//
//     loss = policy + vf_coef * value - ent_coef * entropy, each a mean over `count` transitions:
//            those of the whole minibatch; the M given may be a chunk of it
//     policy  = max(-A r, -A clip(r, 1 - eps, 1 + eps)),  r = exp(logp_theta - logp_prox)
//     value   = max((v - target)^2, (near - target)^2) / 2,  near = old + clip(v - old, -c, c);
//               only the first if c <= 0
//     entropy = summed over all heads and axes
//
// With l_j a head's log-probabilities, p_j = exp(l_j), H its entropy and a the action taken:
//     d logp / d logit_j = [j = a] - p_j,    d H / d logit_j = -p_j (l_j + H)
// and for an axis with z = (x - mean) / std:
//     d logp / d mean = z / std,    d logp / d log_std = z^2 - 1,    d H / d log_std = 1
#ifndef PUF_PPO_LOSS_H
#define PUF_PPO_LOSS_H

#include "kernels.h"

// The parameters that change between minibatches.
typedef struct PufLossParams {
    float adv_mean, adv_scale; // the advantage is used as (advantage - adv_mean) * adv_scale
    float ent_coef;
    double count; // number of transitions that means are taken over, at least M
} PufLossParams;

typedef struct PufPPOLoss {
    int64_t num_transitions;                  // M
    int64_t num_heads, num_choices, num_axes; // K, C, X
    PufMatrix logits;                         // (M x C)
    PufMatrix mean;                           // (M x X)
    const float *log_std;                     // (M x X), or (X) if log_std_shared
    PufMatrix values;                         // (M x 1)
    const int32_t *sizes;                     // (K)
    const uint8_t *mask;                      // (M x C), or NULL
    const int32_t *action;                    // (M x K)
    const float *axis;                        // (M x X)
    const float *logprob;                     // (M)
    const float *old_value;                   // (M)
    const float *advantage;                   // (M)
    const float *target;                      // (M)
    float clip_coef, vf_coef, vf_clip_coef;
    const PufLossParams *params;
    int log_std_shared;    // boolean
    PufMatrix grad_logits; // (M x C) out
    PufMatrix grad_mean;   // (M x X) out
    float *grad_log_std;   // as log_std: out, or (X) accumulated
    PufMatrix grad_values; // (M x 1) out
    double *metrics;       // (PUF_NUM_METRICS) accumulated: sums over M, / count
} PufPPOLoss;

enum {
    PUF_LOSS,
    PUF_POLICY_LOSS,
    PUF_VALUE_LOSS,
    PUF_ENTROPY,
    PUF_APPROX_KL,     // (r - 1) - log r
    PUF_CLIP_FRACTION, // share of |r - 1| > clip_coef
    PUF_OLD_APPROX_KL, // -log r
    PUF_NUM_METRICS
};

#ifdef PUF_LANES // the kernel, for one vector width; the bindings need only the arguments
#include "simd.h"

// Scratch memory of one call.
typedef struct Scratch {
    const PufPPOLoss *args;
    PufLossParams params;
    float *z, *p;        // (C x LANES) each: logit - max, probability
    float *log_total;    // (K x LANES) log of the sum of exp(z)
    float *head_entropy; // (K x LANES)
    double *log_std_sum; // (X) gradient of a shared log_std
    double *sums;        // (PUF_NUM_METRICS)
} Scratch;

// Up to PUF_LANES transitions. Lanes from `used` on repeat the last one; they are neither counted nor
// stored.
typedef struct Block {
    int used;
    int64_t index[PUF_LANES]; // of each lane, among the M
    PufFloats logprob, entropy;
    PufFloats slope; // d loss / d logprob
} Block;

PUF_INLINE PufFloats load_column(const Block *block, const float *column) {
    PufFloats x = {0};
    for (int l = 0; l < PUF_LANES; l++) x[l] = column[block->index[l]];
    return x;
}

// Copies a head's logits into vectors; a masked choice gets -inf.
PUF_INLINE void load_head(const PufPPOLoss *args, const Block *block, int64_t offset, int32_t n,
                          float *z) {
    for (int l = 0; l < PUF_LANES; l++) {
        const float *logits = puf_row(args->logits, block->index[l]) + offset;
        for (int32_t j = 0; j < n; j++) z[j * PUF_LANES + l] = logits[j];
        if (!args->mask) continue;
        const uint8_t *mask = args->mask + block->index[l] * args->num_choices + offset;
        for (int32_t j = 0; j < n; j++)
            if (!mask[j]) z[j * PUF_LANES + l] = -INFINITY;
    }
}

// Adds one head's log-probability and entropy, and stores z, p, log_total and head_entropy for
// head_gradient.
PUF_INLINE void head_forward(const Scratch *scratch, Block *block, int64_t head, int64_t offset) {
    const PufPPOLoss *args = scratch->args;
    const int32_t n = args->sizes[head];
    float *z = scratch->z + offset * PUF_LANES, *p = scratch->p + offset * PUF_LANES;
    load_head(args, block, offset, n, z);
    PufFloats max = puf_splat(-INFINITY), total = puf_splat(0.0f), weighted = total;
    for (int32_t j = 0; j < n; j++) {
        const PufFloats x = puf_load(z + j * PUF_LANES);
        max = puf_select(x > max, x, max);
    }
    for (int32_t j = 0; j < n; j++) {
        const PufFloats below = puf_load(z + j * PUF_LANES) - max;
        const PufFloats e = puf_exp(below);
        total += e;
        weighted += e * puf_at_least(below, puf_splat(PUF_EXP_MIN));
        puf_store(z + j * PUF_LANES, below);
        puf_store(p + j * PUF_LANES, e);
    }
    PufFloats taken = {0};
    for (int l = 0; l < PUF_LANES; l++)
        taken[l] = z[args->action[block->index[l] * args->num_heads + head] * PUF_LANES + l];
    const PufFloats log_total = puf_log(total), inverse = 1.0f / total;
    const PufFloats entropy = log_total - weighted * inverse;
    for (int32_t j = 0; j < n; j++)
        puf_store(p + j * PUF_LANES, puf_load(p + j * PUF_LANES) * inverse);
    puf_store(scratch->log_total + head * PUF_LANES, log_total);
    puf_store(scratch->head_entropy + head * PUF_LANES, entropy);
    block->logprob += taken - log_total;
    block->entropy += entropy;
}

// Writes the gradient of one head's logits.
PUF_INLINE void head_gradient(const Scratch *scratch, const Block *block, int64_t head,
                              int64_t offset) {
    const PufPPOLoss *args = scratch->args;
    const int32_t n = args->sizes[head];
    const float entropy_slope = scratch->params.ent_coef / (float)scratch->params.count;
    const PufFloats log_total = puf_load(scratch->log_total + head * PUF_LANES);
    const PufFloats entropy = puf_load(scratch->head_entropy + head * PUF_LANES);
    const float *z = scratch->z + offset * PUF_LANES;
    float *p = scratch->p + offset * PUF_LANES;
    for (int32_t j = 0; j < n; j++) {
        const PufFloats below = puf_at_least(puf_load(z + j * PUF_LANES), puf_splat(PUF_EXP_MIN));
        const PufFloats weight = entropy_slope * (below - log_total + entropy) - block->slope;
        puf_store(p + j * PUF_LANES, puf_load(p + j * PUF_LANES) * weight);
    }
    for (int l = 0; l < block->used; l++) {
        float *gradient = puf_row(args->grad_logits, block->index[l]) + offset;
        for (int32_t j = 0; j < n; j++) gradient[j] = p[j * PUF_LANES + l];
        gradient[args->action[block->index[l] * args->num_heads + head]] += block->slope[l];
    }
}

typedef struct Axis {
    PufFloats log_std, std, z;
} Axis;

PUF_INLINE Axis load_axis(const PufPPOLoss *args, const Block *block, int64_t axis) {
    const int64_t stride = args->log_std_shared ? 0 : args->num_axes;
    float log_stds[PUF_LANES], offsets[PUF_LANES];
    for (int l = 0; l < PUF_LANES; l++) {
        const int64_t at = block->index[l] * args->num_axes + axis;
        log_stds[l] = args->log_std[block->index[l] * stride + axis];
        offsets[l] = args->axis[at] - puf_row(args->mean, block->index[l])[axis];
    }
    const PufFloats log_std = puf_load(log_stds), std = puf_exp(log_std);
    return (Axis){log_std, std, puf_load(offsets) / std};
}

PUF_INLINE void axis_forward(const PufPPOLoss *args, Block *block, int64_t axis) {
    const Axis x = load_axis(args, block, axis);
    block->logprob += -0.5f * x.z * x.z - x.log_std - PUF_HALF_LOG_2PI;
    block->entropy += x.log_std + (0.5f + PUF_HALF_LOG_2PI);
}

PUF_INLINE void axis_gradient(const Scratch *scratch, const Block *block, int64_t axis) {
    const PufPPOLoss *args = scratch->args;
    const Axis x = load_axis(args, block, axis);
    const PufFloats mean_slope = block->slope * x.z / x.std;
    const PufFloats log_std_slope =
        block->slope * (x.z * x.z - 1.0f) - scratch->params.ent_coef / (float)scratch->params.count;
    for (int l = 0; l < block->used; l++) {
        const int64_t at = block->index[l] * args->num_axes + axis;
        puf_row(args->grad_mean, block->index[l])[axis] = mean_slope[l];
        if (args->log_std_shared) scratch->log_std_sum[axis] += (double)log_std_slope[l];
        else args->grad_log_std[at] = log_std_slope[l];
    }
}

// Policy loss of each lane: its slope, d loss / d logprob, and its part of the metrics.
PUF_INLINE void policy_terms(const Scratch *scratch, Block *block) {
    const PufPPOLoss *args = scratch->args;
    const float low = 1.0f - args->clip_coef, high = 1.0f + args->clip_coef;
    const PufFloats log_ratio = block->logprob - load_column(block, args->logprob);
    const PufFloats advantage = (load_column(block, args->advantage) - scratch->params.adv_mean) *
                                scratch->params.adv_scale;
    const PufFloats r = puf_exp(log_ratio);
    const PufFloats clipped = puf_at_most(puf_at_least(r, puf_splat(low)), puf_splat(high));
    const PufFloats free_loss = -advantage * r, clipped_loss = -advantage * clipped;
    const PufInts is_clipped = clipped_loss > free_loss, is_far = (r < low) | (r > high);
    const PufFloats policy = puf_select(is_clipped, clipped_loss, free_loss);
    const PufFloats kl = (r - 1.0f) - log_ratio;
    block->slope =
        puf_select(is_clipped, puf_splat(0.0f), free_loss * (1.0f / (float)scratch->params.count));
    for (int l = 0; l < block->used; l++) {
        scratch->sums[PUF_POLICY_LOSS] += (double)policy[l];
        scratch->sums[PUF_ENTROPY] += (double)block->entropy[l];
        scratch->sums[PUF_APPROX_KL] += (double)kl[l];
        scratch->sums[PUF_CLIP_FRACTION] -= is_far[l]; // true is -1
        scratch->sums[PUF_OLD_APPROX_KL] -= (double)log_ratio[l];
    }
}

// Value loss of each lane: its gradient, and its part of the metrics.
PUF_INLINE void value_terms(const Scratch *scratch, const Block *block) {
    const PufPPOLoss *args = scratch->args;
    const float c = args->vf_clip_coef, share = args->vf_coef / (float)scratch->params.count;
    for (int l = 0; l < block->used; l++) {
        const int64_t m = block->index[l];
        const float value = *puf_row(args->values, m);
        const float error = value - args->target[m], moved = value - args->old_value[m];
        float loss = error * error, slope = error * share;
        if (c > 0.0f && (moved > c || moved < -c)) {
            const float clipped = args->old_value[m] + (moved > c ? c : -c) - args->target[m];
            if (clipped * clipped > loss) loss = clipped * clipped, slope = 0.0f;
        }
        scratch->sums[PUF_VALUE_LOSS] += 0.5 * (double)loss;
        *puf_row(args->grad_values, m) = slope;
    }
}

// Runs the forward and then the backward pass of each block, while the block is in the cache.
PUF_INLINE void loss_blocks(const Scratch *scratch) {
    const PufPPOLoss *args = scratch->args;
    for (int64_t begin = 0; begin < args->num_transitions; begin += PUF_LANES) {
        Block block;
        const int64_t left = args->num_transitions - begin;
        block.used = left < PUF_LANES ? (int)left : PUF_LANES;
        for (int l = 0; l < PUF_LANES; l++) {
            block.index[l] = begin + (l < block.used ? l : block.used - 1);
        }
        block.logprob = block.entropy = puf_splat(0.0f);
        int64_t offset = 0;
        for (int64_t k = 0; k < args->num_heads; offset += args->sizes[k++])
            head_forward(scratch, &block, k, offset);
        for (int64_t x = 0; x < args->num_axes; x++) axis_forward(args, &block, x);
        policy_terms(scratch, &block);
        value_terms(scratch, &block);
        offset = 0;
        for (int64_t k = 0; k < args->num_heads; offset += args->sizes[k++])
            head_gradient(scratch, &block, k, offset);
        for (int64_t x = 0; x < args->num_axes; x++) axis_gradient(scratch, &block, x);
    }
}

static int puf_ppo_loss(const PufPPOLoss *args, PufFault *fault) {
    for (int64_t m = 0; m < args->num_transitions; m++)
        for (int64_t k = 0; k < args->num_heads; k++)
            if (puf_out_of_range(fault, "action", m * args->num_heads + k,
                                 args->action[m * args->num_heads + k], 0, args->sizes[k]))
                return -1;
    // One allocation, with the doubles first, so that doubles and floats are aligned.
    const size_t floats = 2 * (size_t)(args->num_choices + args->num_heads) * PUF_LANES;
    const size_t doubles = (size_t)args->num_axes + PUF_NUM_METRICS;
    double *memory = calloc(1, doubles * sizeof(double) + floats * sizeof(float));
    if (!memory) return puf_out_of_memory(fault);
    const Scratch scratch = {
        .args = args,
        .params = *args->params,
        .sums = memory,
        .log_std_sum = memory + PUF_NUM_METRICS,
        .z = (float *)(memory + doubles),
        .p = (float *)(memory + doubles) + args->num_choices * PUF_LANES,
        .log_total = (float *)(memory + doubles) + 2 * args->num_choices * PUF_LANES,
        .head_entropy =
            (float *)(memory + doubles) + (2 * args->num_choices + args->num_heads) * PUF_LANES,
    };
    loss_blocks(&scratch);
    // Sums are doubles: a float32 sum over a large minibatch would lose digits.
    double *sums = scratch.sums;
    sums[PUF_LOSS] = sums[PUF_POLICY_LOSS] + (double)args->vf_coef * sums[PUF_VALUE_LOSS] -
                     (double)scratch.params.ent_coef * sums[PUF_ENTROPY];
    for (int i = 0; i < PUF_NUM_METRICS; i++) args->metrics[i] += sums[i] / scratch.params.count;
    if (args->log_std_shared)
        for (int64_t x = 0; x < args->num_axes; x++)
            args->grad_log_std[x] += (float)scratch.log_std_sum[x];
    free(memory);
    return 0;
}

#endif
#endif
