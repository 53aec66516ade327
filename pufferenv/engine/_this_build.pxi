# Facts of this build of the engine and this CPU: compiler, flags, instruction sets.

cdef extern from *:
    """
    #ifdef __clang__
    #define PUF_COMPILER "clang " __clang_version__
    #else
    #define PUF_COMPILER "gcc " __VERSION__
    #endif
    #ifndef PUF_FLAGS
    #define PUF_FLAGS "unknown"
    #endif
    #ifdef NDEBUG
    #define PUF_ASSERTS 0
    #else
    #define PUF_ASSERTS 1
    #endif
    """
    const char *PUF_COMPILER
    const char *PUF_FLAGS
    int PUF_ASSERTS

cdef extern from "pufferenv/contract/cpu.h":
    const char *puf_cpu_lacks(const char *needs) noexcept nogil
    int puf_widest_isa() noexcept nogil


def compiled():
    """Return compiler, flags and kind of this build, which a benchmark prints."""
    flags = PUF_FLAGS.decode()
    return {"compiler": PUF_COMPILER.decode(), "flags": flags, "debug": bool(PUF_ASSERTS),
            "native": "=native" in flags}


choose_isa(ISAS[:<int>puf_widest_isa() + 1])  # raises if PUFFER_ISA is not one of these
