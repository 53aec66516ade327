// snake - many snakes on one board: eat to grow, do not run into anything.
//
// A snake moves one cell per step: straight on, or after a turn to the left or right. It grows by one
// cell per food (+1) up to CAPACITY. It dies (-1) if its head meets a wall, a body, or another head
// that arrives in the same step; every second cell of its body becomes food. It respawns as a single
// cell `respawn` steps later (0: in the same step), as soon as a place is found. A new snake grows to
// START cells in its first steps, so that no two heads can swap places.
//
// The board has a border of walls as wide as a snake's sight, so that no window leaves the board. A
// cell holds what a snake sees there: EMPTY, FOOD, SOLID (wall or body) or HEAD. Other values occur
// only during a step.

#define PUF_NAME "snake"
#define PUF_DOC "Many snakes on one board: eat to grow, do not run into anything."
#define PUF_AGENTS(c) (c)->snakes
#define PUF_OBS(c) int8_t, WINDOW, WINDOW // the cells around the head, rotated: ahead is up
#define PUF_ACTIONS(X) X(turn, 3, "straight on, left, right")
#define PUF_CONFIG(X) \
    X(int32_t, snakes, 16, 1, 1024, "agents on the board") \
    X(int32_t, size, 32, 8, 256, "side of the board, in cells; at least 16 cells per snake") \
    X(int32_t, food, 32, 1, 4096, "number of food cells that the board is refilled to") \
    X(int32_t, respawn, 10, 0, 10000, "steps from a death until the snake respawns") \
    X(int32_t, max_steps, 512, 1, 1000000, "steps until an episode is truncated")
#define PUF_LOG(X) \
    X(score, "food eaten per life") \
    X(length, "steps") \
    X(food, "food eaten by all snakes") \
    X(deaths, "snakes that died") \
    X(lives, "snakes that entered") \
    X(longest, "cells of the longest snake")
#define PUF_VIEW(c) (float)(c)->size + 3, 1.07f * (float)(c)->size + 3
#define PUF_PACE(c) 8
#define PUF_KEYS(X) X(turn, 1, "left a tap", "left") X(turn, 2, "right d tap", "right")
#include "pufferenv/env.h"

#include <stdlib.h>

enum { EMPTY = 0, FOOD = 2, SOLID = -1, HEAD = -2 }; // of a cell; free: not negative
enum { CLAIMED = 3, CLASH = 4 };                     // during a step: one head arrives; several do
enum { SIGHT = 5, WINDOW = 2 * SIGHT + 1 };          // cells seen in each direction
enum { CAPACITY = 128, START = 3 };                  // cells of the longest snake, and of a new one
enum { AHEAD = 3 };                                  // free cells ahead of a snake that spawns
enum { TRIES = 16 };                                 // random cells tried, per snake and for food

typedef struct Snake {
    int32_t heading;        // 0 up, 1 right, 2 down, 3 left
    int32_t head, target;   // cells: of the head now, and after this step
    int32_t length, grow;   // number of cells, and cells still to grow
    int32_t tail;           // index of the last cell in `body`
    int32_t wait;           // if dead: steps until it may respawn
    int32_t eats;           // whether there is food on `target`
    int32_t body[CAPACITY]; // ring of cells from tail to head
} Snake;

struct Env {
    Log log;
    PufRng rng;
    Config config;
    int32_t side;    // of the board including its border
    int32_t next[4]; // offset from a cell to its neighbour, by heading
    int32_t tick, food;
    Log sums;      // of this episode so far
    Snake *snakes; // (snakes,)
    int8_t *board; // (side, side)
};

static int env_init(Env *env, const Config *config, uint64_t seed, const char **why) {
    const int32_t side = config->size + 2 * SIGHT, cells = config->size * config->size;
    *env = (Env){.config = *config, .rng = {seed}, .side = side, .next = {-side, 1, side, -1}};
    if (config->snakes > cells / 16 || config->food > cells / 2) {
        *why = "size * size must be at least 16 * snakes and 2 * food";
        return PUF_ERR_CONFIG;
    }
    env->snakes = calloc((size_t)config->snakes, sizeof(Snake));
    env->board = malloc((size_t)(side * side));
    return env->snakes && env->board ? PUF_OK : PUF_ERR_MEMORY;
}

static int32_t random_cell(Env *env) {
    const int32_t row = puf_below(&env->rng, env->config.size) + SIGHT;
    return row * env->side + puf_below(&env->rng, env->config.size) + SIGHT;
}

static void refill(Env *env, int tries) {
    while (env->food < env->config.food && tries--) {
        int8_t *cell = &env->board[random_cell(env)];
        if (*cell != EMPTY) continue;
        *cell = FOOD;
        env->food += 1;
    }
}

// Put a snake on a random empty cell with free cells ahead. -> 1, or 0 if none was found.
static int enter(Env *env, Snake *snake) {
    for (int i = 0; i < TRIES; i++) {
        const int32_t cell = random_cell(env), heading = puf_below(&env->rng, 4);
        int is_free = env->board[cell] == EMPTY;
        for (int k = 1; k <= AHEAD && is_free; k++)
            is_free = env->board[cell + k * env->next[heading]] >= EMPTY;
        if (!is_free) continue;
        snake->heading = heading, snake->head = snake->body[0] = cell;
        snake->tail = 0, snake->length = 1, snake->grow = START - 1;
        env->board[cell] = HEAD;
        env->sums.lives += 1;
        return 1;
    }
    return 0;
}

static void env_reset(Env *env, PufIO *io) {
    const int32_t side = env->side, size = env->config.size;
    env->tick = env->food = 0;
    env->sums = (Log){.longest = 1};
    memset(env->board, SOLID, (size_t)(side * side));
    for (int32_t row = SIGHT; row < SIGHT + size; row++)
        memset(env->board + row * side + SIGHT, EMPTY, (size_t)size);
    for (int a = 0; a < io->num_agents; a++) {
        env->snakes[a].wait = 0;
        if (!enter(env, &env->snakes[a])) puf_absent(io, a);
    }
    refill(env, TRIES * env->config.food);
}

static void env_observe(const Env *env, PufIO *io) {
    for (int a = 0; a < io->num_agents; a++) {
        if (!io->alive[a]) continue;
        const Snake *snake = &env->snakes[a];
        const int32_t up = env->next[snake->heading], right = env->next[(snake->heading + 1) % 4];
        const int8_t *corner = env->board + snake->head + SIGHT * (up - right);
        obs_t *obs = puf_obs(io, a);
        for (int row = 0; row < WINDOW; row++, corner -= up)
            for (int column = 0; column < WINDOW; column++) *obs++ = corner[column * right];
    }
}

// Turn, look at the cell ahead, and move the tail unless the snake grows.
static void set_out(Env *env, Snake *snake, int32_t turn) {
    snake->heading = (snake->heading + (turn == 0 ? 0 : turn == 1 ? 3 : 1)) % 4;
    snake->target = snake->head + env->next[snake->heading];
    snake->eats = env->board[snake->target] == FOOD;
    snake->grow += snake->eats && snake->length + snake->grow < CAPACITY;
    if (snake->grow > 0) {
        snake->grow -= 1;
        return;
    }
    env->board[snake->body[snake->tail]] = EMPTY;
    snake->tail = (snake->tail + 1) % CAPACITY;
    snake->length -= 1;
}

// Mark the cell that the head moves to: SOLID stays, a free cell becomes CLAIMED, then CLASH.
static void claim(Env *env, const Snake *snake) {
    int8_t *cell = &env->board[snake->target];
    if (*cell < EMPTY) return;
    env->food -= *cell == FOOD;
    *cell = *cell < CLAIMED ? CLAIMED : CLASH;
}

static void arrive(Env *env, PufIO *io, int a) {
    Snake *snake = &env->snakes[a];
    env->board[snake->head] = SOLID;
    env->board[snake->target] = HEAD;
    snake->head = snake->target;
    snake->body[(snake->tail + snake->length) % CAPACITY] = snake->head;
    snake->length += 1;
    if (snake->length > (int32_t)env->sums.longest) env->sums.longest = snake->length;
    if (!snake->eats) return;
    env->sums.food += 1;
    puf_reward(io, a, 1);
}

// Every second cell of a dead snake, from the tail on, becomes food.
static void decay(Env *env, Snake *snake) {
    for (int32_t k = 0; k < snake->length; k++) {
        env->board[snake->body[(snake->tail + k) % CAPACITY]] = k % 2 ? FOOD : EMPTY;
        env->food += k % 2;
    }
    if (env->board[snake->target] == CLASH) env->board[snake->target] = EMPTY;
    snake->wait = env->config.respawn;
    env->sums.deaths += 1;
}

static void env_step(Env *env, PufIO *io) {
    const int n = io->num_agents;
    Snake *snakes = env->snakes;
    for (int a = 0; a < n; a++)
        if (io->alive[a]) set_out(env, &snakes[a], puf_action(io, a)[0]);
    for (int a = 0; a < n; a++)
        if (io->alive[a]) claim(env, &snakes[a]);
    for (int a = 0; a < n; a++) { // a snake that alone claims a cell arrives; the others die
        if (!io->alive[a]) continue;
        if (env->board[snakes[a].target] == CLAIMED) arrive(env, io, a);
        else puf_reward(io, a, -1), puf_die(io, a);
    }
    for (int a = 0; a < n; a++)
        if (io->dones[a] == PUF_TERMINAL) decay(env, &snakes[a]);
    for (int a = 0; a < n; a++) {
        if (io->alive[a] || snakes[a].wait-- > 0) continue;
        snakes[a].wait = 0; // if no place is found, the next step tries again
        if (enter(env, &snakes[a])) puf_spawn(io, a);
    }
    refill(env, TRIES);
    env->tick += 1;
    if (env->tick < env->config.max_steps) return;
    env->log = env->sums;
    env->log.length = env->tick;
    env->log.score = env->sums.lives > 0 ? env->sums.food / env->sums.lives : 0;
    puf_end(io, PUF_TRUNCATED);
}

static void env_close(Env *env) { free(env->snakes), free(env->board); }

// Write the middle of a cell as `from` sees it: its head is in the cell at (0, 0), and ahead is up.
// Without `from`, the board's first cell is at (0, 0). -> whether `from` sees the cell.
static int place(const Env *env, const Snake *from, int32_t cell, float *xy) {
    const int32_t middle = from ? from->head : SIGHT * env->side + SIGHT;
    const int32_t x = cell % env->side - middle % env->side;
    const int32_t y = cell / env->side - middle / env->side;
    const int32_t turned[4][2] = {{x, y}, {y, -x}, {-x, -y}, {-y, x}};
    const int32_t *at = turned[from ? from->heading : 0];
    xy[0] = (float)at[0] + 0.5f, xy[1] = (float)at[1] + 0.5f;
    return !from || (abs(x) <= SIGHT && abs(y) <= SIGHT);
}

static void draw_food(const Env *env, const Snake *from, PufCanvas *c) {
    const int8_t *at = env->board, *const end = at + env->side * env->side;
    for (; (at = memchr(at, FOOD, (size_t)(end - at))); at++) {
        float xy[2];
        if (!place(env, from, (int32_t)(at - env->board), xy)) continue;
        puf_key(c, -1 - (int32_t)(at - env->board)); // in a snake's view, food moves
        puf_disc(c, xy[0], xy[1], 0.42f, puf_mix(PUF_NIGHT, PUF_RED, 0.25f));
        puf_disc(c, xy[0], xy[1], 0.27f, PUF_RED);
    }
}

static void draw_snake(const Env *env, const Snake *from, int a, PufCanvas *c) {
    const Snake *snake = &env->snakes[a];
    const int32_t newest = snake->tail + snake->length - 1; // index of the head, not yet wrapped
    float xy[2 * CAPACITY];                                 // head first: bodies grow at the end
    int seen = 0;
    for (int32_t k = 0; k < snake->length; k++)
        seen |= place(env, from, snake->body[(newest - k) % CAPACITY], xy + 2 * k);
    if (!seen) return;
    // The index of the head grows by 1 per step, so this is one number for all of a life.
    const int32_t life = (env->tick - newest) & (CAPACITY - 1);
    puf_agent(c, a), puf_key(c, 1 + CAPACITY * a + life);
    puf_path(c, xy, snake->length, 0.72f, puf_mix(puf_hue(a), PUF_NIGHT, 0.3f));
    puf_disc(c, xy[0], xy[1], 0.46f, puf_hue(a));
    static const float AHEAD_X[4] = {0, 1, 0, -1}, AHEAD_Y[4] = {-1, 0, 1, 0};
    const int32_t heading = (snake->heading - (from ? from->heading : 0)) & 3;
    const float dx = AHEAD_X[heading], dy = AHEAD_Y[heading];
    for (int side = -1; side <= 1; side += 2) { // eyes
        const float x = xy[0] + 0.16f * dx - 0.22f * (float)side * dy;
        const float y = xy[1] + 0.16f * dy + 0.22f * (float)side * dx;
        puf_disc(c, x, y, 0.15f, PUF_WHITE);
        puf_disc(c, x + 0.06f * dx, y + 0.06f * dy, 0.08f, PUF_NIGHT);
    }
}

static void env_draw(const Env *env, PufCanvas *c) {
    const int32_t size = env->config.size, low = SIGHT - 1, high = SIGHT + size; // walls
    const Snake *from = c->agent >= 0 && c->alive[c->agent] ? &env->snakes[c->agent] : NULL;
    const float text = 0.035f * (float)size;
    if (from) puf_look(c, -SIGHT, -SIGHT, WINDOW, WINDOW);
    else puf_look(c, -1.5f, -1.5f - 2 * text, (float)size + 3, (float)size + 3 + 2 * text);

    const int32_t corners[5][2] = {{low, low}, {low, high}, {high, high}, {high, low}, {low, low}};
    float wall[10];
    for (int i = 0; i < 5; i++)
        place(env, from, corners[i][0] * env->side + corners[i][1], wall + 2 * i);
    puf_key(c, -1);
    puf_path(c, wall, 5, 1, PUF_EDGE);
    draw_food(env, from, c);
    int32_t longest = 0;
    for (int a = 0; a < env->config.snakes; a++) {
        if (!c->alive[a]) continue;
        draw_snake(env, from, a, c);
        if (env->snakes[a].length > longest) longest = env->snakes[a].length;
    }
    puf_key(c, 0), puf_agent(c, -1);
    if (from) return;
    puf_text(c, 0, -1.3f - 0.6f * text, 1.4f * text, -1, PUF_WHITE, "%d eaten",
             (int)env->sums.food);
    puf_text(c, (float)size, -1.3f - 0.6f * text, text, 1, PUF_GREY, "longest %d   step %d of %d",
             longest, env->tick, env->config.max_steps);
}
