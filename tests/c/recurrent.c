// tests/c/recurrent.c - the recurrent kernels for vectors of PUF_LANES floats, on given numbers.
//
//     program ROWS HORIZON SIZE < inputs > outputs
//
// Inputs and outputs are float32 arrays, in the order of the lines below. Each is allocated with
// exactly its size, so that a sanitizer sees an access past its end. main is compiled for the same
// instruction set as the kernels, so check that the CPU has it before starting the program.
#include <stdio.h>

#include "pufferlib/kernels/lstm.h"
#include "pufferlib/kernels/mingru.h"
#include "pufferlib/kernels/state.h"

static float *allocate(int64_t count) { return malloc((size_t)count * sizeof(float)); }
static float *read_array(int64_t count) {
    float *array = allocate(count);
    if (fread(array, sizeof(float), (size_t)count, stdin) != (size_t)count) exit(1);
    return array;
}
static void write_array(float *array, int64_t count) {
    fwrite(array, sizeof(float), (size_t)count, stdout);
    free(array);
}

static void lstm(int64_t rows, int64_t size) {
    const int64_t one = rows * size, four = 4 * one;
    float *gates = read_array(four), *bias = read_array(4 * size), *keep = read_array(rows),
          *cell = read_array(one);
    float *out = allocate(one), *next_cell = allocate(one), *next_hidden = allocate(one);
    const PufLSTM args = {.num_rows = rows,
                          .size = size,
                          .gates = {gates, 4 * size},
                          .bias = bias,
                          .keep = keep,
                          .cell = {cell, size},
                          .out = {out, size, 0},
                          .next_cell = {next_cell, size},
                          .next_hidden = {next_hidden, size, 0}};
    puf_lstm(&args, NULL);
    write_array(gates, four), write_array(out, one), write_array(next_cell, one),
        write_array(next_hidden, one);
    free(bias), free(keep), free(cell);
}

static void lstm_backward(int64_t rows, int64_t size) {
    const int64_t one = rows * size, four = 4 * one;
    float *gates = read_array(four), *keep = read_array(rows), *cell = read_array(one),
          *grad_out = read_array(one);
    float *grad_hidden = read_array(one), *grad_cell = read_array(one),
          *grad_bias = read_array(4 * size);
    float *grad_gates = allocate(four);
    const PufLSTMBackward args = {.num_rows = rows,
                                  .size = size,
                                  .gates = {gates, 4 * size},
                                  .keep = keep,
                                  .cell = {cell, size},
                                  .grad_out = {grad_out, size},
                                  .grad_hidden = {grad_hidden, size},
                                  .grad_cell = {grad_cell, size},
                                  .grad_gates = {grad_gates, 4 * size, 0},
                                  .grad_bias = grad_bias};
    puf_lstm_backward(&args, NULL);
    write_array(grad_cell, one), write_array(grad_gates, four), write_array(grad_bias, 4 * size);
    free(gates), free(keep), free(cell), free(grad_out), free(grad_hidden);
}

static void mingru(int64_t rows, int64_t horizon, int64_t size) {
    const int64_t steps = rows * horizon, all = steps * size;
    float *gates = read_array(2 * all), *bias = read_array(2 * size), *keep = read_array(steps);
    float *x = read_array(all), *state = read_array(rows * size), *hidden = allocate(all),
          *out = allocate(all);
    const PufMinGRU args = {rows, horizon,      size,          gates,          bias,
                            keep, {x, size, 0}, {state, size}, {hidden, size}, {out, size, 0}};
    puf_mingru(&args, NULL);
    write_array(gates, 2 * all), write_array(hidden, all), write_array(out, all);
    free(bias), free(keep), free(x), free(state);
}

static void mingru_backward(int64_t rows, int64_t horizon, int64_t size) {
    const int64_t steps = rows * horizon, all = steps * size;
    float *gates = read_array(2 * all), *keep = read_array(steps), *state = read_array(rows * size);
    float *hidden = read_array(all), *grad_out = read_array(all),
          *grad_state = read_array(rows * size);
    float *grad_bias = read_array(2 * size); // the gradients of the gates take their place
    const PufMinGRUBackward args = {
        rows,          horizon, size,     gates,      keep,
        {state, size}, hidden,  grad_out, grad_state, {gates, 2 * size, 0},
        grad_bias};
    puf_mingru_backward(&args, NULL);
    write_array(grad_state, rows * size), write_array(gates, 2 * all),
        write_array(grad_bias, 2 * size);
    free(keep), free(state), free(hidden), free(grad_out);
}

// The state is read in float32; the result is bfloat16, widened for the output.
static void mask_state(int64_t rows, int64_t size) {
    float *state = read_array(rows * size), *keep = read_array(rows), *wide = allocate(rows * size);
    uint16_t *out = malloc((size_t)(rows * size) * sizeof *out);
    const PufMaskState args = {rows, size, {state, size}, keep, {out, size, 1}};
    puf_mask_state(&args, NULL);
    for (int64_t i = 0; i < rows * size; i++) {
        const uint32_t bits = (uint32_t)out[i] << 16;
        memcpy(wide + i, &bits, sizeof bits);
    }
    write_array(wide, rows * size);
    free(state), free(keep), free(out);
}

int main(int count, char **arguments) {
    if (count != 4) return 1;
    const int64_t rows = atoi(arguments[1]), horizon = atoi(arguments[2]);
    const int64_t size = atoi(arguments[3]);
    lstm(rows, size);
    lstm_backward(rows, size);
    mingru(rows, horizon, size);
    mingru_backward(rows, horizon, size);
    mask_state(rows, size);
    return 0;
}
