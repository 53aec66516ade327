// pufferlib/kernels_sample.h - chooses actions and writes them for the game and into the pool.
//
// Discrete: inverse of the cumulative distribution, one uniform number per head. Continuous: a
// Gaussian per axis. Random numbers are a function of (seed, agent, steps of that agent), so a draw
// does not depend on who else acts, in which order, or on which machine.
#ifndef PUF_KERNELS_SAMPLE_H
#define PUF_KERNELS_SAMPLE_H

#include "kernels_math.h"

// Up to PUF_LANES agents that act; lanes behind `used` repeat the last one and are never stored.
typedef struct Acting {
    int used;
    int64_t index[PUF_LANES]; // place among the N
    int64_t agent[PUF_LANES];
    int64_t slot[PUF_LANES];
    PufWords counter[3]; // low and high half of the agent's steps, the agent
    PufFloats logprob, entropy;
} Acting;

PUF_INLINE int64_t agent_of(const PufSample *pass, int64_t i) {
    return pass->agents ? pass->agents[i] : pass->first + i;
}

// The slots of one step are as far apart as rows are: have the lines that will be written to on
// their way while the lanes compute.
PUF_INLINE void fetch(const PufSample *pass, int64_t slot) {
    __builtin_prefetch(pass->pool_logprob + slot, 1);
    __builtin_prefetch(pass->pool_value + slot, 1);
    __builtin_prefetch(pass->pool_version + slot, 1);
    if (pass->num_heads) __builtin_prefetch(pass->pool_action + slot * pass->num_heads, 1);
    if (pass->num_axes) __builtin_prefetch(pass->pool_axis + slot * pass->num_axes, 1);
}

PUF_INLINE void begin_block(const PufSample *pass, int64_t begin, Acting *block) {
    const int64_t left = pass->num_acting - begin;
    block->used = left < PUF_LANES ? (int)left : PUF_LANES;
    for (int l = 0; l < PUF_LANES; l++) {
        const int64_t i = begin + (l < block->used ? l : block->used - 1);
        const int64_t a = agent_of(pass, i);
        block->index[l] = i;
        block->agent[l] = a;
        block->slot[l] = pass->slot[a];
        block->counter[0][l] = (uint32_t)pass->counts[a];
        block->counter[1][l] = (uint32_t)(pass->counts[a] >> 32);
        block->counter[2][l] = (uint32_t)a;
        fetch(pass, pass->slot[a]);
    }
    block->logprob = block->entropy = puf_all(0.0f);
}

// Numbers of the random blocks: heads count theirs from 0, axes from here.
#define AXIS_BLOCKS 0x80000000u

// The lowest choice that is legal, 0 if none is.
PUF_INLINE int32_t lowest_legal(const uint8_t *mask, int32_t n) {
    for (int32_t j = 0; mask && j < n; j++)
        if (mask[j]) return j;
    return 0;
}

PUF_INLINE void load_logits(const PufSample *pass, const Acting *block, int64_t offset, int32_t n,
                            float *x) {
    for (int l = 0; l < PUF_LANES; l++) {
        const float *logits = pass->logits + block->index[l] * pass->num_choices + offset;
        for (int32_t j = 0; j < n; j++) x[j * PUF_LANES + l] = logits[j];
        if (!pass->masks) continue;
        const uint8_t *mask = pass->masks + block->slot[l] * pass->num_choices + offset;
        for (int32_t j = 0; j < n; j++)
            if (!mask[j]) x[j * PUF_LANES + l] = -INFINITY;
    }
}

// The choice that `word` draws from a head whose logits begin at `offset` and stand in `sums`,
// where they become running sums; adds to log-probability and entropy. NaN, +inf or nothing but
// -inf among the logits makes `total` NaN.
PUF_INLINE PufInts choose(const PufSample *pass, Acting *block, int64_t head, int64_t offset,
                          PufWords word, float *sums) {
    const int32_t n = pass->sizes[head];
    PufFloats max = puf_all(-INFINITY), total = puf_all(0.0f), weighted = total;
    PufInts choice = {0};
    for (int32_t j = 0; j < n; j++) {
        const PufFloats x = puf_load(sums + j * PUF_LANES);
        const PufInts above = x > max;
        choice = (choice & ~above) | (above & j);
        max = puf_select(above, x, max);
    }
    for (int32_t j = 0; j < n; j++) {
        const PufFloats z = puf_load(sums + j * PUF_LANES) - max;
        const PufFloats e = puf_exp(z);
        total += e;
        weighted += e * puf_at_least(z, puf_all(PUF_EXP_MIN));
        puf_store(sums + j * PUF_LANES, total);
    }
    if (!pass->greedy) {
        // The first running sum above u * total. A choice of probability 0 adds nothing, so it is
        // never the first; u * total < total for every u, so there is one. (A comparison is -1.)
        const PufFloats threshold = puf_uniform(word) * total;
        choice = (PufInts){0};
        for (int32_t j = 0; j < n; j++) choice += ~(puf_load(sums + j * PUF_LANES) > threshold) & 1;
    }
    PufFloats z = {0};
    for (int l = 0; l < PUF_LANES; l++) {
        if (total[l] != total[l]) {
            const int64_t at = block->slot[l] * pass->num_choices + offset;
            choice[l] = lowest_legal(pass->masks ? pass->masks + at : NULL, n);
        }
        z[l] = pass->logits[block->index[l] * pass->num_choices + offset + choice[l]];
    }
    const PufFloats log_total = puf_log(total);
    block->logprob += (z - max) - log_total;
    block->entropy += log_total - weighted / total;
    return choice;
}

PUF_INLINE void sample_heads(const PufSample *pass, Acting *block, float *scratch) {
    PufWords words[4] = {0};
    int64_t offset = 0;
    for (int64_t k = 0; k < pass->num_heads; k++) {
        if (k % 4 == 0 && !pass->greedy)
            puf_threefry(pass->seed, block->counter, (uint32_t)(k / 4), words);
        load_logits(pass, block, offset, pass->sizes[k], scratch);
        const PufInts choice = choose(pass, block, k, offset, words[k % 4], scratch);
        for (int l = 0; l < block->used; l++) {
            pass->actions[block->agent[l] * pass->num_heads + k] = choice[l];
            pass->pool_action[block->slot[l] * pass->num_heads + k] = choice[l];
        }
        offset += pass->sizes[k];
    }
}

// The log-probability is that of the sample as it is stored, rounding included.
PUF_INLINE void sample_axis(const PufSample *pass, Acting *block, int64_t axis, PufFloats normal) {
    const int64_t stride = pass->log_std_shared ? 0 : pass->num_axes;
    PufFloats mean = {0}, log_std = {0};
    for (int l = 0; l < PUF_LANES; l++) {
        mean[l] = pass->mean[block->index[l] * pass->num_axes + axis];
        log_std[l] = pass->log_std[block->index[l] * stride + axis];
    }
    const PufFloats std = puf_exp(log_std);
    const PufFloats drawn = pass->greedy ? mean : mean + std * normal;
    const PufFloats z = (drawn - mean) / std;
    block->logprob += -0.5f * z * z - log_std - PUF_HALF_LOG_2PI;
    block->entropy += log_std + (0.5f + PUF_HALF_LOG_2PI);
    const float low = pass->low[axis], high = pass->high[axis];
    const PufFloats clipped = puf_select(drawn > low, drawn, puf_all(low)); // NaN becomes low
    const PufFloats legal = puf_at_most(clipped, puf_all(high));
    for (int l = 0; l < block->used; l++) {
        pass->axes[block->agent[l] * pass->num_axes + axis] = legal[l];
        pass->pool_axis[block->slot[l] * pass->num_axes + axis] = drawn[l];
    }
}

PUF_INLINE void sample_axes(const PufSample *pass, Acting *block) {
    PufFloats normals[4] = {0};
    for (int64_t x = 0; x < pass->num_axes; x++) {
        if (x % 4 == 0 && !pass->greedy) {
            PufWords words[4] = {0};
            puf_threefry(pass->seed, block->counter, AXIS_BLOCKS + (uint32_t)(x / 4), words);
            puf_normals(words[0], words[1], &normals[0], &normals[1]);
            puf_normals(words[2], words[3], &normals[2], &normals[3]);
        }
        sample_axis(pass, block, x, normals[x % 4]);
    }
}

PUF_INLINE void end_block(const PufSample *pass, const Acting *block) {
    for (int l = 0; l < block->used; l++) {
        const int64_t s = block->slot[l], a = block->agent[l];
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

// `scratch` is (largest head x LANES).
PUF_INLINE void sample_blocks(const PufSample *pass, float *scratch) {
    for (int64_t begin = 0; begin < pass->num_acting; begin += PUF_LANES) {
        Acting block;
        begin_block(pass, begin, &block);
        sample_heads(pass, &block, scratch);
        sample_axes(pass, &block);
        end_block(pass, &block);
    }
}

static int puf_sample(const PufSample *pass, PufFault *fault) {
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
    float *scratch = malloc(sizeof(float) * PUF_LANES * (size_t)largest);
    if (!scratch) return puf_no_memory(fault);
    sample_blocks(pass, scratch);
    free(scratch);
    return 0;
}

#endif
