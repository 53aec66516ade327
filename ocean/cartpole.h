// cartpole - balance a pole on a cart; the dynamics of Gymnasium's CartPole-v1.
//
// The state is double precision and advances by one Euler step of 0.02 s, with every operation in
// Gymnasium's order. The observation is that state, unscaled, as float. The motion is unstable: a
// rounding difference grows as e^(4 s^-1 t), to 1e-6 after some 300 steps without a reset. Barto,
// Sutton and Anderson 1983; equations from Florian 2007,
// https://coneural.org/florian/papers/05_cart_pole.pdf.

#define PUF_NAME "cartpole"
#define PUF_DOC "Balance a pole on a cart, as in Gymnasium's CartPole-v1."
#define PUF_AGENTS(c) 1
#define PUF_OBS(c) float, 4 // cart: m, m/s; pole from upright: rad, rad/s
#define PUF_ACTIONS(X) X(push, 2, "left, right")
#define PUF_CONFIG(X) X(int32_t, max_steps, 500, 1, 1000000, "steps until an episode is truncated")
#define PUF_LOG(X) X(score, "sum of rewards: 1 per step") X(length, "steps")
#include "pufferenv/env.h"

static const double GRAVITY = 9.8;                     // m/s^2
static const double POLE_MASS = 0.1;                   // kg
static const double TOTAL_MASS = 1.1;                  // kg, cart and pole
static const double HALF_POLE = 0.5;                   // m
static const double PUSH = 10;                         // N
static const double TAU = 0.02;                        // s per step
static const double X_LIMIT = 2.4;                     // m; beyond it the episode ends
static const double THETA_LIMIT = 0.20943951023931953; // rad, 12 degrees; likewise
static const float START = 0.05f;                      // state variables start in [-START, START)

struct Env {
    Log log;
    PufRng rng;
    int32_t max_steps, tick;
    double x, x_dot, theta, theta_dot; // m, m/s, rad, rad/s
};

// Taylor polynomials of degree 9 and 10: for |a| <= THETA_LIMIT the next terms, a^11 / 11! and
// a^12 / 12!, are below 1e-15, and the large first term is added last, so that the result is rounded
// as in libm. A pole beyond the limit has fallen and is not stepped again.
static inline double small_sin(double a) {
    double s = a * a;
    return a + a * (s * (-1.0 / 6 + s * (1.0 / 120 + s * (-1.0 / 5040 + s * (1.0 / 362880)))));
}
static inline double small_cos(double a) {
    double s = a * a;
    return 1 - (s * (1.0 / 2 -
                     s * (1.0 / 24 - s * (1.0 / 720 - s * (1.0 / 40320 - s * (1.0 / 3628800))))));
}

static int env_init(Env *env, const Config *config, uint64_t seed, const char **why) {
    (void)why; // every limit in range is legal
    *env = (Env){.max_steps = config->max_steps, .rng = {seed}};
    return PUF_OK;
}

static void env_reset(Env *env, PufIO *io) {
    (void)io;
    env->tick = 0;
    env->x = puf_uniform(&env->rng, -START, START);
    env->x_dot = puf_uniform(&env->rng, -START, START);
    env->theta = puf_uniform(&env->rng, -START, START);
    env->theta_dot = puf_uniform(&env->rng, -START, START);
}

static void env_observe(const Env *env, PufIO *io) {
    obs_t *obs = puf_obs(io, 0);
    obs[0] = (float)env->x, obs[1] = (float)env->x_dot;
    obs[2] = (float)env->theta, obs[3] = (float)env->theta_dot;
}

static int inside(double value, double limit) { return -limit <= value && value <= limit; }

static void env_step(Env *env, PufIO *io) {
    assert(inside(env->theta, THETA_LIMIT));
    const double sine = small_sin(env->theta), cosine = small_cos(env->theta);
    const double force = puf_action(io, 0)[0] ? PUSH : -PUSH;
    const double swing = POLE_MASS * HALF_POLE * (env->theta_dot * env->theta_dot) * sine;
    const double pull = (force + swing) / TOTAL_MASS;
    const double theta_acc = (GRAVITY * sine - cosine * pull) /
                             (HALF_POLE * (4.0 / 3 - POLE_MASS * (cosine * cosine) / TOTAL_MASS));
    const double x_acc = pull - POLE_MASS * HALF_POLE * theta_acc * cosine / TOTAL_MASS;
    env->x += TAU * env->x_dot;
    env->x_dot += TAU * x_acc;
    env->theta += TAU * env->theta_dot;
    env->theta_dot += TAU * theta_acc;
    env->tick += 1;
    puf_reward(io, 0, 1);

    const int fallen = !inside(env->x, X_LIMIT) || !inside(env->theta, THETA_LIMIT);
    if (!fallen && env->tick < env->max_steps) return;
    env->log = (Log){.score = env->tick, .length = env->tick};
    puf_end(io, fallen ? PUF_TERMINAL : PUF_TRUNCATED);
}

static void env_close(Env *env) { (void)env; } // nothing was allocated
