// pufferenv/toolchain/module_needs.c - what the tuned files of a module need; compiled as they are.
#include "pufferenv/contract/cpu.h"

extern const char puf_module_needs[];
const char puf_module_needs[] = PUF_CPU_NEEDS;
