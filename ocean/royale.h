// royale - the last survivor wins: fight, loot, and stay inside a shrinking zone.
//
// Players are points in a square arena; health is 0 to 1. A step does the following for all players:
//   1. Attacks aim at the nearest player in sight. Melee hits within MELEE_RANGE. A shot costs ammo
//      and hits within SHOT_RANGE; the closer the target, the more likely the hit. After an attack
//      a player pauses. A hit that leaves no health is a kill. If several players aim at one, the
//      lowest index hits first.
//   2. Players move. They pick up health or ammo within reach.
//   3. Players outside the zone lose ZONE_DAMAGE.
//   4. Players without health die and do not return. A dead player's cell gets loot if it was empty.
// The zone first shrinks quickly, so that most players die early. It then keeps a size at which the
// last few players are mostly out of each other's sight. Finally it closes, so that every episode
// ends. An episode ends when one player is left, the winner, or none, or only bots.
//
// The policy plays the agents. `bots` additional players follow a script; they are not agents, and
// the engine knows nothing of them. They give self-play a fixed reference: when all agents improve
// together, their ranks stay the same, so `score` is how often an agent outlives a bot.

#define PUF_NAME "royale"
#define PUF_DOC "The last survivor wins: fight, loot, and stay inside a shrinking zone."
#define PUF_AGENTS(c) (c)->agents
#define PUF_OBS(c) float, SELF + 4 * OTHERS + 3 * KINDS // see env_observe
#define PUF_ACTIONS(X) \
    X(move, 9, "stay, then 8 directions, counter-clockwise from the right") \
    X(attack, 3, "none, melee, shot; at the nearest player in sight")
#define PUF_MASK // forbids attacks during a pause, and shots without ammo
#define PUF_CONFIG(X) \
    X(int32_t, agents, 64, 2, 1024, "players that the policy plays") \
    X(int32_t, bots, 8, 0, 1024, "players that follow a script") \
    X(int32_t, shrink, 100, 1, 100000, "steps during which the zone shrinks") \
    X(int32_t, hold, 500, 0, 100000, "steps after that during which it keeps its size") \
    X(int32_t, close, 200, 1, 100000, "steps after that during which it closes") \
    X(int32_t, max_steps, 2000, 1, 1000000, "steps until an episode is truncated")
#define PUF_LOG(X) \
    X(score, "share of (agent, bot) pairs in which the agent lived longer; 0.5 without bots") \
    X(length, "steps") \
    X(survival, "mean share of the episode that an agent was alive") \
    X(fought, "share of all deaths that were kills, not zone deaths") \
    X(accuracy, "share of the agents' attacks that hit") \
    X(damage, "mean health that an agent took from others") \
    X(melee_kills, "kills by melee, all players") \
    X(shot_kills, "kills by shots, all players") \
    X(zone_deaths, "deaths by zone damage, all players") \
    X(winner_kills, "kills of the last player, 0 if there is none") \
    X(pickups, "mean number of items that an agent picked up")
#define PUF_VIEW(c) side_of(c) + 2, (1 + HEAD) * (side_of(c) + 2)
#define PUF_PACE(c) 12
#define PUF_KEYS(X) \
    X(move, 1, "right d", "right") \
    X(move, 2, "up+right w+d", "up and right") \
    X(move, 3, "up w", "up") \
    X(move, 4, "up+left w+a", "up and left") \
    X(move, 5, "left a", "left") \
    X(move, 6, "down+left s+a", "down and left") \
    X(move, 7, "down s", "down") \
    X(move, 8, "down+right s+d", "down and right") \
    X(attack, 1, "space", "melee") X(attack, 2, "f", "shot")
#include "pufferenv/env.h"

#include <math.h>
#include <stdlib.h>

enum { SELF = 11, OTHERS = 4, KINDS = 2 }; // entries of itself; other players seen; kinds of items
enum { HEALTH, AMMO, NOTHING };            // kinds of items
enum { MELEE = 1, SHOT = 2 };              // the attack head's choices
enum { MELEE_PAUSE = 3, SHOT_PAUSE = 6, LONGEST_PAUSE = 6 }; // steps until the next attack
enum { START_AMMO = 4, BOX_AMMO = 4, MOST_AMMO = 12 };
enum { FEW = 24 };                  // with at most this many live players, cells are not used
enum { SUPPLY = 16 };               // steps between two items that appear at random places
static const float SIGHT = 8;       // distance at which a player sees others; side of a cell
static const float THING_SIGHT = 4; // distance at which a player sees items; half of SIGHT
static const float SPEED = 0.5f;    // per step
static const float REACH = 1;       // distance within which items are picked up
static const float MELEE_RANGE = 1.2f, SHOT_RANGE = 6; // hits with chance 1 - distance / SIGHT
static const float MELEE_DAMAGE = 0.4f, SHOT_DAMAGE = 0.3f, ZONE_DAMAGE = 0.02f, HEAL = 0.4f;
// Radius of the zone at the start and while it keeps its size, in sides of the arena.
static const float WHOLE = 1.1f, HELD = 0.3f;
static const float DAMAGE_REWARD = 0.5f, KILL_REWARD = 0.5f, WIN_REWARD = 1, DEATH_REWARD = -0.5f;
static const float OUTLIVE_REWARD = 1; // total reward of a player that outlives all others
static const float CLOSE_BY = 2;       // distance at which an observed position is half its limit

#define D 0.70710678f // component of a diagonal step
static const float MOVE_X[9] = {0, 1, D, 0, -D, -1, -D, 0, D};
static const float MOVE_Y[9] = {0, 0, D, 1, D, 0, -D, -1, -D};

// A player or item in sight. If there is none, `index` is the viewer or the viewer's cell, and
// `distance2` is the square of the sight.
typedef struct Seen {
    float distance2; // squared distance
    int32_t index;   // of a player, or of the cell of an item
} Seen;

typedef struct Player {
    float x, y, health;
    int32_t cell;
    Seen others[OTHERS];  // nearest players in sight, nearest first
    Seen things[KINDS];   // nearest item of each kind in sight
    int32_t move, attack; // in this step; attack: 0, MELEE or SHOT
    int32_t target;       // of the last attack, a player; itself: nobody was in sight
    int32_t ammo, pause;  // pause: steps until it may attack
    int32_t kills;
} Player;

// A square of the arena, SIGHT wide, with room for one item near its centre.
typedef struct Cell {
    int32_t kind; // of the item, or NOTHING
    float x, y;   // where the item is, or was
} Cell;

// The position of a live player.
typedef struct Place {
    float x, y;
    int32_t player;
} Place;

struct Env {
    Log log;
    PufRng rng;
    Config config;
    int32_t num_players, width, num_cells; // width: cells along a side, with the border
    float side, scale;                     // of the arena; 2 / side
    float zone_x, zone_y, zone_radius;
    int32_t tick, left, agents_left; // left: live players
    int32_t attacks, hits;           // by agents
    double agent_steps, outlived;    // outlived: (agent, bot) pairs
    Log sums;                        // of this episode so far
    Player *players;                 // (num_players,) agents, then bots
    Cell *cells;                     // (num_cells,) width * width, row by row
    Place *places;                   // (num_players,) the first `left` are used, sorted by cell
    int32_t *begin; // (num_cells + 2,) index in `places` of each cell's first player
    int32_t *live;  // (num_players,) the first `left` are live, ascending
    uint64_t *keys; // (num_players + 1,) keys of players in sight, see gather
};

// Returns the side of the arena in cells; each player gets at least 36 units of area.
static int32_t cells_along(const Config *config) {
    int32_t width = 2;
    while (16 * width * width < 9 * (config->agents + config->bots)) width++;
    return width;
}
static float side_of(const Config *config) { return (float)cells_along(config) * SIGHT; }

static int env_init(Env *env, const Config *config, uint64_t seed, const char **why) {
    (void)why; // every combination in range is legal
    const int32_t players = config->agents + config->bots, width = cells_along(config);
    *env = (Env){.config = *config,
                 .rng = {seed},
                 .num_players = players,
                 .width = width + 2,
                 .num_cells = (width + 2) * (width + 2),
                 .side = side_of(config)};
    env->scale = 2 / env->side;
    env->players = calloc((size_t)players, sizeof(Player));
    env->cells = calloc((size_t)env->num_cells, sizeof(Cell));
    env->places = calloc((size_t)players, sizeof(Place));
    env->begin = calloc((size_t)env->num_cells + 2, sizeof(int32_t));
    env->live = calloc((size_t)players, sizeof(int32_t));
    env->keys = calloc((size_t)players + 1, sizeof(uint64_t));
    const int complete = env->players && env->cells && env->places && env->begin && env->live;
    return complete && env->keys ? PUF_OK : PUF_ERR_MEMORY;
}

static float clamp(float x, float low, float high) { return x < low ? low : x > high ? high : x; }

// --- items and the zone --------------------------------------------------------------------
// Returns the cell of a point at most SIGHT outside the arena. Points on the arena's far sides count
// as inside; the border cells around the arena stay empty.
static inline int32_t cell_at(const Env *env, float x, float y) {
    const int32_t last = env->width - 2;
    const int32_t column = (int32_t)((x + SIGHT) * (1 / SIGHT)); // exact, SIGHT is a power of two
    const int32_t row = (int32_t)((y + SIGHT) * (1 / SIGHT));
    return (row < last ? row : last) * env->width + (column < last ? column : last);
}

static void put_item(Env *env, int32_t cell, int32_t kind) {
    const float column = (float)(cell % env->width - 1), row = (float)(cell / env->width - 1);
    env->cells[cell].kind = kind;
    env->cells[cell].x = (column + puf_uniform(&env->rng, 0.25f, 0.75f)) * SIGHT;
    env->cells[cell].y = (row + puf_uniform(&env->rng, 0.25f, 0.75f)) * SIGHT;
}

// Returns a random cell that is not in the border.
static int32_t random_cell(Env *env) {
    const int32_t row = 1 + puf_below(&env->rng, env->width - 2);
    return row * env->width + 1 + puf_below(&env->rng, env->width - 2);
}

static void set_zone(Env *env) {
    const Config *c = &env->config;
    const int32_t held = c->shrink + c->hold;
    const float shrunk = (float)env->tick / (float)c->shrink;
    const float closed = (float)(env->tick - held) / (float)c->close;
    if (env->tick < c->shrink) env->zone_radius = (WHOLE + (HELD - WHOLE) * shrunk) * env->side;
    else env->zone_radius = HELD * env->side * (1 - clamp(closed, 0, 1));
}

// --- sight ---------------------------------------------------------------------------------
// Sorts the live players by cell, so that players of adjacent cells are adjacent in `places`.
static void sort_places(Env *env) {
    memset(env->begin, 0, (size_t)(env->num_cells + 2) * sizeof(int32_t));
    for (int32_t i = 0; i < env->left; i++) env->begin[env->players[env->live[i]].cell + 2] += 1;
    for (int32_t c = 2; c <= env->num_cells; c++) env->begin[c] += env->begin[c - 1];
    // begin[c + 1] starts at the first player of cell c and ends where cell c + 1 begins.
    for (int32_t i = 0; i < env->left; i++) {
        const Player *p = &env->players[env->live[i]];
        env->places[env->begin[p->cell + 1]++] = (Place){p->x, p->y, env->live[i]};
    }
}

// Packs a squared distance into the high bits and an index into the low ones, so that keys are
// ordered by distance, then by index. (The bits of floats that are not negative are ordered too.)
static inline uint64_t key_of(float distance2, int32_t index) {
    uint32_t bits;
    memcpy(&bits, &distance2, sizeof(bits));
    return (uint64_t)bits << 32 | (uint32_t)index;
}

static inline Seen seen_of(uint64_t key) {
    const uint32_t bits = (uint32_t)(key >> 32);
    Seen seen = {.index = (int32_t)(uint32_t)key};
    memcpy(&seen.distance2, &bits, sizeof(bits));
    return seen;
}

static inline float distance2_to(const Player *p, float x, float y) {
    return (x - p->x) * (x - p->x) + (y - p->y) * (y - p->y);
}

// Appends the keys of the players in sight among places [begin, end). -> number of keys. The loops
// of this function and the two below have no branches, because distances are random, so the
// processor would mispredict them.
static inline int32_t gather(Env *env, int32_t me, const Player *p, int32_t begin, int32_t end,
                             int32_t n) {
    for (int32_t i = begin; i < end; i++) {
        const Place *other = &env->places[i];
        const float distance2 = distance2_to(p, other->x, other->y);
        env->keys[n] = key_of(distance2, other->player);
        n += (distance2 < SIGHT * SIGHT) & (other->player != me);
    }
    return n;
}

static inline void see_others(const Env *env, int32_t me, Player *p, int32_t n) {
    uint64_t best[OTHERS]; // ascending
    for (int k = 0; k < OTHERS; k++) best[k] = key_of(SIGHT * SIGHT, me);
    for (int32_t i = 0; i < n; i++) {
        uint64_t key = env->keys[i];
        for (int k = 0; k < OTHERS; k++) {
            const uint64_t less = key < best[k] ? key : best[k];
            key = key < best[k] ? best[k] : key;
            best[k] = less;
        }
    }
    for (int k = 0; k < OTHERS; k++) p->others[k] = seen_of(best[k]);
}

// An item within THING_SIGHT is in one of the four cells around the nearest corner.
static inline void see_things(const Env *env, Player *p) {
    const int32_t first = cell_at(env, p->x - THING_SIGHT, p->y - THING_SIGHT);
    const int32_t cells[4] = {first, first + 1, first + env->width, first + env->width + 1};
    uint64_t best[KINDS + 1]; // the last is for cells with NOTHING
    for (int k = 0; k <= KINDS; k++) best[k] = key_of(THING_SIGHT * THING_SIGHT, p->cell);
    for (int i = 0; i < 4; i++) {
        const Cell *cell = &env->cells[cells[i]];
        const uint64_t key = key_of(distance2_to(p, cell->x, cell->y), cells[i]);
        best[cell->kind] = key < best[cell->kind] ? key : best[cell->kind];
    }
    for (int k = 0; k < KINDS; k++) p->things[k] = seen_of(best[k]);
}

static inline int sees_thing(const Player *p, int32_t kind) {
    return p->things[kind].distance2 < THING_SIGHT * THING_SIGHT;
}

static void update_sight(Env *env) {
    const int32_t width = env->width;
    const int few = env->left <= FEW;
    for (int32_t i = 0; i < env->left; i++) {
        Player *p = &env->players[env->live[i]];
        p->cell = cell_at(env, p->x, p->y);
        env->places[i] = (Place){p->x, p->y, env->live[i]};
    }
    if (!few) sort_places(env);
    for (int32_t i = 0; i < env->left; i++) {
        const int32_t me = env->live[i];
        Player *p = &env->players[me];
        int32_t n = 0;
        if (few) n = gather(env, me, p, 0, env->left, 0);
        else
            for (int32_t c = p->cell - width; c <= p->cell + width; c += width)
                n = gather(env, me, p, env->begin[c - 1], env->begin[c + 2], n);
        see_others(env, me, p, n);
        see_things(env, p);
    }
}

static void env_reset(Env *env, PufIO *io) {
    (void)io;
    const float side = env->side;
    env->tick = env->attacks = env->hits = 0;
    env->agent_steps = env->outlived = 0;
    env->sums = (Log){0};
    env->left = env->num_players, env->agents_left = env->config.agents;
    env->zone_x = puf_uniform(&env->rng, 0.25f, 0.75f) * side;
    env->zone_y = puf_uniform(&env->rng, 0.25f, 0.75f) * side;
    set_zone(env);
    for (int32_t c = 0; c < env->num_cells; c++) env->cells[c].kind = NOTHING;
    for (int32_t i = env->num_cells / 2; i > 0; i--) {
        // A separate statement, because C leaves the order of a call's arguments unspecified.
        const int kind = puf_below(&env->rng, KINDS);
        put_item(env, random_cell(env), kind);
    }
    for (int32_t i = 0; i < env->num_players; i++) {
        Player *p = &env->players[i];
        *p = (Player){.health = 1, .ammo = START_AMMO};
        p->x = puf_uniform(&env->rng, 0, side);
        p->y = puf_uniform(&env->rng, 0, side);
        env->live[i] = i;
    }
    update_sight(env);
}

// --- observations --------------------------------------------------------------------------
// Writes the direction from a player to a point, scaled into (-1, 1), with more resolution nearby.
static inline void observe_direction(obs_t *obs, const Player *p, float x, float y,
                                     float distance) {
    const float scale = 1 / (distance + CLOSE_BY);
    obs[0] = (x - p->x) * scale, obs[1] = (y - p->y) * scale;
}

// Writes the direction (2) and the nearness: 1 at the player's own position, 0 at the end of sight.
// All entries are 0 if nothing was seen.
static inline void observe_seen(obs_t *obs, const Player *p, Seen seen, float sight, float x,
                                float y) {
    const int there = seen.distance2 < sight * sight;
    const float distance = sqrtf(seen.distance2);
    observe_direction(obs, p, there ? x : p->x, there ? y : p->y, distance);
    obs[2] = 1 - distance * (1 / sight);
}

static inline void observe_self(const Env *env, const Player *p, obs_t *obs) {
    const float to_zone = sqrtf(distance2_to(p, env->zone_x, env->zone_y));
    obs[0] = p->health * 2 - 1;
    obs[1] = (float)p->ammo * (2.0f / MOST_AMMO) - 1;
    obs[2] = (float)p->pause * (1.0f / LONGEST_PAUSE);
    obs[3] = p->x * env->scale - 1;
    obs[4] = p->y * env->scale - 1;
    obs[5] = clamp((env->zone_radius - to_zone) * (1 / SIGHT), -1, 1); // below 0: outside
    observe_direction(obs + 6, p, env->zone_x, env->zone_y, to_zone);
}

//  0  health, ammo, pause            11  4 nearest players: direction (2), nearness, health
//  3  place in the arena (2)         27  nearest health, then nearest ammo: direction (2), nearness
//  5  distance to the zone's edge,
//     direction to its centre (2),
//     its radius
//  9  time; share of players left    All are in about [-1, 1]; entries of what is not seen are 0.
static void env_observe(const Env *env, PufIO *io) {
    const int32_t end = env->config.shrink + env->config.hold + env->config.close;
    const float time = clamp((float)env->tick / (float)end, 0, 1) * 2 - 1;
    const float left = (float)env->left / (float)env->num_players * 2 - 1;
    for (int32_t i = 0; i < env->agents_left; i++) {
        const int32_t a = env->live[i];
        const Player *p = &env->players[a];
        obs_t *obs = puf_obs(io, a);
        observe_self(env, p, obs);
        obs[8] = env->zone_radius * env->scale - 1, obs[9] = time, obs[10] = left;
        obs += SELF;
        for (int k = 0; k < OTHERS; k++, obs += 4) {
            const Seen seen = p->others[k];
            const Player *other = &env->players[seen.index];
            observe_seen(obs, p, seen, SIGHT, other->x, other->y);
            obs[3] = seen.distance2 < SIGHT * SIGHT ? other->health : 0;
        }
        for (int k = 0; k < KINDS; k++, obs += 3) {
            const Cell *cell = &env->cells[p->things[k].index];
            observe_seen(obs, p, p->things[k], THING_SIGHT, cell->x, cell->y);
        }
        uint8_t *mask = puf_mask(io, a) + 9; // of the attack head
        mask[MELEE] = p->pause == 0;
        mask[SHOT] = p->pause == 0 && p->ammo > 0;
    }
}

// --- bots ----------------------------------------------------------------------------------
// Returns the move closest to the direction (dx, dy).
static int32_t towards(float dx, float dy) {
    const float slope = 0.41421356f; // tangent of an eighth of a half-turn
    const float x = dx < 0 ? -dx : dx, y = dy < 0 ? -dy : dy;
    const int right = x > slope * y ? (dx > 0) - (dx < 0) : 0; // 1, 0 or -1
    const int up = y > slope * x ? (dy > 0) - (dy < 0) : 0;
    static const int8_t MOVE_TO[3][3] = {{6, 5, 4}, {7, 0, 3}, {8, 1, 2}};
    return MOVE_TO[1 + right][1 + up];
}

// Plays a bot: it stays in the zone, attacks players that come near and moves away from them, and
// fetches health or ammo. Sets `move`. -> the choice of attack.
static int32_t play_bot(const Env *env, Player *p) {
    const float zone_x = env->zone_x - p->x, zone_y = env->zone_y - p->y;
    const float safe = clamp(env->zone_radius - 2, 0, env->zone_radius);
    const float distance2 = p->others[0].distance2;
    const int32_t need = p->health < 0.7f ? HEALTH : AMMO;
    p->move = 0;
    if (zone_x * zone_x + zone_y * zone_y > safe * safe) p->move = towards(zone_x, zone_y);
    else if (distance2 < SHOT_RANGE * SHOT_RANGE) {
        const Player *other = &env->players[p->others[0].index];
        p->move = towards(p->x - other->x, p->y - other->y);
    } else if (sees_thing(p, need)) {
        const Cell *cell = &env->cells[p->things[need].index];
        p->move = towards(cell->x - p->x, cell->y - p->y);
    }
    if (distance2 < MELEE_RANGE * MELEE_RANGE) return MELEE;
    return distance2 < SHOT_RANGE * SHOT_RANGE / 2 ? SHOT : 0;
}

// --- one step ------------------------------------------------------------------------------
static void attack(Env *env, PufIO *io, int32_t me, int32_t kind) {
    Player *p = &env->players[me];
    const int is_agent = me < env->config.agents;
    p->attack = 0;
    if (kind == 0 || p->pause > 0 || (kind == SHOT && p->ammo == 0)) return;
    p->attack = kind, p->target = p->others[0].index;          // read by env_draw alone
    p->pause = 1 + (kind == MELEE ? MELEE_PAUSE : SHOT_PAUSE); // `move` subtracts one in this step
    p->ammo -= kind == SHOT;
    env->attacks += is_agent;
    const float range = kind == MELEE ? MELEE_RANGE : SHOT_RANGE;
    if (p->others[0].distance2 > range * range) return;
    if (kind == SHOT && puf_uniform(&env->rng, 0, SIGHT) < sqrtf(p->others[0].distance2)) return;
    Player *other = &env->players[p->others[0].index];
    if (other->health <= 0) return; // already killed in this step
    const float most = kind == MELEE ? MELEE_DAMAGE : SHOT_DAMAGE;
    const float damage = other->health < most ? other->health : most;
    other->health -= damage;
    const int kills = other->health <= 0;
    p->kills += kills;
    if (kind == MELEE) env->sums.melee_kills += kills;
    else env->sums.shot_kills += kills;
    if (!is_agent) return;
    env->hits += 1;
    env->sums.damage += (double)damage;
    puf_reward(io, me, damage * DAMAGE_REWARD + (float)kills * KILL_REWARD);
}

static void move(Env *env, int32_t me) {
    Player *p = &env->players[me];
    p->pause -= p->pause > 0;
    p->x = clamp(p->x + SPEED * MOVE_X[p->move], 0, env->side);
    p->y = clamp(p->y + SPEED * MOVE_Y[p->move], 0, env->side);
    for (int k = 0; k < KINDS; k++) {
        if (!sees_thing(p, k)) continue;
        Cell *cell = &env->cells[p->things[k].index];
        if (cell->kind != k || distance2_to(p, cell->x, cell->y) > REACH * REACH) continue;
        if (k == HEALTH) p->health = clamp(p->health + HEAL, 0, 1);
        else p->ammo = p->ammo + BOX_AMMO < MOST_AMMO ? p->ammo + BOX_AMMO : MOST_AMMO;
        cell->kind = NOTHING;
        env->sums.pickups += me < env->config.agents;
    }
}

static void hurt_by_zone(Env *env, Player *p) {
    const float radius = env->zone_radius;
    if (distance2_to(p, env->zone_x, env->zone_y) <= radius * radius) return;
    p->health -= ZONE_DAMAGE;
    if (p->health <= 0) env->sums.zone_deaths += 1;
}

// Removes the dead players and rewards the live agents for outliving them.
static void remove_dead(Env *env, PufIO *io) {
    const int32_t agents = env->config.agents, left = env->left, agents_left = env->agents_left;
    const int32_t dead_bots = env->config.bots - (left - agents_left); // before this step
    env->left = env->agents_left = 0;
    for (int32_t i = 0; i < left; i++) {
        const int32_t me = env->live[i];
        const Player *p = &env->players[me];
        if (p->health > 0) {
            env->live[env->left++] = me;
            env->agents_left += me < agents;
            continue;
        }
        if (env->cells[p->cell].kind == NOTHING)
            put_item(env, p->cell, p->ammo > 0 ? AMMO : HEALTH);
        if (me >= agents) continue;
        puf_reward(io, me, DEATH_REWARD);
        puf_die(io, me);
    }
    const int32_t died = left - env->left, agents_died = agents_left - env->agents_left;
    if (died == 0) return;
    env->outlived += agents_died * (dead_bots + (died - agents_died) / 2.0);
    const float share = OUTLIVE_REWARD * (float)died / (float)(env->num_players - 1);
    for (int32_t i = 0; i < env->agents_left; i++) puf_reward(io, env->live[i], share);
}

static void finish(Env *env, PufIO *io, PufDone why) {
    const Config *c = &env->config;
    const double bots_left = env->left - env->agents_left, deaths = env->num_players - env->left;
    env->outlived += env->agents_left * (c->bots - bots_left / 2);
    env->log = env->sums;
    env->log.score = c->bots > 0 ? env->outlived / c->bots / c->agents : 0.5;
    env->log.length = env->tick;
    env->log.survival = env->agent_steps / env->tick / c->agents;
    env->log.fought = deaths > 0 ? 1 - env->sums.zone_deaths / deaths : 0;
    env->log.accuracy = env->attacks > 0 ? (double)env->hits / env->attacks : 0;
    env->log.damage /= c->agents;
    env->log.pickups /= c->agents;
    if (env->left == 1) env->log.winner_kills = env->players[env->live[0]].kills;
    if (env->left == 1 && env->agents_left == 1) puf_reward(io, env->live[0], WIN_REWARD);
    puf_end(io, why);
}

static void env_step(Env *env, PufIO *io) {
    env->agent_steps += env->agents_left;
    for (int32_t i = 0; i < env->agents_left; i++) {
        const int32_t *action = puf_action(io, env->live[i]);
        env->players[env->live[i]].move = action[0];
        attack(env, io, env->live[i], action[1]);
    }
    for (int32_t i = env->agents_left; i < env->left; i++)
        attack(env, io, env->live[i], play_bot(env, &env->players[env->live[i]]));
    for (int32_t i = 0; i < env->left; i++) {
        Player *p = &env->players[env->live[i]];
        if (p->health <= 0) continue;
        move(env, env->live[i]);
        hurt_by_zone(env, p);
    }
    remove_dead(env, io);
    env->tick += 1;
    set_zone(env);
    if (env->tick % SUPPLY == 0) {
        const int32_t cell = random_cell(env);
        if (env->cells[cell].kind == NOTHING) put_item(env, cell, puf_below(&env->rng, KINDS));
    }
    if (env->left <= 1 || env->agents_left == 0) {
        finish(env, io, PUF_TERMINAL);
        return;
    }
    update_sight(env);
    if (env->tick >= env->config.max_steps) finish(env, io, PUF_TRUNCATED);
}

static void env_close(Env *env) {
    free(env->players), free(env->cells), free(env->places), free(env->begin), free(env->live);
    free(env->keys);
}

// --- drawing -------------------------------------------------------------------------------
// Moves have y upwards and pictures downwards, so everything is drawn at -y.
#define HEAD 0.075f // height of the head, in widths of the picture

static void draw_item(PufCanvas *c, const Cell *cell) {
    const float x = cell->x, y = -cell->y, r = 0.42f;
    if (cell->kind == HEALTH) {
        puf_rect(c, x - r, y - 0.14f, 2 * r, 0.28f, PUF_GREEN);
        puf_rect(c, x - 0.14f, y - r, 0.28f, 2 * r, PUF_GREEN);
    } else puf_fill(c, (const float[]){x, y - r, x + r, y, x, y + r, x - r, y}, 4, PUF_YELLOW);
}

static void draw_bar(PufCanvas *c, float x, float y, float width, float height, float share,
                     uint32_t colour) {
    puf_round(c, x, y, width, height, height / 2, PUF_EDGE);
    puf_round(c, x, y, width * share, height, height / 2, colour);
}

static void draw_player(const Env *env, PufCanvas *c, int32_t i) {
    const Player *p = &env->players[i], *target = &env->players[p->target];
    const float x = p->x, y = -p->y, r = 0.7f;
    const int is_agent = i < env->config.agents;
    puf_key(c, 2 + 2 * i); // attacks have another key, because they come and go
    if (p->attack == MELEE) puf_ring(c, x, y, MELEE_RANGE - 0.2f, 0.2f, PUF_ORANGE);
    if (p->attack == SHOT) puf_line(c, x, y, target->x, -target->y, 0.16f, PUF_YELLOW);
    puf_key(c, 3 + 2 * i);
    puf_agent(c, is_agent ? i : -1);
    puf_disc(c, x, y, r, is_agent ? puf_hue(i) : PUF_GREY);
    puf_disc(c, x + 0.36f * MOVE_X[p->move], y - 0.36f * MOVE_Y[p->move], 0.22f, PUF_NIGHT);
    if (i == c->agent) puf_ring(c, x, y, r + 0.1f, 0.16f, PUF_WHITE);
    if (p->health < 1)
        draw_bar(c, x - 0.8f, y - 1.3f, 1.6f, 0.34f, p->health,
                 puf_mix(PUF_RED, PUF_GREEN, p->health));
    puf_agent(c, -1);
}

// What an agent sees of itself, along the upper edge of its view: health, and ammo from the right.
static void draw_self(const Player *p, PufCanvas *c) {
    const float x = c->view[0] + 0.4f, y = c->view[1] + 0.4f;
    draw_bar(c, x, y, 6, 0.7f, clamp(p->health, 0, 1), PUF_GREEN);
    if (p->health <= 0) puf_text(c, p->x, -p->y + 0.4f, 1.6f, 0, PUF_GREY, "out");
    for (int i = 0; i < p->ammo; i++)
        puf_rect(c, x + 15.2f - 0.6f * (float)(i + 1), y, 0.4f, 0.7f, PUF_YELLOW);
}

static void draw_head(const Env *env, PufCanvas *c) {
    const Config *k = &env->config;
    const float head = HEAD * (env->side + 2), y = -env->side - 1.3f - 0.2f * head;
    const int32_t held = k->shrink + k->hold, t = env->tick;
    const char *zone = t < k->shrink          ? "zone shrinks"
                       : t < held             ? "zone holds"
                       : env->zone_radius > 0 ? "zone closes"
                                              : "zone closed";
    puf_text(c, 0.015f * env->side - 0.3f, y, 0.58f * head, -1, PUF_WHITE, "%d left", env->left);
    puf_text(c, 0.26f * env->side, y, 0.36f * head, -1, PUF_GREY, "%d agents  %d bots",
             env->agents_left, env->left - env->agents_left);
    puf_text(c, 0.985f * env->side + 0.3f, y, 0.36f * head, 1, PUF_CYAN, "%s  step %d", zone, t);
}

static void env_draw(const Env *env, PufCanvas *c) {
    const float side = env->side, wide = side + 2;
    const Player *me = c->agent >= 0 ? &env->players[c->agent] : NULL;
    if (me) puf_look(c, me->x - SIGHT, -me->y - SIGHT, 2 * SIGHT, 2 * SIGHT);
    else puf_look(c, -1, -side - 1 - HEAD * wide, wide, (1 + HEAD) * wide);
    puf_rect(c, 0, -side, side, side, puf_mix(PUF_NIGHT, PUF_RED, 0.3f)); // outside of the zone
    puf_key(c, 1);
    puf_disc(c, env->zone_x, -env->zone_y, env->zone_radius, PUF_PANEL);
    puf_ring(c, env->zone_x, -env->zone_y, env->zone_radius, 0.2f, PUF_CYAN);
    puf_key(c, 0);
    const float by = SIGHT + HEAD * wide, all = side + 2 * by; // the zone reaches over the walls
    puf_rect(c, -by, -side - by, all, by, PUF_NIGHT);
    puf_rect(c, -by, 0, all, by, PUF_NIGHT);
    puf_rect(c, -by, -side, by, side, PUF_NIGHT);
    puf_rect(c, side, -side, by, side, PUF_NIGHT);
    for (float g = SIGHT; g < side; g += SIGHT) {
        puf_rect(c, g, -side, 0.06f, side, PUF_EDGE);
        puf_rect(c, 0, -g, side, 0.06f, PUF_EDGE);
    }
    const Player centre = {.x = side / 2, .y = side / 2};
    const float far = me ? 1.5f * SIGHT : side; // nothing beyond is in the picture
    for (int32_t i = 0; i < env->num_cells; i++) {
        const Cell *cell = &env->cells[i];
        if (cell->kind != NOTHING && distance2_to(me ? me : &centre, cell->x, cell->y) < far * far)
            draw_item(c, cell);
    }
    for (int32_t k = 0; k < env->left; k++) {
        const Player *p = &env->players[env->live[k]];
        if (distance2_to(me ? me : &centre, p->x, p->y) < far * far)
            draw_player(env, c, env->live[k]);
    }
    puf_key(c, 0);
    if (me) draw_self(me, c);
    else draw_head(env, c);
}
