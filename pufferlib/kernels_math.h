// pufferlib/kernels_math.h - what the passes share: lanes, run-time dispatch, exp, log, random numbers.
//
// A pass works on blocks of PUF_LANES agents, one per lane. Its inner loops run over all lanes with a
// constant count and no branch, which is what compilers turn into SSE, NEON, AVX2 or AVX-512. Polynomials
// are weighted minimax fits made for this file; the stated errors are measured over the whole range.
#ifndef PUF_KERNELS_MATH_H
#define PUF_KERNELS_MATH_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "kernels.h"

enum { PUF_LANES = 16 };

#if defined(__GNUC__)
#define PUF_INLINE static inline __attribute__((always_inline))
#else
#define PUF_INLINE static inline
#endif

// PUF_WIDE(Pass, body) defines `body_wide(pass)`: `body` compiled for AVX-512, AVX2 and the baseline,
// the widest that this CPU has. `body` and all it calls are PUF_INLINE.
#if defined(__GNUC__) && defined(__x86_64__)
#define PUF_AVX512 __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")))
#define PUF_AVX2 __attribute__((target("avx2,fma")))
#define PUF_WIDE(Pass, body) \
    PUF_AVX512 static void body##_avx512(const Pass *pass) { body(pass); } \
    PUF_AVX2 static void body##_avx2(const Pass *pass) { body(pass); } \
    static void body##_baseline(const Pass *pass) { body(pass); } \
    static void body##_wide(const Pass *pass) { \
        if (__builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") && \
            __builtin_cpu_supports("avx512vl")) \
            body##_avx512(pass); \
        else if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) \
            body##_avx2(pass); \
        else body##_baseline(pass); \
    }
#else
#define PUF_WIDE(Pass, body) \
    static void body##_wide(const Pass *pass) { body(pass); }
#endif

#define PUF_HALF_LOG_2PI 0.918938533f

PUF_INLINE float puf_float_of(uint32_t bits) {
    float x;
    memcpy(&x, &bits, sizeof x);
    return x;
}
PUF_INLINE uint32_t puf_bits_of(float x) {
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    return bits;
}

// Whether `value`, which stands at array[index], is outside [begin, end); fills in the fault if so.
PUF_INLINE int puf_outside(PufFault *fault, const char *array, int64_t index, int64_t value,
                           int64_t begin, int64_t end) {
    if (begin <= value && value < end) return 0;
    *fault = (PufFault){array, index, value, begin, end};
    return 1;
}
static inline int puf_no_memory(PufFault *fault) {
    *fault = (PufFault){.array = NULL};
    return -1;
}

// e**x, relative error < 2e-7; 0 below -87.3, inf above 88.3, NaN of NaN.
PUF_INLINE float puf_exp(float x) {
    const float low = -87.3f, high = 88.3f;
    float y = x < low ? low : x;
    y = y > high ? high : y;
    const float shift = 12582912.0f; // 1.5 * 2**23: adding it rounds to an integer
    const float turned = y * 1.44269504f + shift;
    const float n = turned - shift;
    // ln 2 in two parts, the first with few enough bits that n times it is exact
    const float r = (y - n * 0.693359375f) + n * 2.12194440e-4f;
    float q = 1.38138147e-3f;
    q = q * r + 8.36941879e-3f;
    q = q * r + 4.16684560e-2f;
    q = q * r + 1.66665152e-1f;
    q = q * r + 4.99999940e-1f;
    const float power = puf_float_of((puf_bits_of(turned) << 23) + 0x3f800000u);
    float e = (q * (r * r) + r + 1.0f) * power;
    e = x < low ? 0.0f : e;
    return x > high ? puf_float_of(0x7f800000u) : e;
}

// Natural logarithm of a positive, normal, finite x, relative error < 2e-7; NaN of NaN.
PUF_INLINE float puf_log(float x) {
    // x = 2**n * m, m in [sqrt(1/2), sqrt(2))
    const uint32_t from_root = puf_bits_of(x) - 0x3f3504f3u;
    const float n = (float)((int32_t)from_root >> 23);
    const float f = puf_float_of((from_root & 0x007fffffu) + 0x3f3504f3u) - 1.0f;
    float q = 8.70043486e-2f;
    q = q * f - 1.42674938e-1f;
    q = q * f + 1.49147704e-1f;
    q = q * f - 1.65775836e-1f;
    q = q * f + 1.99630633e-1f;
    q = q * f - 2.50013381e-1f;
    q = q * f + 3.33339095e-1f;
    const float square = f * f;
    const float y = (q * f * square - n * 2.12194440e-4f) - 0.5f * square;
    return x == x ? (f + y) + n * 0.693359375f : x;
}

// Philox4x32-10 (Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3", section 3): four
// words per lane, a function of (seed, agent, count, block) and nothing else.
PUF_INLINE void puf_philox(uint64_t seed, const uint64_t *count, const uint32_t *agent,
                           uint32_t block, uint32_t words[4][PUF_LANES]) {
    uint32_t key0 = (uint32_t)seed, key1 = (uint32_t)(seed >> 32);
    for (int l = 0; l < PUF_LANES; l++) {
        words[0][l] = (uint32_t)count[l], words[1][l] = (uint32_t)(count[l] >> 32);
        words[2][l] = agent[l], words[3][l] = block;
    }
    for (int round = 0; round < 10; round++) {
        for (int l = 0; l < PUF_LANES; l++) {
            const uint64_t a = (uint64_t)0xd2511f53u * words[0][l];
            const uint64_t b = (uint64_t)0xcd9e8d57u * words[2][l];
            words[0][l] = (uint32_t)(b >> 32) ^ words[1][l] ^ key0;
            words[2][l] = (uint32_t)(a >> 32) ^ words[3][l] ^ key1;
            words[1][l] = (uint32_t)b;
            words[3][l] = (uint32_t)a;
        }
        key0 += 0x9e3779b9u, key1 += 0xbb67ae85u;
    }
}

// Blocks of random numbers: heads count theirs from 0, axes from here.
#define PUF_AXIS_BLOCKS 0x80000000u

// One of 2**23 midpoints of (0, 1), all exact: never 0, never 1.
PUF_INLINE float puf_uniform(uint32_t word) {
    return ((float)(int32_t)(word >> 9) + 0.5f) * 0x1p-23f;
}

// Two independent standard normals of two words (Box and Muller 1958). The second word gives the
// quadrant by its low two bits and the angle within it by its high 24.
PUF_INLINE void puf_normals(uint32_t word0, uint32_t word1, float *first, float *second) {
    const float u = (float)(int32_t)(word0 >> 1) * 0x1p-31f + 0x1p-32f;
    const float radius = __builtin_sqrtf(-2.0f * puf_log(u));
    const float angle = ((float)(int32_t)(word1 >> 8) * 0x1p-24f - 0.5f) * 1.57079633f;
    const float y = angle * angle;
    const float sine =
        angle + angle * y * ((-1.95166547e-4f * y + 8.33217334e-3f) * y - 1.66666552e-1f);
    const float cosine =
        1.0f - 0.5f * y + y * y * ((2.44377297e-5f * y - 1.38873619e-3f) * y + 4.16666456e-2f);
    const int swap = word1 & 1, negate = word1 & 2;
    const float x0 = swap ? -sine : cosine, x1 = swap ? cosine : sine;
    *first = radius * (negate ? -x0 : x0);
    *second = radius * (negate ? -x1 : x1);
}

#endif
