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
