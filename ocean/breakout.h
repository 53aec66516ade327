// breakout - clear two walls of bricks with a ball and a paddle.
//
// Lengths are in brick widths, x to the right, y down; speeds in brick widths per frame. The ball
// is a point. It moves first along x, then along y, by less than a brick's side each time, so that
// it cannot pass through a brick. Invariants between frames:
//   0 <= x <= WIDTH, 0 <= y <= PADDLE_Y, and the ball is not inside a live brick;
//   |vy| >= 0.6 * speed, so the ball returns to the paddle however few bricks are left;
//   |vx| <= 0.8 * speed < PADDLE_SPEED, so a paddle that follows the ball can return every ball.

#define PUF_NAME "breakout"
#define PUF_DOC "Clear two walls of bricks with a ball and a paddle."
#define PUF_AGENTS(c) 1
#define PUF_OBS(c) float, SCALARS + BRICKS // see env_observe
#define PUF_ACTIONS(X) X(move, 3, "stay, left, right")
#define PUF_CONFIG(X) \
    X(int32_t, frameskip, 4, 1, 16, "frames per step, all with the same action") \
    X(int32_t, max_steps, 10000, 1, 1000000, "steps until an episode is truncated")
#define PUF_LOG(X) \
    X(score, "points for bricks, at most 864") \
    X(length, "steps") X(hits, "balls that the paddle returned") X(lost, "balls that it missed")
#define PUF_VIEW(c) WIDTH + 0.8f, 12
#define PUF_PACE(c) (60.0f / (float)(c)->frameskip) // 60 frames per second
#define PUF_KEYS(X) X(move, 1, "left a", "left") X(move, 2, "right d", "right")
#include "pufferenv/env.h"

enum { ROWS = 6, COLUMNS = 18, BRICKS = ROWS * COLUMNS, SCALARS = 10 };
enum { BALLS = 5, WALLS = 2, FASTER = 4, LEVELS = 4 };  // FASTER: hits until the next speed level
static const int32_t POINTS[ROWS] = {7, 7, 4, 4, 1, 1}; // per brick, by row from the top
static const float SPEED[LEVELS] = {0.15f, 0.18f, 0.21f, 0.24f}; // of the ball
static const float PADDLE_SPEED = 0.3f;
static const float WIDTH = COLUMNS, PADDLE_Y = 9.5f; // of the field; a ball below PADDLE_Y is lost
static const float WALL_Y = 1.5f, BRICK_HEIGHT = 0.5f;
static const float PADDLE_HALF = 2; // half the width of a whole paddle

struct Env {
    Log log;
    PufRng rng;
    int32_t frameskip, max_steps, tick;
    int32_t score, hits;            // in this episode
    int32_t balls, walls;           // left, including those in play
    int32_t bricks_left, ball_hits; // in this wall; hits with this ball
    float paddle, half;             // centre and half width of the paddle
    float x, y, vx, vy;             // the ball
    uint8_t bricks[BRICKS];         // 1 or 0, row by row from the top; bytes, to stay in the cache
};

static int env_init(Env *env, const Config *config, uint64_t seed, const char **why) {
    (void)why; // every combination in range is legal
    *env = (Env){.frameskip = config->frameskip, .max_steps = config->max_steps, .rng = {seed}};
    return PUF_OK;
}

static void build_wall(Env *env) {
    for (int i = 0; i < BRICKS; i++) env->bricks[i] = 1;
    env->bricks_left = BRICKS;
}

// Send the ball up from the paddle. It was hit at `offset` from the centre, -1 to 1, and leaves at
// an angle of 2 atan(offset / 2) from the vertical, 53 degrees at the ends. The formula is rational,
// so that it does not depend on the math library.
static void launch(Env *env, float offset) {
    int32_t level = env->ball_hits / FASTER;
    float speed = SPEED[level < LEVELS ? level : LEVELS - 1];
    float t = offset / 2, scale = speed / (1 + t * t);
    env->vx = scale * (2 * t);
    env->vy = -scale * (1 - t * t);
    if (env->bricks_left == 0) build_wall(env); // only here, as the ball is outside the wall
}

static void serve(Env *env) {
    env->ball_hits = 0;
    env->half = PADDLE_HALF;
    env->x = env->paddle;
    env->y = PADDLE_Y;
    launch(env, puf_uniform(&env->rng, -1, 1));
}

static void env_reset(Env *env, PufIO *io) {
    (void)io;
    env->tick = env->score = env->hits = 0;
    env->balls = BALLS, env->walls = WALLS;
    env->paddle = WIDTH / 2;
    build_wall(env);
    serve(env);
}

// Positions are relative to the centre, in quarters of the field; velocities in units of top speed.
static void env_observe(const Env *env, PufIO *io) {
    obs_t *obs = puf_obs(io, 0);
    obs[0] = (env->paddle - WIDTH / 2) * (4 / WIDTH);
    obs[1] = (env->x - WIDTH / 2) * (4 / WIDTH);
    obs[2] = (env->y - PADDLE_Y / 2) * (4 / PADDLE_Y);
    obs[3] = env->vx * (1 / SPEED[LEVELS - 1]);
    obs[4] = env->vy * (1 / SPEED[LEVELS - 1]);
    obs[5] = (env->x - env->paddle) * (4 / WIDTH); // from the paddle to the ball
    obs[6] = env->half < PADDLE_HALF ? -1 : 1;
    obs[7] = (float)(env->balls - 3) * 0.5f;                // 1 to 5 balls: -1 to 1
    obs[8] = env->walls == WALLS ? -1 : 1;                  // which wall
    obs[9] = (float)env->bricks_left * (2.0f / BRICKS) - 1; // -1 to 1
    for (int i = 0; i < BRICKS; i++) obs[SCALARS + i] = (float)env->bricks[i];
}

// Returns the cell of the wall that the ball is in if its brick is live, else -1.
static inline int brick_at(const Env *env) {
    float depth = (env->y - WALL_Y) * (1 / BRICK_HEIGHT); // in rows; exact, both are powers of two
    if (depth < 0 || depth >= ROWS) return -1;
    int column = env->x < WIDTH ? (int)env->x : COLUMNS - 1;
    int cell = (int)depth * COLUMNS + column;
    return env->bricks[cell] ? cell : -1;
}

static void break_brick(Env *env, int cell) {
    env->bricks[cell] = 0;
    env->bricks_left -= 1;
    env->score += POINTS[cell / COLUMNS];
    if (env->bricks_left == 0) env->walls -= 1;
}

// Reflect the ball at `face`, a coordinate that it has just passed.
static inline void bounce(float *place, float *velocity, float face) {
    *place = 2 * face - *place;
    *velocity = -*velocity;
}

static inline void move_x(Env *env) {
    env->x += env->vx;
    if (env->x < 0) bounce(&env->x, &env->vx, 0);
    else if (env->x > WIDTH) bounce(&env->x, &env->vx, WIDTH);
    int cell = brick_at(env);
    if (cell < 0) return;
    break_brick(env, cell);
    bounce(&env->x, &env->vx, (float)(cell % COLUMNS + (env->vx < 0)));
}

static inline void move_y(Env *env) {
    env->y += env->vy;
    if (env->y < 0) {
        bounce(&env->y, &env->vy, 0);
        env->half = PADDLE_HALF / 2; // until the next serve
    }
    int cell = brick_at(env);
    if (cell < 0) return;
    break_brick(env, cell);
    bounce(&env->y, &env->vy, WALL_Y + BRICK_HEIGHT * (float)(cell / COLUMNS + (env->vy < 0)));
}

static inline void move_paddle(Env *env, int32_t action) {
    const float way = action == 0 ? 0 : action == 1 ? -PADDLE_SPEED : PADDLE_SPEED;
    const float least = env->half, most = WIDTH - env->half;
    const float wanted = env->paddle + way;
    env->paddle = wanted < least ? least : wanted > most ? most : wanted;
}

// The ball is below the paddle's line: it is returned, or lost and the next one is served.
static void meet_paddle(Env *env) {
    const float offset = (env->x - env->paddle) / env->half;
    if (-1 <= offset && offset <= 1) {
        env->y = 2 * PADDLE_Y - env->y;
        env->hits += 1;
        env->ball_hits += 1;
        launch(env, offset);
    } else if (--env->balls > 0) serve(env);
    else env->y = PADDLE_Y;
}

static void env_step(Env *env, PufIO *io) {
    const int32_t action = puf_action(io, 0)[0], before = env->score;
    for (int i = 0; i < env->frameskip && env->balls && env->walls; i++) {
        move_paddle(env, action);
        move_x(env);
        move_y(env);
        if (env->y > PADDLE_Y) meet_paddle(env);
    }
    env->tick += 1;
    puf_reward(io, 0, (float)(env->score - before));

    const int over = !env->balls || !env->walls;
    if (!over && env->tick < env->max_steps) return;
    env->log = (Log){
        .score = env->score, .length = env->tick, .hits = env->hits, .lost = BALLS - env->balls};
    puf_end(io, over ? PUF_TERMINAL : PUF_TRUNCATED);
}

static void env_close(Env *env) { (void)env; } // nothing was allocated

// The field has its top left corner at (0, 0), below a line of text.
static void env_draw(const Env *env, PufCanvas *c) {
    static const uint32_t COLOURS[ROWS] = {PUF_RED,   PUF_ORANGE, PUF_YELLOW,
                                           PUF_GREEN, PUF_CYAN,   PUF_BLUE};
    const float frame = 0.4f, radius = 0.22f, line = -0.75f; // line: the text's
    puf_look(c, -frame, -1.7f, WIDTH + 2 * frame, 12);
    puf_text(c, 1.9f, line, 0.9f, 1, PUF_WHITE, "%d", env->score);
    puf_text(c, 2.1f, line, 0.6f, -1, PUF_GREY, "of 864");
    puf_text(c, WIDTH / 2, line, 0.6f, 0, PUF_GREY, "wall %d of %d", env->walls == WALLS ? 1 : 2,
             WALLS);
    for (int i = 0; i < BALLS; i++)
        puf_disc(c, WIDTH - 0.3f - 0.6f * (float)i, line - 0.2f, 0.2f,
                 i < env->balls ? PUF_YELLOW : PUF_EDGE);

    puf_round(c, -frame, -frame, WIDTH + 2 * frame, 12, frame, PUF_EDGE);
    puf_rect(c, -0.15f, -0.15f, WIDTH + 0.3f, 12, PUF_PANEL);
    for (int i = 0; i < BRICKS; i++) {
        const float x = (float)(i % COLUMNS), y = WALL_Y + BRICK_HEIGHT * (float)(i / COLUMNS);
        if (env->bricks[i])
            puf_round(c, x + 0.04f, y + 0.04f, 0.92f, BRICK_HEIGHT - 0.08f, 0.08f,
                      COLOURS[i / COLUMNS]);
    }

    puf_agent(c, 0);
    puf_key(c, 1);
    puf_round(c, env->paddle - env->half, PADDLE_Y + radius, 2 * env->half, 0.34f, 0.17f,
              env->half < PADDLE_HALF ? PUF_PINK : PUF_WHITE);
    puf_agent(c, -1);
    puf_key(c, 2 + env->balls); // the next ball does not glide from where this one was lost
    for (int i = 8; i > 0; i--) {
        const float frames = 0.4f * (float)i, bright = 0.6f - 0.06f * (float)i;
        float x = env->x - frames * env->vx, y = env->y - frames * env->vy; // where it came from
        if (x < 0) x = -x;
        if (x > WIDTH) x = 2 * WIDTH - x;
        if (y < 0) y = -y;
        if (y > PADDLE_Y) y = 2 * PADDLE_Y - y;
        puf_disc(c, x, y, radius * (1 - 0.07f * (float)i), puf_mix(PUF_PANEL, PUF_YELLOW, bright));
    }
    puf_disc(c, env->x, env->y, radius, PUF_YELLOW);
}
