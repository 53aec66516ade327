// pufferenv/contract/cpu.h - the CPU features that an object may use, and whether this CPU has them.
//
// An instruction that the CPU lacks ends the process with SIGILL. Therefore an object names what its
// code may use (PUF_CPU_NEEDS), and code compiled for the baseline asks the CPU (puf_cpu_lacks)
// before any of it runs.
#ifndef PUF_CPU_H
#define PUF_CPU_H

#include <string.h>

#if defined(__aarch64__) && defined(__linux__)
#include <asm/hwcap.h>
#include <sys/auxv.h>
#endif

// One row per feature that -march=native or -mcpu=native may switch on: the macro that the compiler
// then defines as 1, the feature's name, and whether this CPU and its OS have it.
#if defined(__x86_64__)
#define PUF_X86_(ROW, macro, name) ROW(macro, name, __builtin_cpu_supports(name))
#define PUF_CPU_FEATURES(ROW) \
    PUF_X86_(ROW, __SSE3__, "sse3") \
    PUF_X86_(ROW, __SSSE3__, "ssse3") \
    PUF_X86_(ROW, __SSE4_1__, "sse4.1") \
    PUF_X86_(ROW, __SSE4_2__, "sse4.2") \
    PUF_X86_(ROW, __SSE4A__, "sse4a") \
    PUF_X86_(ROW, __POPCNT__, "popcnt") \
    PUF_X86_(ROW, __AES__, "aes") \
    PUF_X86_(ROW, __PCLMUL__, "pclmul") \
    PUF_X86_(ROW, __BMI__, "bmi") \
    PUF_X86_(ROW, __BMI2__, "bmi2") \
    PUF_X86_(ROW, __AVX__, "avx") \
    PUF_X86_(ROW, __FMA__, "fma") \
    PUF_X86_(ROW, __FMA4__, "fma4") \
    PUF_X86_(ROW, __XOP__, "xop") \
    PUF_X86_(ROW, __AVX2__, "avx2") \
    PUF_X86_(ROW, __GFNI__, "gfni") \
    PUF_X86_(ROW, __VPCLMULQDQ__, "vpclmulqdq") \
    PUF_X86_(ROW, __AVX512F__, "avx512f") \
    PUF_X86_(ROW, __AVX512CD__, "avx512cd") \
    PUF_X86_(ROW, __AVX512BW__, "avx512bw") \
    PUF_X86_(ROW, __AVX512DQ__, "avx512dq") \
    PUF_X86_(ROW, __AVX512VL__, "avx512vl") \
    PUF_X86_(ROW, __AVX512IFMA__, "avx512ifma") \
    PUF_X86_(ROW, __AVX512VBMI__, "avx512vbmi") \
    PUF_X86_(ROW, __AVX512VBMI2__, "avx512vbmi2") \
    PUF_X86_(ROW, __AVX512VNNI__, "avx512vnni") \
    PUF_X86_(ROW, __AVX512BITALG__, "avx512bitalg") \
    PUF_X86_(ROW, __AVX512VPOPCNTDQ__, "avx512vpopcntdq") \
    PUF_X86_NEWER_(ROW)
#if defined(__clang__) || __GNUC__ < 12 // __builtin_cpu_supports does not know the other names
#define PUF_X86_NEWER_(ROW)
#else
#define PUF_X86_NEWER_(ROW) \
    PUF_X86_(ROW, __LZCNT__, "lzcnt") \
    PUF_X86_(ROW, __MOVBE__, "movbe") \
    PUF_X86_(ROW, __F16C__, "f16c") \
    PUF_X86_(ROW, __AVXVNNI__, "avxvnni") \
    PUF_X86_(ROW, __AVX512BF16__, "avx512bf16") \
    PUF_X86_(ROW, __AVX512FP16__, "avx512fp16")
#endif
#elif defined(__aarch64__) && defined(__linux__)
#define PUF_CPU_FEATURES(ROW) \
    ROW(__ARM_FEATURE_CRC32, "crc32", getauxval(AT_HWCAP) & HWCAP_CRC32) \
    ROW(__ARM_FEATURE_ATOMICS, "lse", getauxval(AT_HWCAP) & HWCAP_ATOMICS) \
    ROW(__ARM_FEATURE_FP16_VECTOR_ARITHMETIC, "fp16", getauxval(AT_HWCAP) & HWCAP_ASIMDHP) \
    ROW(__ARM_FEATURE_DOTPROD, "dotprod", getauxval(AT_HWCAP) & HWCAP_ASIMDDP) \
    ROW(__ARM_FEATURE_SVE, "sve", getauxval(AT_HWCAP) & HWCAP_SVE) \
    ROW(__ARM_FEATURE_SVE2, "sve2", getauxval(AT_HWCAP2) & HWCAP2_SVE2) \
    ROW(__ARM_FEATURE_MATMUL_INT8, "i8mm", getauxval(AT_HWCAP2) & HWCAP2_I8MM) \
    ROW(__ARM_FEATURE_BF16, "bf16", getauxval(AT_HWCAP2) & HWCAP2_BF16)
#else
#define PUF_CPU_FEATURES(ROW)
#endif

// PUF_IS_ONE_(macro) is 1 if the macro is defined as 1, else 0. Pasting makes PUF_ONE_1 only from a
// macro defined as 1; that expands to `0, 1`, so the second argument is 1 and not the default 0.
#define PUF_ONE_1 0, 1
#define PUF_SECOND_(first, second, ...) second
#define PUF_SECOND_OF_(...) PUF_SECOND_(__VA_ARGS__)
#define PUF_PASTE_ONE_(x) PUF_SECOND_OF_(PUF_ONE_##x, 0, 0)
#define PUF_IS_ONE_(x) PUF_PASTE_ONE_(x)

#define PUF_NAME_IF_0(name) ""
#define PUF_NAME_IF_1(name) name " "
#define PUF_NAME_IF_PASTED_(condition, name) PUF_NAME_IF_##condition(name)
#define PUF_NAME_IF_(condition, name) PUF_NAME_IF_PASTED_(condition, name)
#define PUF_CPU_NAME_(macro, name, has) PUF_NAME_IF_(PUF_IS_ONE_(macro), name)

// The features that this translation unit may use, such as " avx avx2 "; " " in a portable one.
#define PUF_CPU_NEEDS " " PUF_CPU_FEATURES(PUF_CPU_NAME_)

// -> the first feature in `needs`, a list such as PUF_CPU_NEEDS, that this CPU lacks, or NULL.
static inline const char *puf_cpu_lacks(const char *needs) {
    (void)needs;
#define PUF_CPU_CHECK_(macro, name, has) \
    if (strstr(needs, " " name " ") && !(has)) return name;
    PUF_CPU_FEATURES(PUF_CPU_CHECK_)
#undef PUF_CPU_CHECK_
    return NULL;
}

// The instruction sets that PUFFER_ISA names, narrowest first. Each includes those before it.
typedef enum { PUF_BASELINE, PUF_AVX2, PUF_AVX512, PUF_NUM_ISAS } PufISA;

static inline PufISA puf_widest_isa(void) {
#if defined(__x86_64__)
    if (!__builtin_cpu_supports("avx2")) return PUF_BASELINE;
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
        __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl"))
        return PUF_AVX512;
    return PUF_AVX2;
#else
    return PUF_BASELINE;
#endif
}

#endif
