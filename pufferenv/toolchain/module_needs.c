// pufferenv/toolchain/module_needs.c - the CPU features that a native module may use.
// Compiled with the flags of the module's other files.
#include "pufferenv/contract/cpu.h"

extern const char puf_module_needs[];
const char puf_module_needs[] = PUF_CPU_NEEDS;
