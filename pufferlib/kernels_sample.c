// pufferlib/kernels_sample.c - chooses actions and writes them for the game and into the pool.
//
// Discrete: inverse of the cumulative distribution, one uniform number per head. Continuous: a
// Gaussian per axis. Random numbers are a function of (seed, agent, steps of that agent), so a draw
// does not depend on who else acts, in which order, or on which machine.
#include <stdlib.h>

#include "kernels_math.h"

// Up to PUF_LANES agents that act; lanes behind `used` repeat the last one and are never stored.
typedef struct Block {
    int used;
    int64_t index[PUF_LANES]; // place among the N
    uint32_t agent[PUF_LANES];
    int64_t slot[PUF_LANES];
    uint64_t count[PUF_LANES];
    float logprob[PUF_LANES], entropy[PUF_LANES];
} Block;

PUF_INLINE int64_t agent_of(const PufSample *pass, int64_t i) {
    return pass->agents ? pass->agents[i] : pass->first + i;
}

PUF_INLINE void begin_block(const PufSample *pass, int64_t begin, Block *block) {
    const int64_t left = pass->num_acting - begin;
    block->used = left < PUF_LANES ? (int)left : PUF_LANES;
    for (int l = 0; l < PUF_LANES; l++) {
        const int64_t i = begin + (l < block->used ? l : block->used - 1);
        const int64_t a = agent_of(pass, i);
        block->index[l] = i;
        block->agent[l] = (uint32_t)a;
        block->slot[l] = pass->slot[a];
        block->count[l] = pass->counts[a];
        block->logprob[l] = block->entropy[l] = 0.0f;
    }
}

// The lowest choice that is legal, 0 if none is.
PUF_INLINE int32_t lowest_legal(const uint8_t *mask, int32_t n) {
    for (int32_t j = 0; mask && j < n; j++)
        if (mask[j]) return j;
    return 0;
}

// Turn (n x LANES) logits, masked ones at -inf, into running sums of exp(logit - max); the last is
// the total. NaN anywhere, +inf or nothing but -inf makes a NaN total.
PUF_INLINE void accumulate(float *x, int32_t n, const float *max, float *total, float *weighted) {
    for (int l = 0; l < PUF_LANES; l++) total[l] = weighted[l] = 0.0f;
    for (int32_t j = 0; j < n; j++) {
        for (int l = 0; l < PUF_LANES; l++) {
            const float z = x[j * PUF_LANES + l] - max[l];
            const float e = puf_exp(z);
            total[l] += e;
            weighted[l] += e * (z < -87.3f ? -87.3f : z);
            x[j * PUF_LANES + l] = total[l];
        }
    }
}

// One head with `n` choices whose logits begin at `offset`; `x` is scratch, (n x LANES).
PUF_INLINE void sample_head(const PufSample *pass, Block *block, int64_t head, int64_t offset,
                            const uint32_t *words, float *x) {
    const int32_t n = pass->sizes[head];
    const float infinity = puf_float_of(0x7f800000u);
    for (int l = 0; l < PUF_LANES; l++) {
        const float *logits = pass->logits + block->index[l] * pass->num_choices + offset;
        for (int32_t j = 0; j < n; j++) x[j * PUF_LANES + l] = logits[j];
        if (!pass->masks) continue;
        const uint8_t *mask = pass->masks + block->slot[l] * pass->num_choices + offset;
        for (int32_t j = 0; j < n; j++)
            if (!mask[j]) x[j * PUF_LANES + l] = -infinity;
    }
    float max[PUF_LANES], total[PUF_LANES], weighted[PUF_LANES];
    int32_t choice[PUF_LANES];
    for (int l = 0; l < PUF_LANES; l++) max[l] = -infinity, choice[l] = 0;
    for (int32_t j = 0; j < n; j++) {
        for (int l = 0; l < PUF_LANES; l++) {
            const float candidate = x[j * PUF_LANES + l];
            choice[l] = candidate > max[l] ? j : choice[l];
            max[l] = candidate > max[l] ? candidate : max[l];
        }
    }
    accumulate(x, n, max, total, weighted);
    if (!pass->greedy) {
        // A choice of probability 0 adds nothing to the sum, so it is never the first above u * total;
        // u * total < total for every u, so one is found.
        for (int l = 0; l < PUF_LANES; l++) choice[l] = 0;
        for (int32_t j = 0; j < n; j++)
            for (int l = 0; l < PUF_LANES; l++)
                choice[l] += !(x[j * PUF_LANES + l] > puf_uniform(words[l]) * total[l]);
    }
    float z[PUF_LANES];
    for (int l = 0; l < PUF_LANES; l++) {
        if (total[l] != total[l]) {
            const int64_t at = block->slot[l] * pass->num_choices + offset;
            choice[l] = lowest_legal(pass->masks ? pass->masks + at : NULL, n);
        }
        const int64_t at = block->index[l] * pass->num_choices + offset;
        z[l] = pass->logits[at + choice[l]] - max[l];
    }
    for (int l = 0; l < PUF_LANES; l++) {
        const float log_total = puf_log(total[l]);
        block->logprob[l] += z[l] - log_total;
        block->entropy[l] += log_total - weighted[l] / total[l];
    }
    for (int l = 0; l < block->used; l++) {
        pass->actions[(int64_t)block->agent[l] * pass->num_heads + head] = choice[l];
        pass->pool_action[block->slot[l] * pass->num_heads + head] = choice[l];
    }
}

// One axis; its log-probability is that of the sample as it is stored, rounding included.
PUF_INLINE void sample_axis(const PufSample *pass, Block *block, int64_t axis,
                            const float *normals) {
    const int64_t stride = pass->log_std_shared ? 0 : pass->num_axes;
    const float low = pass->low[axis], high = pass->high[axis];
    float mean[PUF_LANES], log_std[PUF_LANES], drawn[PUF_LANES], clipped[PUF_LANES];
    for (int l = 0; l < PUF_LANES; l++) {
        mean[l] = pass->mean[block->index[l] * pass->num_axes + axis];
        log_std[l] = pass->log_std[block->index[l] * stride + axis];
    }
    for (int l = 0; l < PUF_LANES; l++) {
        const float std = puf_exp(log_std[l]);
        drawn[l] = mean[l] + (pass->greedy ? 0.0f : std * normals[l]);
        const float z = (drawn[l] - mean[l]) / std;
        block->logprob[l] += -0.5f * z * z - log_std[l] - PUF_HALF_LOG_2PI;
        block->entropy[l] += log_std[l] + (0.5f + PUF_HALF_LOG_2PI);
        clipped[l] = drawn[l] > low ? drawn[l] : low; // NaN becomes low
        clipped[l] = clipped[l] < high ? clipped[l] : high;
    }
    for (int l = 0; l < block->used; l++) {
        pass->axes[(int64_t)block->agent[l] * pass->num_axes + axis] = clipped[l];
        pass->pool_axis[block->slot[l] * pass->num_axes + axis] = drawn[l];
    }
}

PUF_INLINE void end_block(const PufSample *pass, const Block *block) {
    for (int l = 0; l < block->used; l++) {
        const int64_t s = block->slot[l], a = (int64_t)block->agent[l];
        const float value = pass->values[block->index[l]];
        pass->pool_logprob[s] = block->logprob[l];
        pass->pool_value[s] = value;
        pass->pool_version[s] = pass->version;
        pass->counts[a]++;
        if (pass->waiting[a] >= 0) {
            pass->pool_next_value[pass->waiting[a]] = value;
            pass->waiting[a] = -1;
        }
        if (pass->entropy) pass->entropy[block->index[l]] = block->entropy[l];
    }
}

typedef struct Work {
    const PufSample *pass;
    float *x; // (largest head x LANES)
} Work;

PUF_INLINE void sample_blocks(const Work *work) {
    const PufSample *pass = work->pass;
    for (int64_t begin = 0; begin < pass->num_acting; begin += PUF_LANES) {
        Block block;
        uint32_t words[4][PUF_LANES];
        float normals[4][PUF_LANES];
        begin_block(pass, begin, &block);
        int64_t offset = 0;
        for (int64_t k = 0; k < pass->num_heads; k++) {
            if (k % 4 == 0 && !pass->greedy)
                puf_philox(pass->seed, block.count, block.agent, (uint32_t)(k / 4), words);
            sample_head(pass, &block, k, offset, words[k % 4], work->x);
            offset += pass->sizes[k];
        }
        for (int64_t x = 0; x < pass->num_axes; x++) {
            if (x % 4 == 0 && !pass->greedy) {
                puf_philox(pass->seed, block.count, block.agent,
                           PUF_AXIS_BLOCKS + (uint32_t)(x / 4), words);
                for (int pair = 0; pair < 4; pair += 2)
                    for (int l = 0; l < PUF_LANES; l++)
                        puf_normals(words[pair][l], words[pair + 1][l], &normals[pair][l],
                                    &normals[pair + 1][l]);
            }
            sample_axis(pass, &block, x, normals[x % 4]);
        }
        end_block(pass, &block);
    }
}
PUF_WIDE(Work, sample_blocks)

int puf_sample(const PufSample *pass, PufFault *fault) {
    for (int64_t i = 0; i < pass->num_acting; i++) {
        const int64_t a = agent_of(pass, i);
        if (puf_outside(fault, "agents", i, a, 0, pass->num_agents) ||
            puf_outside(fault, "slot", a, pass->slot[a], 0, pass->num_slots) ||
            puf_outside(fault, "waiting", a, pass->waiting[a], -1, pass->num_slots))
            return -1;
    }
    int32_t largest = 1;
    for (int64_t k = 0; k < pass->num_heads; k++)
        largest = pass->sizes[k] > largest ? pass->sizes[k] : largest;
    Work work = {pass, malloc(sizeof(float) * PUF_LANES * (size_t)largest)};
    if (!work.x) return puf_no_memory(fault);
    sample_blocks_wide(&work);
    free(work.x);
    return 0;
}
