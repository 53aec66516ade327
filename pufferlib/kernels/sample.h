// pufferlib/kernels/sample.h - samples actions and writes them for the game and into the pool.
//
// Discrete heads invert the cumulative distribution with one uniform number each; a continuous axis
// is a Gaussian. Random numbers are a function of (seed, agent, steps of that agent), so a draw does
// not depend on the other agents, on their order, or on the machine.
#ifndef PUF_SAMPLE_H
#define PUF_SAMPLE_H

#include "kernels.h"

// The arguments that change between steps.
typedef struct PufSampleParams {
    int64_t num_acting; // N, at most max_acting
    int32_t version;    // of the policy that acts
} PufSampleParams;

typedef struct PufSample {
    int64_t max_acting, num_agents, num_slots; // upper bound of N, A, S
    int64_t num_heads, num_choices, num_axes;  // K, C, X
    PufMatrix logits;                          // (N x C)
    PufMatrix mean;                            // (N x X)
    PufMatrix log_std;                         // (N x X); stride 0: one row for all agents
    PufMatrix values;                          // (N x 1)
    const int32_t *sizes;                      // (K)
    const uint8_t *pool_mask;                  // (S x C) 0: never chosen; or NULL
    const float *low, *high;                   // (X)
    const int32_t *agents;                     // (N), or NULL: [first, first + N)
    int64_t first;                             // of the agents that act, if `agents` is NULL
    const int64_t *slot;                       // (A)
    int64_t *bootstrap_slot;                   // (A) in and out; -1 afterwards
    uint64_t *counts;                          // (A) in and out: steps of each agent, + 1
    uint64_t seed;                             // key of the random numbers
    int greedy;                                // boolean
    int32_t *action;                           // (A x K) out
    float *axis;                               // (A x X) out, clipped
    int32_t *pool_action;                      // (S x K) out
    float *pool_axis;                          // (S x X) out, unclipped
    float *pool_logprob;                       // (S) out
    float *pool_value;                         // (S) out
    float *pool_next_value;                    // (S) out, at bootstrap_slot[a]
    int32_t *pool_version;                     // (S) out
    float *entropy;                            // (N) out, or NULL
    const PufSampleParams *params;
} PufSample;

#ifdef PUF_LANES // the kernel, for one vector width; the bindings need only the arguments
#include "simd.h"

enum { BLOCK = 64 }; // agents that are gathered, sampled and written back together
_Static_assert(BLOCK % PUF_LANES == 0, "a block is whole vectors");

// A block of agents that act, with one array per quantity, so that vectors can load it. Entries
// from `used` on hold values of an earlier block: vectors compute with them, but the results are
// not stored.
typedef struct Acting {
    int used;
    int64_t begin; // index of the first among the N
    int64_t agent[BLOCK], slot[BLOCK];
    uint32_t counter[3][BLOCK]; // low and high half of the agent's steps, and the agent
    uint32_t words[4][BLOCK];   // random words for four heads, or normal floats for four axes
    float logprob[BLOCK], entropy[BLOCK];
    int32_t choice[BLOCK];            // of the current head
    float drawn[BLOCK], legal[BLOCK]; // on the current axis: unclipped, clipped
    float *x, *sums;                  // (largest head x BLOCK) logits, and running sums of exp
} Acting;

PUF_INLINE int64_t agent_of(const PufSample *args, int64_t i) {
    return args->agents ? args->agents[i] : args->first + i;
}

PUF_INLINE void begin_block(const PufSample *args, int64_t begin, int64_t left, Acting *block) {
    const int64_t *restrict slot = args->slot;
    const uint64_t *restrict counts = args->counts;
    block->used = left < BLOCK ? (int)left : BLOCK;
    block->begin = begin;
    for (int i = 0; i < block->used; i++) {
        const int64_t a = agent_of(args, begin + i);
        block->agent[i] = a;
        block->slot[i] = slot[a];
        block->counter[0][i] = (uint32_t)counts[a];
        block->counter[1][i] = (uint32_t)(counts[a] >> 32);
        block->counter[2][i] = (uint32_t)a;
    }
    memset(block->logprob, 0, sizeof block->logprob);
    memset(block->entropy, 0, sizeof block->entropy);
}

// Prefetches the cache lines that the lanes from `at` on will write. The slots of one step are a
// row apart, so each would be a cache miss.
PUF_INLINE void prefetch(const PufSample *args, const Acting *block, int at) {
    for (int i = at; i < at + PUF_LANES && i < block->used; i++) {
        const int64_t slot = block->slot[i];
        __builtin_prefetch(args->pool_logprob + slot, 1);
        __builtin_prefetch(args->pool_value + slot, 1);
        __builtin_prefetch(args->pool_version + slot, 1);
        if (args->num_heads) __builtin_prefetch(args->pool_action + slot * args->num_heads, 1);
        if (args->num_axes) __builtin_prefetch(args->pool_axis + slot * args->num_axes, 1);
    }
}

PUF_INLINE void add(float *to, PufFloats x) { puf_store(to, puf_load(to) + x); }

// Draws random words for the lanes from `at` on. `number` is head / 4, or AXIS_WORDS + axis / 4.
#define AXIS_WORDS 0x80000000u
PUF_INLINE void draw(const PufSample *args, const Acting *block, int at, uint32_t number,
                     PufWords words[4]) {
    PufWords counter[3];
    for (int k = 0; k < 3; k++) counter[k] = puf_load_words(block->counter[k] + at);
    puf_threefry(args->seed, counter, number, words);
}

// Returns the lowest legal choice, 0 if there is none.
PUF_INLINE int32_t lowest_legal(const uint8_t *mask, int32_t n) {
    for (int32_t j = 0; mask && j < n; j++)
        if (mask[j]) return j;
    return 0;
}

// Copies a head's logits into vectors; a masked choice gets -inf.
PUF_INLINE void stage_logits(const PufSample *args, const Acting *block, int64_t offset,
                             int32_t n) {
    const int64_t stride = args->logits.stride;
    const float *restrict logits = puf_row(args->logits, block->begin) + offset;
    float *restrict x = block->x;
    for (int32_t j = 0; j < n; j++)
        for (int i = 0; i < block->used; i++) x[j * BLOCK + i] = logits[i * stride + j];
    if (!args->pool_mask) return;
    for (int i = 0; i < block->used; i++) {
        const uint8_t *mask = args->pool_mask + block->slot[i] * args->num_choices + offset;
        for (int32_t j = 0; j < n; j++)
            if (!mask[j]) x[j * BLOCK + i] = -INFINITY;
    }
}

// Returns the choice that `word` draws from a head of n choices; adds to log-probability and entropy.
// Logits that are NaN, +inf or all -inf give NaN for both, and -1 as the choice.
PUF_INLINE PufInts choose(const PufSample *args, Acting *block, int at, int32_t n, PufWords word) {
    const float *x = block->x + at;
    float *sums = block->sums + at;
    PufFloats max = puf_splat(-INFINITY), total = puf_splat(0.0f), weighted = total;
    // The likeliest choice; among equals the lowest.
    PufInts choice = {0};
    for (int32_t j = 0; j < n; j++) {
        const PufFloats logit = puf_load(x + j * BLOCK);
        const PufInts above = logit > max;
        choice = (choice & ~above) | (above & j);
        max = puf_select(above, logit, max);
    }
    // total = sum of e^z, weighted = sum of z e^z: the entropy is log(total) - weighted / total.
    for (int32_t j = 0; j < n; j++) {
        const PufFloats z = puf_load(x + j * BLOCK) - max;
        const PufFloats e = puf_exp(z);
        total += e;
        weighted += e * puf_at_least(z, puf_splat(PUF_EXP_MIN));
        puf_store(sums + j * BLOCK, total);
    }
    PufFloats chosen = max; // its logit
    if (!args->greedy) {
        // Take the first choice whose running sum exceeds u * total. It exists, because u < 1, and
        // it never has probability 0, because such a choice leaves the running sum unchanged. A
        // comparison of vectors gives -1 for true, so `choice -= passed` counts.
        const PufFloats threshold = puf_uniform(word) * total;
        choice = (PufInts){0};
        chosen = puf_load(x);
        for (int32_t j = 1; j < n; j++) {
            const PufInts passed = ~(puf_load(sums + (j - 1) * BLOCK) > threshold);
            choice -= passed;
            chosen = puf_select(passed, puf_load(x + j * BLOCK), chosen);
        }
    }
    const PufFloats log_total = puf_log(total);
    choice |= total != total;
    add(block->logprob + at, (chosen - max) - log_total);
    add(block->entropy + at, log_total - weighted / total);
    return choice;
}

// Samples one head of a block. Four heads share the random words of one Threefry block.
PUF_INLINE void sample_head(const PufSample *args, Acting *block, int64_t head, int64_t offset) {
    const int32_t n = args->sizes[head];
    stage_logits(args, block, offset, n);
    for (int at = 0; at < block->used; at += PUF_LANES) {
        if (head == 0) prefetch(args, block, at);
        if (head % 4 == 0 && !args->greedy) {
            PufWords words[4];
            draw(args, block, at, (uint32_t)(head / 4), words);
            for (int k = 0; k < 4; k++) puf_store_words(block->words[k] + at, words[k]);
        }
        const PufWords word = puf_load_words(block->words[head % 4] + at);
        const PufInts choice = choose(args, block, at, n, word);
        memcpy(block->choice + at, &choice, sizeof choice);
    }
    for (int i = 0; i < block->used; i++) {
        if (block->choice[i] < 0) {
            const int64_t mask = block->slot[i] * args->num_choices + offset;
            block->choice[i] = lowest_legal(args->pool_mask ? args->pool_mask + mask : NULL, n);
        }
        args->action[block->agent[i] * args->num_heads + head] = block->choice[i];
    }
    for (int i = 0; i < block->used; i++)
        args->pool_action[block->slot[i] * args->num_heads + head] = block->choice[i];
}

PUF_INLINE void stage_axis(const PufSample *args, Acting *block, int64_t axis) {
    for (int i = 0; i < block->used; i++) {
        block->x[i] = puf_row(args->mean, block->begin + i)[axis];
        block->x[BLOCK + i] = puf_row(args->log_std, block->begin + i)[axis];
    }
}

// Draws mean + std * normal. The log-probability is computed from the sample as stored, after
// rounding.
PUF_INLINE void draw_axis(const PufSample *args, Acting *block, int at, int64_t axis) {
    const PufFloats mean = puf_load(block->x + at), log_std = puf_load(block->x + BLOCK + at);
    const PufFloats normal = (PufFloats)puf_load_words(block->words[axis % 4] + at);
    const PufFloats std = puf_exp(log_std);
    const PufFloats drawn = args->greedy ? mean : mean + std * normal;
    const PufFloats z = (drawn - mean) / std;
    add(block->logprob + at, -0.5f * z * z - log_std - PUF_HALF_LOG_2PI);
    add(block->entropy + at, log_std + (0.5f + PUF_HALF_LOG_2PI));
    const float low = args->low[axis], high = args->high[axis];
    const PufFloats clipped = puf_select(drawn > low, drawn, puf_splat(low)); // NaN becomes low
    puf_store(block->drawn + at, drawn);
    puf_store(block->legal + at, puf_at_most(clipped, puf_splat(high)));
}

// Samples one axis of a block. Four axes share the random words of one Threefry block.
PUF_INLINE void sample_axis(const PufSample *args, Acting *block, int64_t axis) {
    stage_axis(args, block, axis);
    for (int at = 0; at < block->used; at += PUF_LANES) {
        if (axis == 0) prefetch(args, block, at);
        if (axis % 4 == 0 && !args->greedy) {
            PufWords words[4];
            PufFloats normals[4];
            draw(args, block, at, AXIS_WORDS + (uint32_t)(axis / 4), words);
            puf_normals(words[0], words[1], &normals[0], &normals[1]);
            puf_normals(words[2], words[3], &normals[2], &normals[3]);
            for (int k = 0; k < 4; k++) puf_store_words(block->words[k] + at, (PufWords)normals[k]);
        }
        draw_axis(args, block, at, axis);
    }
    for (int i = 0; i < block->used; i++) {
        args->axis[block->agent[i] * args->num_axes + axis] = block->legal[i];
        args->pool_axis[block->slot[i] * args->num_axes + axis] = block->drawn[i];
    }
}

// Writes the columns that do not depend on heads or axes. The value is also the next_value of the
// agent's previous slot, if that is at bootstrap_slot.
PUF_INLINE void end_block(const PufSample *args, const Acting *block) {
    const float *values = puf_row(args->values, block->begin);
    const int64_t stride = args->values.stride;
    const int used = block->used;
    const int32_t version = args->params->version;
    for (int i = 0; i < used; i++) args->pool_logprob[block->slot[i]] = block->logprob[i];
    for (int i = 0; i < used; i++) args->pool_value[block->slot[i]] = values[i * stride];
    for (int i = 0; i < used; i++) args->pool_version[block->slot[i]] = version;
    for (int i = 0; i < used; i++) {
        const int64_t a = block->agent[i];
        args->counts[a]++;
        if (args->bootstrap_slot[a] < 0) continue;
        args->pool_next_value[args->bootstrap_slot[a]] = values[i * stride];
        args->bootstrap_slot[a] = -1;
    }
    if (args->entropy)
        memcpy(args->entropy + block->begin, block->entropy, (size_t)used * sizeof(float));
}

static int puf_sample(const PufSample *args, PufFault *fault) {
    const int64_t num_acting = args->params->num_acting;
    if (puf_out_of_range(fault, "params.num_acting", -1, num_acting, 0, args->max_acting + 1))
        return -1;
    for (int64_t i = 0; i < num_acting; i++) {
        const int64_t a = agent_of(args, i);
        if (puf_out_of_range(fault, "agents", i, a, 0, args->num_agents) ||
            puf_out_of_range(fault, "slot", a, args->slot[a], 0, args->num_slots) ||
            puf_out_of_range(fault, "bootstrap_slot", a, args->bootstrap_slot[a], -1,
                             args->num_slots))
            return -1;
    }
    // Room for the logits of the largest head, or for the mean and log_std of an axis.
    int32_t largest = 1;
    for (int64_t k = 0; k < args->num_heads; k++)
        largest = args->sizes[k] > largest ? args->sizes[k] : largest;
    float *scratch = calloc((size_t)largest * 2 * BLOCK, sizeof(float));
    if (!scratch) return puf_out_of_memory(fault);
    Acting block = {.x = scratch, .sums = scratch + (size_t)largest * BLOCK};
    for (int64_t begin = 0; begin < num_acting; begin += BLOCK) {
        begin_block(args, begin, num_acting - begin, &block);
        int64_t offset = 0;
        for (int64_t k = 0; k < args->num_heads; offset += args->sizes[k++])
            sample_head(args, &block, k, offset);
        for (int64_t x = 0; x < args->num_axes; x++) sample_axis(args, &block, x);
        end_block(args, &block);
    }
    free(scratch);
    return 0;
}

#endif
#endif
