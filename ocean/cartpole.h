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
#define PUF_VIEW(c) 5.6f, 3 // m
#define PUF_PACE(c) 25      // half of real time, so that a person can balance it
#define PUF_KEYS(X) X(push, 0, "left a", "left") X(push, 1, "right d", "right")
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

// A line from the axle at (x, y) that leans by `angle`, as long as the pole.
static void draw_pole(PufCanvas *c, float x, float y, double angle, float width, uint32_t colour) {
    const float dx = (float)(2 * HALF_POLE * small_sin(angle));
    const float dy = (float)(2 * HALF_POLE * small_cos(angle));
    puf_line(c, x, y, x + dx, y - dy, width, colour);
}

// The last push is not part of the state, but speeds are: an arrow below the cart, and a shadow of
// the pole where it was 0.1 s ago.
static void env_draw(const Env *env, PufCanvas *c) {
    const float middle = 2.8f, ground = 2.3f, axle = ground - 0.32f;
    const float x = middle + (float)env->x, limit = (float)X_LIMIT, speed = (float)env->x_dot;
    const float lean = (float)(env->theta / THETA_LIMIT), danger = lean < 0 ? -lean : lean;
    puf_text(c, 0.2f, 0.38f, 0.22f, -1, PUF_WHITE, "step %d of %d", env->tick, env->max_steps);
    puf_text(c, 5.4f, 0.38f, 0.17f, 1, PUF_GREY, "leans by %.1f of 12 degrees", 12 * lean);

    puf_rect(c, 0, ground, 5.6f, 0.7f, PUF_PANEL);
    puf_line(c, middle - limit, ground, middle + limit, ground, 0.04f, PUF_GREY);
    for (int side = -1; side <= 1; side += 2) {
        const float post = middle + (float)side * limit;
        puf_line(c, post, ground, post, ground - 0.4f, 0.06f, PUF_RED);
    }
    for (int i = -2; i <= 2; i++)
        puf_text(c, middle + (float)i, ground + 0.55f, 0.16f, 0, PUF_GREY, "%d m", i);

    puf_agent(c, 0);
    puf_key(c, 1);
    const float y = ground + 0.2f, end = x + 0.4f * speed, tip = end + (speed < 0 ? -0.12f : 0.12f);
    puf_line(c, x, y, end, y, 0.06f, PUF_CYAN);
    puf_fill(c, (const float[]){tip, y, end, y - 0.08f, end, y + 0.08f}, 3, PUF_CYAN);
    for (int side = -1; side <= 1; side += 2)
        draw_pole(c, x, axle, side * THETA_LIMIT, 0.02f, PUF_EDGE);
    const double before = env->theta - 0.1 * env->theta_dot;
    draw_pole(c, x, axle, before, 0.1f, puf_mix(PUF_NIGHT, PUF_ORANGE, 0.3f));
    puf_round(c, x - 0.32f, axle - 0.1f, 0.64f, 0.3f, 0.06f, PUF_BLUE);
    puf_disc(c, x - 0.18f, ground - 0.1f, 0.1f, PUF_WHITE);
    puf_disc(c, x + 0.18f, ground - 0.1f, 0.1f, PUF_WHITE);
    draw_pole(c, x, axle, env->theta, 0.1f, puf_mix(PUF_ORANGE, PUF_RED, danger < 1 ? danger : 1));
    puf_disc(c, x, axle, 0.05f, PUF_WHITE);
}
