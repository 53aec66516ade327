// pufferenv/toolchain/module_init.c - the init function that Python calls in every extension module.
//
// Compiled for any CPU of the architecture and linked into each module, whose other files may be
// compiled for the CPU that built them. If this CPU lacks a feature of theirs, importing the module
// raises ImportError; without this the process would end with SIGILL.
#include <Python.h>

#include "pufferenv/contract/cpu.h"

extern const char puf_module_needs[]; // module_needs.c
PyMODINIT_FUNC puf_cython_init(void); // PyInit_ as Cython wrote it, renamed
PyMODINIT_FUNC PUF_INIT(void);        // PyInit_ and the name of the module

PyMODINIT_FUNC PUF_INIT(void) {
    const char *lacks = puf_cpu_lacks(puf_module_needs);
    if (!lacks) return puf_cython_init();
    return PyErr_Format(PyExc_ImportError,
                        "%s was built for a CPU with %s, which this CPU lacks: "
                        "run `python build.py` here, or set PUFFER_ISA=baseline and run it",
                        PUF_MODULE, lacks);
}
