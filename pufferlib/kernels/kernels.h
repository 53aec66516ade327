// pufferlib/kernels/kernels.h - the native passes: one struct of named arrays and one function each.
//
// Plain C17 over raw memory, no state, one thread. _kernels.pyx has checked every dtype and shape;
// the passes check every index they follow, before they write anything. Each pass is a header,
// compiled once per vector width (kernels_passes.h); `puf_kernels` picks the widest of this CPU.
// reference.py says the same in Python; the definitions stand at the bodies.
//
// Letters in shapes: N agents that act now, A all agents, R rows, H horizon, S = R * H slots,
// B rows of a batch, M slots of a minibatch, K discrete heads, C the sum of their choices,
// X continuous axes. A pointer marked "or NULL" may be; what belongs to heads (axes) is not looked
// at if K (X) is 0.
#ifndef PUF_KERNELS_H
#define PUF_KERNELS_H

#include <stdint.h>

// The first index that does not fit: array[index] is `value`, legal is [begin, end).
typedef struct PufFault {
    const char *array; // NULL: out of memory
    int64_t index, value, begin, end;
} PufFault;

// A matrix of which only the rows are contiguous: row r begins at `at + r * stride` floats.
typedef struct PufMatrix {
    float *at; // NULL: there is none
    int64_t stride;
} PufMatrix;
static inline float *puf_row(PufMatrix rows, int64_t row) { return rows.at + row * rows.stride; }

// The same as a product takes it: float32, or `narrow`, bfloat16 held as 16-bit words.
typedef struct PufOperand {
    void *at;       // NULL: there is none
    int64_t stride; // numbers from row to row
    int narrow;     // boolean
} PufOperand;

typedef struct PufSample {
    int64_t num_acting, num_agents, num_slots; // N, A, S
    int64_t num_heads, num_choices, num_axes;  // K, C, X
    PufMatrix logits;                          // (N x C)
    PufMatrix mean;                            // (N x X)
    PufMatrix log_std;                         // (N x X); of stride 0: one for all
    PufMatrix values;                          // (N x 1)
    const int32_t *sizes;                      // (K)
    const uint8_t *pool_mask;                  // (S x C) 0: never chosen; or NULL
    const float *low, *high;                   // (X)
    const int32_t *agents;                     // (N), or NULL: [first, first + N)
    int64_t first;                             // first of the agents that act
    const int64_t *slot;                       // (A)
    int64_t *bootstrap_slot;                   // (A) in and out
    uint64_t *counts;                          // (A) in and out
    uint64_t seed;                             // key of the random numbers
    int32_t version;                           // of the policy that acts
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
} PufSample;

typedef struct PufAdvantage {
    int64_t num_rows, batch_rows, horizon; // R, B, H
    int in_place;                          // advantage and target are (R x H), not (B x H)
    const int32_t *rows;                   // (B)
    const float *pool_reward;              // (R x H)
    const float *pool_value;               // (R x H)
    const float *pool_next_value;          // (R x H)
    const uint8_t *pool_done;              // (R x H) 0 LIVE, 1 TERMINAL, 2 TRUNCATED
    const uint8_t *pool_segment_start;     // (R x H)
    const float *ratio;                    // (B x H), or NULL: 1
    float gamma, gae_lambda, rho_clip, c_clip;
    float reward_scale, reward_clip; // reward_clip <= 0: not clipped
    float *advantage;                // (B x H) out
    float *target;                   // (B x H) out
} PufAdvantage;

typedef struct PufPPOLoss {
    int64_t num_slots;                        // M
    int64_t num_heads, num_choices, num_axes; // K, C, X
    double count;                             // of slots that means are taken over, M or more
    PufMatrix logits;                         // (M x C)
    PufMatrix mean;                           // (M x X)
    const float *log_std;                     // (M x X), or (X) if log_std_shared
    PufMatrix values;                         // (M x 1)
    const int32_t *sizes;                     // (K)
    const uint8_t *mask;                      // (M x C), or NULL
    const int32_t *action;                    // (M x K)
    const float *axis;                        // (M x X)
    const float *logprob;                     // (M)
    const float *old_value;                   // (M)
    const float *advantage;                   // (M)
    const float *target;                      // (M)
    float adv_mean, adv_scale, clip_coef, vf_coef, vf_clip_coef, ent_coef;
    int log_std_shared;    // boolean
    PufMatrix grad_logits; // (M x C) out
    PufMatrix grad_mean;   // (M x X) out
    float *grad_log_std;   // as log_std, out
    PufMatrix grad_values; // (M x 1) out
    double *metrics;       // (PUF_NUM_METRICS) added to: sums over M / count
} PufPPOLoss;
enum {
    PUF_LOSS,
    PUF_POLICY_LOSS,
    PUF_VALUE_LOSS,
    PUF_ENTROPY,
    PUF_APPROX_KL,     // (r - 1) - log r
    PUF_CLIP_FRACTION, // share of |r - 1| > clip_coef
    PUF_OLD_APPROX_KL, // -log r
    PUF_NUM_METRICS
};

typedef enum { PUF_COPY, PUF_FROM_U8, PUF_FROM_I8, PUF_FROM_I32, PUF_FROM_F32 } PufConvert;

typedef struct PufGather {
    int64_t num_items, num_taken;      // in the pool, in `out`
    int64_t item_elements, item_bytes; // of one item of the pool
    const char *pool;                  // (num_items x item_elements)
    const int32_t *index32;            // (num_taken), or NULL: index64
    const int64_t *index64;            // (num_taken)
    PufConvert convert;                // PUF_COPY: the bytes as they are; else to float32
    int to_bf16;                       // boolean: else to bfloat16
    float scale;                       // of what is converted
    void *out;                         // (num_taken x item_elements)
} PufGather;

// A dense layer, D units wide; kernels_dense.h has the formulas.
typedef enum { PUF_IDENTITY, PUF_RELU, PUF_TANH } PufActivation;

typedef struct PufLinear {
    int64_t num_rows, size; // N, D
    PufActivation activation;
    PufMatrix product; // (N x D) without bias
    const float *bias; // (D)
    PufOperand y;      // (N x D) out; may be the product
} PufLinear;

typedef struct PufLinearBackward {
    int64_t num_rows, size; // N, D
    PufActivation activation;
    PufOperand y;     // (N x D)
    PufMatrix grad;   // (N x D) of y
    PufOperand out;   // (N x D) out, of the product; may be grad
    float *grad_bias; // (D) added to
} PufLinearBackward;

// The recurrent cells, D units wide; kernels_recurrent.h has the formulas.

typedef struct PufLSTM {
    int64_t num_rows, size; // B, D
    PufMatrix gates;        // (B x 4 D) in: products without bias; out: after their functions
    const float *bias;      // (4 D)
    const float *keep;      // (B) of the next step, or NULL: 1
    PufMatrix cell;         // (B x D)
    PufOperand out;         // (B x D) out, hidden state
    PufMatrix next_cell;    // (B x D) out, times keep; may be the cell
    PufOperand next_hidden; // (B x D) out, times keep; or none
} PufLSTM;

typedef struct PufLSTMBackward {
    int64_t num_rows, size; // B, D
    PufMatrix gates;        // (B x 4 D) after their functions
    const float *keep;      // (B) of the next step, or NULL: 1
    PufMatrix cell;         // (B x D)
    PufMatrix grad_out;     // (B x D)
    PufMatrix grad_hidden;  // (B x D) of next_hidden
    PufMatrix grad_cell;    // (B x D) in: of next_cell; out: of cell
    PufOperand grad_gates;  // (B x 4 D) out, of the products
    float *grad_bias;       // (4 D) added to
} PufLSTMBackward;

typedef struct PufMinGRU {
    int64_t num_rows, horizon, size; // B, H, D
    float *gates;                    // (B x H x 2 D) as above
    const float *bias;               // (2 D)
    const float *keep;               // (B x H) of the step itself, or NULL: 1
    PufOperand x;                    // (B * H x D)
    PufMatrix state;                 // (B x D)
    PufMatrix hidden;                // (B * H x D) out
    PufOperand out;                  // (B * H x D) out; may be x
} PufMinGRU;

typedef struct PufMinGRUBackward {
    int64_t num_rows, horizon, size; // B, H, D
    const float *gates;              // (B x H x 2 D) after their functions
    const float *keep;               // (B x H)
    PufMatrix state;                 // (B x D)
    const float *hidden, *grad_out;  // (B x H x D)
    float *grad_state;               // (B x D) in: 0; out
    PufOperand grad_gates;           // (B * H x 2 D) out, of the products; may be the gates
    float *grad_bias;                // (2 D) added to
} PufMinGRUBackward;

// Mean and deviation of rows.
typedef struct PufMoments {
    int64_t num_rows, num_taken, size; // R, m, H
    const float *pool;                 // (R x H)
    const int32_t *index;              // (m)
    double *mean, *deviation;          // out
} PufMoments;

// Rows of numbers that become floats, normal ones if there is a scale.
typedef struct PufToFloat {
    int64_t num_rows, size; // N, D
    const char *from;       // (N x D) of the type that `convert` says
    int64_t stride;         // bytes from row to row
    PufConvert convert;
    const float *mean, *scale; // (D), or NULL: (x - mean) * scale
    PufOperand out;            // (N x D) out
} PufToFloat;

// Between rows as minibatches have them and steps as recurrent layers do: kernels_turn.h.
typedef struct PufTransposeRows {
    int64_t num_rows, num_steps, size; // B, H, D
    const float *from;                 // (B x H x D)
    float *out;                        // (H x B x D)
} PufTransposeRows;

typedef struct PufNotReset {
    int64_t num_rows, num_steps; // B, H
    const uint8_t *reset;        // (B x H) boolean
    float *out;                  // (B x H) or (H x B)
    int steps_first;             // which of both
} PufNotReset;

typedef struct PufMaskState {
    int64_t num_rows, size; // B, D
    PufMatrix state;        // (B x D)
    const float *keep;      // (B)
    PufOperand out;         // (B x D) out
} PufMaskState;

// Where lives and rows begin, before agents act: states of N agents, of S entries.
typedef struct PufInitStates {
    int64_t num_acting, num_agents, num_rows, horizon, size; // N, A, R, H, S
    const int32_t *agents;                                   // (N), or NULL: [first, first + N)
    int64_t first;                                           // of the agents that act
    const uint8_t *life_start;                               // (A) boolean: a life begins
    const int64_t *slot;                                     // (A)
    const float *initial;                                    // (S)
    PufMatrix state;                                         // (N x S) in and out
    float *row_state;                                        // (R x S) out, of rows that begin
} PufInitStates;

typedef struct PufFill {
    int64_t num_rows, size; // B, D
    PufMatrix out;          // (B x D)
    float value;
} PufFill;

// The gradients of several threads made one, and the sum of its squares.
typedef struct PufReduceGrads {
    int64_t num_rows, size; // n, W
    PufMatrix more;         // (n x W) in and out; 0 afterwards
    float *out;             // (W) in and out
    double *squares;        // (1) out
} PufReduceGrads;

// A step of AdamW; kernels_adam.h has the formulas.
typedef struct PufAdam {
    int64_t size;            // W
    float *weights, *grads;  // (W) in and out; gradients are 0 afterwards
    float *mean, *square;    // (W) in and out, moments of the gradient
    float beta1, beta2, eps; //
    float scale;             // what gradients are multiplied by
    float step_size;         // rate / (1 - beta1^t)
    float root_scale;        // 1 / sqrt(1 - beta2^t)
    float keep;              // 1 - rate * decay
} PufAdam;

// Those that return: 0, or -1 with the fault filled in and no output written.
typedef struct PufKernels {
    const char *width; // "AVX-512", "AVX2" or "baseline"
    int (*sample)(const PufSample *args, PufFault *fault);
    int (*advantage)(const PufAdvantage *args, PufFault *fault);
    int (*ppo_loss)(const PufPPOLoss *args, PufFault *fault);
    int (*gather)(const PufGather *args, PufFault *fault);
    int (*moments)(const PufMoments *args, PufFault *fault);
    void (*to_float)(const PufToFloat *args);
    void (*linear)(const PufLinear *args);
    void (*linear_backward)(const PufLinearBackward *args);
    void (*lstm)(const PufLSTM *args);
    void (*lstm_backward)(const PufLSTMBackward *args);
    void (*mingru)(const PufMinGRU *args);
    void (*mingru_backward)(const PufMinGRUBackward *args);
    void (*transpose_rows)(const PufTransposeRows *args);
    void (*not_reset)(const PufNotReset *args);
    void (*mask_state)(const PufMaskState *args);
    int (*init_states)(const PufInitStates *args, PufFault *fault);
    void (*fill)(const PufFill *args);
    void (*reduce_grads)(const PufReduceGrads *args);
    void (*adam)(const PufAdam *args);
} PufKernels;
const PufKernels *puf_kernels(void);

#endif
