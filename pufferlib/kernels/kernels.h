// pufferlib/kernels/kernels.h - the native passes: one struct of named arrays and one function each.
//
// Plain C17 over raw memory, no state, one thread. _kernels.pyx has checked every dtype and shape;
// the passes check every index they follow, before they write anything. Each pass is a header,
// compiled once per vector width (kernels_passes.h); `puf_passes` picks the widest of this CPU.
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
typedef struct PufRows {
    float *at; // NULL: there is none
    int64_t stride;
} PufRows;
static inline float *puf_row(PufRows rows, int64_t row) { return rows.at + row * rows.stride; }

// The same as a product takes it: float32, or `narrow`, bfloat16 held as 16-bit words.
typedef struct PufOperand {
    void *at;       // NULL: there is none
    int64_t stride; // numbers from row to row
    int narrow;     // boolean
} PufOperand;

typedef struct PufSample {
    int64_t num_acting, num_agents, num_slots; // N, A, S
    int64_t num_heads, num_choices, num_axes;  // K, C, X
    PufRows logits;                            // (N x C)
    PufRows mean;                              // (N x X)
    PufRows log_std;                           // (N x X); of stride 0: one for all
    PufRows values;                            // (N x 1)
    const int32_t *sizes;                      // (K)
    const uint8_t *masks;                      // (S x C) 0: never chosen; or NULL
    const float *low, *high;                   // (X)
    const int32_t *agents;                     // (N), or NULL: [first, first + N)
    int64_t first;                             // first of the agents that act
    const int64_t *slot;                       // (A)
    int64_t *waiting;                          // (A) in and out
    uint64_t *counts;                          // (A) in and out
    uint64_t seed;                             // key of the random numbers
    int32_t version;                           // of the policy that acts
    int greedy;                                // boolean
    int32_t *actions;                          // (A x K) out
    float *axes;                               // (A x X) out, clipped
    int32_t *pool_action;                      // (S x K) out
    float *pool_axis;                          // (S x X) out, unclipped
    float *pool_logprob;                       // (S) out
    float *pool_value;                         // (S) out
    float *pool_next_value;                    // (S) out, at waiting[a]
    int32_t *pool_version;                     // (S) out
    float *entropy;                            // (N) out, or NULL
} PufSample;

typedef struct PufAdvantage {
    int64_t num_rows, batch_rows, horizon; // R, B, H
    int in_place;                          // advantage and target are (R x H), not (B x H)
    const int32_t *rows;                   // (B)
    const float *reward;                   // (R x H)
    const float *value;                    // (R x H)
    const float *next_value;               // (R x H)
    const uint8_t *done;                   // (R x H) 0 LIVE, 1 TERMINAL, 2 TRUNCATED
    const uint8_t *piece_start;            // (R x H)
    const float *ratio;                    // (B x H), or NULL: 1
    float gamma, gae_lambda, rho_clip, c_clip;
    float reward_scale, reward_clip; // reward_clip <= 0: not clipped
    float *advantage;                // (B x H) out
    float *target;                   // (B x H) out
} PufAdvantage;

typedef struct PufLoss {
    int64_t num_slots;                        // M
    int64_t num_heads, num_choices, num_axes; // K, C, X
    double count;                             // of slots that means are taken over, M or more
    PufRows logits;                           // (M x C)
    PufRows mean;                             // (M x X)
    const float *log_std;                     // (M x X), or (X) if log_std_shared
    PufRows values;                           // (M x 1)
    const int32_t *sizes;                     // (K)
    const uint8_t *masks;                     // (M x C), or NULL
    const int32_t *action;                    // (M x K)
    const float *axis;                        // (M x X)
    const float *logprob;                     // (M)
    const float *old_value;                   // (M)
    const float *advantage;                   // (M)
    const float *target;                      // (M)
    float adv_mean, adv_scale, clip_coef, vf_coef, vf_clip_coef, ent_coef;
    int log_std_shared;  // boolean
    PufRows grad_logits; // (M x C) out
    PufRows grad_mean;   // (M x X) out
    float *grad_log_std; // as log_std, out
    PufRows grad_values; // (M x 1) out
    double *metrics;     // (PUF_NUM_METRICS) added to: sums over M / count
} PufLoss;
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

typedef struct PufDense {
    int64_t num_rows, size; // N, D
    PufActivation activation;
    PufRows product;   // (N x D) without bias
    const float *bias; // (D)
    PufOperand y;      // (N x D) out; may be the product
} PufDense;

typedef struct PufDenseBack {
    int64_t num_rows, size; // N, D
    PufActivation activation;
    PufOperand y;     // (N x D)
    PufRows grad;     // (N x D) of y
    PufOperand out;   // (N x D) out, of the product; may be grad
    float *grad_bias; // (D) added to
} PufDenseBack;

// The recurrent cells, D units wide; kernels_recurrent.h has the formulas.

typedef struct PufLSTM {
    int64_t num_rows, size; // B, D
    PufRows gates;          // (B x 4 D) in: products without bias; out: after their functions
    const float *bias;      // (4 D)
    const float *keep;      // (B) of the next step, or NULL: 1
    PufRows cell;           // (B x D)
    PufOperand out;         // (B x D) out, hidden state
    PufRows next_cell;      // (B x D) out, times keep; may be the cell
    PufOperand next_hidden; // (B x D) out, times keep; or none
} PufLSTM;

typedef struct PufLSTMBack {
    int64_t num_rows, size; // B, D
    PufRows gates;          // (B x 4 D) after their functions
    const float *keep;      // (B) of the next step, or NULL: 1
    PufRows cell;           // (B x D)
    PufRows grad_out;       // (B x D)
    PufRows grad_hidden;    // (B x D) of next_hidden
    PufRows grad_cell;      // (B x D) in: of next_cell; out: of cell
    PufOperand grad_gates;  // (B x 4 D) out, of the products
    float *grad_bias;       // (4 D) added to
} PufLSTMBack;

typedef struct PufMinGRU {
    int64_t num_rows, horizon, size; // B, H, D
    float *gates;                    // (B x H x 2 D) as above
    const float *bias;               // (2 D)
    const float *keep;               // (B x H) of the step itself, or NULL: 1
    PufOperand x;                    // (B * H x D)
    PufRows state;                   // (B x D)
    PufRows hidden;                  // (B * H x D) out
    PufOperand out;                  // (B * H x D) out; may be x
} PufMinGRU;

typedef struct PufMinGRUBack {
    int64_t num_rows, horizon, size; // B, H, D
    const float *gates;              // (B x H x 2 D) after their functions
    const float *keep;               // (B x H)
    PufRows state;                   // (B x D)
    const float *hidden, *grad_out;  // (B x H x D)
    float *grad_state;               // (B x D) in: 0; out
    PufOperand grad_gates;           // (B * H x 2 D) out, of the products; may be the gates
    float *grad_bias;                // (2 D) added to
} PufMinGRUBack;

// Mean and deviation of rows.
typedef struct PufMoments {
    int64_t num_rows, num_taken, size; // R, m, H
    const float *pool;                 // (R x H)
    const int32_t *index;              // (m)
    double *mean, *deviation;          // out
} PufMoments;

// Rows of numbers that become floats, normal ones if there is a scale.
typedef struct PufFloat {
    int64_t num_rows, size; // N, D
    const char *from;       // (N x D) of the type that `convert` says
    int64_t stride;         // bytes from row to row
    PufConvert convert;
    const float *mean, *scale; // (D), or NULL: (x - mean) * scale
    PufOperand out;            // (N x D) out
} PufFloat;

// Between rows as minibatches have them and steps as recurrent layers do: kernels_turn.h.
typedef struct PufTurn {
    int64_t num_rows, num_steps, size; // B, H, D
    const float *from;                 // (B x H x D)
    float *out;                        // (H x B x D)
} PufTurn;

typedef struct PufKeep {
    int64_t num_rows, num_steps; // B, H
    const uint8_t *reset;        // (B x H) boolean
    float *out;                  // (B x H) or (H x B)
    int steps_first;             // which of both
} PufKeep;

typedef struct PufCarry {
    int64_t num_rows, size; // B, D
    PufRows state;          // (B x D)
    const float *keep;      // (B)
    PufOperand out;         // (B x D) out
} PufCarry;

// Where lives and rows begin, before agents act: states of N agents, of S entries.
typedef struct PufBegin {
    int64_t num_acting, num_agents, num_rows, horizon, size; // N, A, R, H, S
    const int32_t *agents;                                   // (N), or NULL: [first, first + N)
    int64_t first;                                           // of the agents that act
    const uint8_t *fresh;                                    // (A) boolean: a life begins
    const int64_t *slot;                                     // (A)
    const float *initial;                                    // (S)
    PufRows state;                                           // (N x S) in and out
    float *row_state;                                        // (R x S) out, of rows that begin
} PufBegin;

typedef struct PufFill {
    int64_t num_rows, size; // B, D
    PufRows out;            // (B x D)
    float value;
} PufFill;

// The gradients of several threads made one, and the sum of its squares.
typedef struct PufJoin {
    int64_t num_rows, size; // n, W
    PufRows more;           // (n x W) in and out; 0 afterwards
    float *out;             // (W) in and out
    double *squares;        // (1) out
} PufJoin;

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
typedef struct PufPasses {
    const char *width; // "AVX-512", "AVX2" or "baseline"
    int (*sample)(const PufSample *pass, PufFault *fault);
    int (*advantage)(const PufAdvantage *pass, PufFault *fault);
    int (*ppo_loss)(const PufLoss *pass, PufFault *fault);
    int (*gather)(const PufGather *pass, PufFault *fault);
    int (*moments)(const PufMoments *pass, PufFault *fault);
    void (*to_float)(const PufFloat *pass);
    void (*dense)(const PufDense *pass);
    void (*dense_back)(const PufDenseBack *pass);
    void (*lstm)(const PufLSTM *pass);
    void (*lstm_back)(const PufLSTMBack *pass);
    void (*mingru)(const PufMinGRU *pass);
    void (*mingru_back)(const PufMinGRUBack *pass);
    void (*turn)(const PufTurn *pass);
    void (*keep)(const PufKeep *pass);
    void (*carry)(const PufCarry *pass);
    int (*begin)(const PufBegin *pass, PufFault *fault);
    void (*fill)(const PufFill *pass);
    void (*join)(const PufJoin *pass);
    void (*adam)(const PufAdam *pass);
} PufPasses;
const PufPasses *puf_passes(void);

#endif
