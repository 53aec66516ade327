// pufferlib/kernels/blas_threads.h - keeps the BLAS of a thread to that thread.
//
// A BLAS shares a product among threads of its own unless each thread that calls it says otherwise.
// Workers that play tapes side by side leave it no core to do so.
#ifndef PUF_BLAS_THREADS_H
#define PUF_BLAS_THREADS_H

static _Thread_local int puf_is_alone;

// What is another address in each thread.
static inline const void *puf_thread(void) { return &puf_is_alone; }

// Have this thread's products done by it alone, from the first call on.
static inline void puf_alone(int (*set_num_threads)(int)) {
    if (!puf_is_alone) set_num_threads(1);
    puf_is_alone = 1;
}

#endif
