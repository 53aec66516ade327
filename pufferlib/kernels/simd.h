// pufferlib/kernels/simd.h - vector types, exp, log, tanh and random numbers for the kernels.
//
// A vector is PUF_LANES numbers in one of the compiler's vector types (gcc, clang). Lanes never mix
// and products are not fused into sums (-ffp-contract=off), so that every width gives the same bits.
// Polynomials are weighted minimax fits made for this file.
#ifndef PUF_SIMD_H
#define PUF_SIMD_H

#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

#include "kernels.h"

// All kernels have one signature, and those that cannot fail do not use `fault`.
#pragma GCC diagnostic ignored "-Wunused-parameter"

typedef float PufFloats __attribute__((vector_size(4 * PUF_LANES)));
typedef int32_t PufInts __attribute__((vector_size(4 * PUF_LANES)));
typedef uint32_t PufWords __attribute__((vector_size(4 * PUF_LANES)));
typedef uint16_t PufHalves __attribute__((vector_size(2 * PUF_LANES)));

#define PUF_INLINE static inline __attribute__((always_inline))

// Returns whether array[index], which is `value`, is outside [begin, end); if so fills in the fault.
PUF_INLINE int puf_out_of_range(PufFault *fault, const char *array, int64_t index, int64_t value,
                                int64_t begin, int64_t end) {
    if (begin <= value && value < end) return 0;
    *fault = (PufFault){array, index, value, begin, end};
    return 1;
}
static inline int puf_out_of_memory(PufFault *fault) {
    *fault = (PufFault){.array = NULL};
    return -1;
}

#define PUF_HALF_LOG_2PI 0.918938533f
#define PUF_EXP_MIN -87.3f // exp of a smaller number is 0
#define PUF_EXP_MAX 88.3f  // exp of a larger number is infinite

PUF_INLINE PufFloats puf_splat(float x) { return (PufFloats){0} + x; }
PUF_INLINE PufFloats puf_load(const float *from) {
    PufFloats x;
    memcpy(&x, from, sizeof x);
    return x;
}
PUF_INLINE void puf_store(float *to, PufFloats x) { memcpy(to, &x, sizeof x); }
PUF_INLINE PufWords puf_load_words(const uint32_t *from) {
    PufWords x;
    memcpy(&x, from, sizeof x);
    return x;
}
PUF_INLINE void puf_store_words(uint32_t *to, PufWords x) { memcpy(to, &x, sizeof x); }

// The last vector of a row may be short: lanes from n on are loaded as 0 and not stored.
PUF_INLINE PufFloats puf_load_n(const float *from, int64_t n) {
    if (n >= PUF_LANES) return puf_load(from);
    PufFloats x = {0};
    memcpy(&x, from, (size_t)n * sizeof(float));
    return x;
}
PUF_INLINE void puf_store_n(float *to, PufFloats x, int64_t n) {
    if (n >= PUF_LANES) puf_store(to, x);
    else memcpy(to, &x, (size_t)n * sizeof(float));
}

// bfloat16 is the upper half of a float32. Conversion to it rounds to nearest, ties to even; NaN stays
// NaN.
PUF_INLINE PufFloats puf_from_bf16(PufHalves x) {
    return (PufFloats)(__builtin_convertvector(x, PufWords) << 16);
}
PUF_INLINE PufHalves puf_to_bf16(PufFloats x) {
#if defined(__x86_64__) && PUF_LANES == 16 // gcc's own code takes twice the instructions
    const __m512i bits = _mm512_castps_si512((__m512)x);
    const __m512i odd = _mm512_and_si512(_mm512_srli_epi32(bits, 16), _mm512_set1_epi32(1));
    const __m512i up = _mm512_add_epi32(odd, _mm512_set1_epi32(0x7fff));
    const __m512i nan = _mm512_or_si512(bits, _mm512_set1_epi32(0x00400000));
    const __mmask16 number = _mm512_cmp_ps_mask((__m512)x, (__m512)x, _CMP_ORD_Q);
    const __m512i nearest = _mm512_mask_add_epi32(nan, number, bits, up);
    return (PufHalves)_mm512_cvtepi32_epi16(_mm512_srli_epi32(nearest, 16));
#else
    const PufWords bits = (PufWords)x, number = (PufWords)(x == x);
    const PufWords nearest = bits + 0x7fffu + ((bits >> 16) & 1u);
    const PufWords nan = bits | 0x00400000u; // sets a bit in the upper half: NaN stays NaN
    return __builtin_convertvector(((nearest & number) | (nan & ~number)) >> 16, PufHalves);
#endif
}
PUF_INLINE PufFloats puf_load_n_bf16(const uint16_t *from, int64_t n) {
    PufHalves x = {0};
    if (n >= PUF_LANES) memcpy(&x, from, sizeof x);
    else memcpy(&x, from, (size_t)n * sizeof *from);
    return puf_from_bf16(x);
}
PUF_INLINE void puf_store_n_bf16(uint16_t *to, PufFloats x, int64_t n) {
    const PufHalves y = puf_to_bf16(x);
    if (n >= PUF_LANES) memcpy(to, &y, sizeof y);
    else memcpy(to, &y, (size_t)n * sizeof *to);
}

// Loads or stores elements [d, d + n) of a row. `is_bf16` repeats the operand's field as a
// compile-time constant, so that loops over rows have no branch.
PUF_INLINE PufFloats puf_load_operand(PufOperand m, int64_t row, int64_t d, int64_t n,
                                      int is_bf16) {
    const int64_t at = row * m.stride + d;
    return is_bf16 ? puf_load_n_bf16((const uint16_t *)m.data + at, n)
                   : puf_load_n((const float *)m.data + at, n);
}
PUF_INLINE void puf_store_operand(PufOperand m, int64_t row, int64_t d, PufFloats x, int64_t n,
                                  int is_bf16) {
    const int64_t at = row * m.stride + d;
    if (is_bf16) puf_store_n_bf16((uint16_t *)m.data + at, x, n);
    else puf_store_n((float *)m.data + at, x, n);
}

// Runs `call` with is_bf16 as a constant equal to the operand's field; `call` is compiled for both.
#define PUF_EACH_DTYPE(operand, call) \
    do { \
        if ((operand).is_bf16) { \
            const int is_bf16 = 1; \
            call; \
        } else { \
            const int is_bf16 = 0; \
            call; \
        } \
    } while (0)

// Selects lane by lane: `yes` if the comparison is true (all bits set), otherwise `no`.
PUF_INLINE PufFloats puf_select(PufInts holds, PufFloats yes, PufFloats no) {
    return (PufFloats)(((PufInts)yes & holds) | ((PufInts)no & ~holds));
}
// The larger and the smaller of two numbers, lane by lane; NaN in `x` stays NaN. x86 has one
// instruction for each, but compilers do not generate it from a selection.
#if defined(__x86_64__) && PUF_LANES == 16
#define PUF_X86(name) _mm512_##name##_ps
#elif defined(__x86_64__) && PUF_LANES == 8
#define PUF_X86(name) _mm256_##name##_ps
#elif defined(__x86_64__)
#define PUF_X86(name) _mm_##name##_ps
#endif
#ifdef PUF_X86
PUF_INLINE PufFloats puf_at_least(PufFloats x, PufFloats low) { return PUF_X86(max)(low, x); }
PUF_INLINE PufFloats puf_at_most(PufFloats x, PufFloats high) { return PUF_X86(min)(high, x); }
#else
PUF_INLINE PufFloats puf_at_least(PufFloats x, PufFloats low) {
    return puf_select(x < low, low, x);
}
PUF_INLINE PufFloats puf_at_most(PufFloats x, PufFloats high) {
    return puf_select(x > high, high, x);
}
#endif

PUF_INLINE PufFloats puf_sqrt(PufFloats x) {
    float lanes[PUF_LANES]; // compilers vectorize loops over arrays, not over lanes
    puf_store(lanes, x);
    for (int l = 0; l < PUF_LANES; l++) lanes[l] = sqrtf(lanes[l]);
    return puf_load(lanes);
}

// e**x, relative error < 1e-7; NaN gives NaN.
PUF_INLINE PufFloats puf_exp(PufFloats x) {
    const PufFloats y =
        puf_at_most(puf_at_least(x, puf_splat(PUF_EXP_MIN)), puf_splat(PUF_EXP_MAX));
    const float shift = 12582912.0f; // 1.5 * 2**23: adding it rounds to an integer
    const PufFloats turned = y * 1.44269504f + shift;
    const PufFloats n = turned - shift;
    // ln 2 in two parts, the first with so few bits that its product with n is exact
    const PufFloats r = (y - n * 0.693359375f) + n * 2.12194440e-4f;
    PufFloats q = r * 1.38131448e-3f + 8.36941879e-3f;
    q = q * r + 4.16684560e-2f;
    q = q * r + 1.66665152e-1f;
    q = q * r + 4.99999940e-1f;
    const PufFloats power = (PufFloats)(((PufWords)turned << 23) + 0x3f800000u);
    const PufFloats e = (q * (r * r) + r + 1.0f) * power;
    return puf_select(x < PUF_EXP_MIN, puf_splat(0.0f),
                      puf_select(x > PUF_EXP_MAX, puf_splat(INFINITY), e));
}

// e**x with x clamped to [-20, 20], for sigmoid and tanh: 1 + e**-20 is 1 in float32. Relative error
// < 2e-7 * (1 + |x|); NaN gives NaN.
PUF_INLINE PufFloats puf_exp_clamped(PufFloats x) {
    const float shift = 12582912.0f, most = 20 * 1.44269504f; // as above, in powers of 2
    const PufFloats y =
        puf_at_most(puf_at_least(x * 1.44269504f, puf_splat(-most)), puf_splat(most));
    const PufFloats turned = y + shift;
    const PufFloats f = y - (turned - shift);
    PufFloats q = f * 1.32647273e-3f + 9.67151299e-3f;
    q = q * f + 5.55073358e-2f;
    q = q * f + 2.40222424e-1f;
    q = q * f + 6.93147004e-1f;
    return (PufFloats)((PufWords)(q * f + 1.0f) + ((PufWords)turned << 23));
}

// 1 / (1 + e**-x) and tanh(x), absolute error < 2e-7; NaN gives NaN.
PUF_INLINE PufFloats puf_sigmoid(PufFloats x) { return 1.0f / (1.0f + puf_exp_clamped(-x)); }
PUF_INLINE PufFloats puf_tanh(PufFloats x) {
    const PufFloats e = puf_exp_clamped(-2.0f * x);
    return (1.0f - e) / (1.0f + e);
}

// Replaces x[0..2] by their sigmoids and x[3] by its tanh, with one division for all four; absolute
// error < 4e-7. NaN in one makes all NaN.
PUF_INLINE void puf_gates(PufFloats x[4]) {
    const PufFloats i = 1.0f + puf_exp_clamped(-x[0]), f = 1.0f + puf_exp_clamped(-x[1]);
    const PufFloats o = 1.0f + puf_exp_clamped(-x[2]), e = puf_exp_clamped(-2.0f * x[3]);
    const PufFloats g = 1.0f + e, first = i * f, last = o * g; // at most e**40
    const PufFloats both = 1.0f / (first * last), one = both * last, two = both * first;
    x[0] = one * f, x[1] = one * i, x[2] = two * g, x[3] = (1.0f - e) * (two * o);
}

// Natural logarithm of a positive, normal, finite x, relative error < 1e-7; NaN gives NaN.
PUF_INLINE PufFloats puf_log(PufFloats x) {
    // x = 2**n * (1 + f), 1 + f in [sqrt(1/2), sqrt(2))
    const PufWords from_root = (PufWords)x - 0x3f3504f3u;
    const PufFloats n = __builtin_convertvector((PufInts)from_root >> 23, PufFloats);
    const PufFloats f = (PufFloats)((from_root & 0x007fffffu) + 0x3f3504f3u) - 1.0f;
    PufFloats q = f * 8.70043486e-2f - 1.42674938e-1f;
    q = q * f + 1.49147704e-1f;
    q = q * f - 1.65775836e-1f;
    q = q * f + 1.99630633e-1f;
    q = q * f - 2.50013381e-1f;
    q = q * f + 3.33339095e-1f;
    const PufFloats square = f * f;
    const PufFloats y = (q * f * square - n * 2.12194440e-4f) - 0.5f * square;
    return puf_select(x == x, (f + y) + n * 0.693359375f, x);
}

// Threefry4x32-20 (Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3", section 3.3):
// four words per lane of the counter (count low, count high, agent, number) and the key (seed, 0).
// It uses only 32-bit additions, rotations and exclusive ors, which vectors of any width compute
// fast.
PUF_INLINE void puf_threefry(uint64_t seed, const PufWords counter[3], uint32_t number,
                             PufWords words[4]) {
    static const int ROTATIONS[8][2] = {{10, 26}, {11, 21}, {13, 27}, {23, 5},
                                        {6, 20},  {17, 11}, {25, 10}, {18, 20}};
    const uint32_t low = (uint32_t)seed, high = (uint32_t)(seed >> 32);
    const uint32_t key[5] = {low, high, 0, 0, 0x1bd11bdau ^ low ^ high};
    PufWords w0 = counter[0] + key[0], w1 = counter[1] + key[1];
    PufWords w2 = counter[2] + key[2], w3 = (PufWords){0} + (number + key[3]);
#pragma GCC unroll 20
    for (int round = 0; round < 20; round++) {
        const int rotation0 = ROTATIONS[round % 8][0], rotation1 = ROTATIONS[round % 8][1];
        w0 += w1, w1 = ((w1 << rotation0) | (w1 >> (32 - rotation0))) ^ w0;
        w2 += w3, w3 = ((w3 << rotation1) | (w3 >> (32 - rotation1))) ^ w2;
        const PufWords other = w1; // the next round pairs w0 with w3 and w2 with w1
        w1 = w3, w3 = other;
        if (round % 4 != 3) continue;
        const uint32_t step = (uint32_t)round / 4 + 1;
        w0 += key[step % 5], w1 += key[(step + 1) % 5];
        w2 += key[(step + 2) % 5], w3 += key[(step + 3) % 5] + step;
    }
    words[0] = w0, words[1] = w1, words[2] = w2, words[3] = w3;
}

// One of 2**23 equally spaced midpoints in (0, 1), all exact: never 0, never 1.
PUF_INLINE PufFloats puf_uniform(PufWords word) {
    return (__builtin_convertvector((PufInts)(word >> 9), PufFloats) + 0.5f) * 0x1p-23f;
}

// Two independent standard normals from two words (Box and Muller 1958). The low two bits of the
// second word choose the quadrant, its high 24 the angle in it.
PUF_INLINE void puf_normals(PufWords word0, PufWords word1, PufFloats *first, PufFloats *second) {
    const PufFloats u =
        __builtin_convertvector((PufInts)(word0 >> 1), PufFloats) * 0x1p-31f + 0x1p-32f;
    const PufFloats radius = puf_sqrt(-2.0f * puf_log(u));
    const PufFloats turn = __builtin_convertvector((PufInts)(word1 >> 8), PufFloats) * 0x1p-24f;
    const PufFloats angle = (turn - 0.5f) * 1.57079633f;
    const PufFloats y = angle * angle;
    const PufFloats sine =
        angle + angle * y * ((y * -1.95166547e-4f + 8.33217334e-3f) * y - 1.66666552e-1f);
    const PufFloats cosine =
        1.0f - 0.5f * y + y * y * ((y * 2.44377297e-5f - 1.38873619e-3f) * y + 4.16666456e-2f);
    const PufInts swap = (PufInts)(word1 & 1u) != 0;
    const PufWords sign = (word1 & 2u) << 30;
    *first = radius * (PufFloats)((PufWords)puf_select(swap, -sine, cosine) ^ sign);
    *second = radius * (PufFloats)((PufWords)puf_select(swap, cosine, sine) ^ sign);
}

#endif
