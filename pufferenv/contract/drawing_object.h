// pufferenv/contract/drawing_object.h - the part of game.c that only the drawing object has.
//
// It exports the drawing table, and defines the pixel game: the same game whose observation is a
// picture, drawn into the agent's slot by the thread that steps the env. An env of the pixel game is
// a PixelEnv around the game's own Env; below, the names that game.c uses are redefined to mean it.
//
// With frame_stack > 1 an observation is the pictures of the last steps, oldest first. An agent's
// pictures are kept in a ring indexed by the step, so that observing twice in one step, as for a
// final observation, changes nothing. Copies of the first picture of an agent's life stand for those
// from before it.
#ifndef PUF_DRAWING_OBJECT_H
#define PUF_DRAWING_OBJECT_H

#include <stdlib.h>

#include "pufferenv/contract/drawing.h"

#ifndef PUF_VIEW
#error "the game is not drawn: it has no PUF_VIEW and no env_draw (pufferenv/draw.h)"
#endif
#ifndef PUF_PACE
#define PUF_PACE(c) 15
#endif
#ifndef PUF_KEYS
#define PUF_KEYS(X)
#endif

// --- the drawing table --------------------------------------------------------------------------
#define COLUMNS_(a, b, c, d, e, f, g, h, count, ...) count
#define KEY_(...) \
    _Static_assert(COLUMNS_(__VA_ARGS__, 8, 7, 6, 5, 4, 3, 2, 1, 0) == 4, \
                   "a row of PUF_KEYS has four columns: head or axis, choice or value, keys, " \
                   "label; this one is X(" #__VA_ARGS__ ")");
PUF_KEYS(KEY_)
#undef KEY_
#undef COLUMNS_
#define ROW_(action_, choice_, keys_, label_, ...) \
    {.action = #action_, .choice = choice_, .keys = keys_, .label = label_},
#define KEY_(...) ROW_(__VA_ARGS__, 0, 0, 0, 0)
static const PufKeyBinding KEYS[] = {PUF_KEYS(KEY_){.action = NULL}};
#undef KEY_
#undef ROW_

static double pace_of(const void *config) {
    const Config *c = config;
    (void)c;
    return PUF_PACE(c);
}
static void view_of(const void *config, float view[4]) {
    const Config *c = config;
    (void)c;
    const float size[] = {PUF_VIEW(c)};
    enum { NUMBERS = sizeof(size) / sizeof(size[0]) };
    _Static_assert(NUMBERS == 2, "PUF_VIEW is a width and a height: #define PUF_VIEW(c) 18, 11");
    view[0] = view[1] = 0, view[2] = size[0], view[3] = size[NUMBERS - 1];
}
// An Env is the first member of a PixelEnv, so this draws both.
static void draw_env(const void *env, PufCanvas *canvas) {
    canvas->words[0].u = PUF_OP_END;
    env_draw(env, canvas);
}

extern const PufDrawing puf_drawing;
const PufDrawing puf_drawing = {
    .abi = PUF_ABI,
    .config_size = sizeof(Config),
    .name = PUF_NAME,
    .source = PUF_SOURCE,
    .keys = KEYS,
    .num_keys = sizeof(KEYS) / sizeof(KEYS[0]) - 1,
    .pace = pace_of,
    .view = view_of,
    .draw = draw_env,
};

extern const PufPainter *puf_painter;
const PufPainter *puf_painter = NULL;

// --- the pixel game -----------------------------------------------------------------------------
enum { LIST_WORDS = 16384 }; // words of a list on the stack; a longer one is allocated

#define PUF_MEMBER_(T, name, init, min, max, doc) T name;
typedef struct PixelOptions {
    PUF_PIXEL_FIELDS(PUF_MEMBER_)
} PixelOptions;
#undef PUF_MEMBER_

typedef struct PixelConfig {
    Config game; // first, so that a pointer to this is one to the game's own config
    PixelOptions options;
} PixelConfig;

typedef struct PixelEnv {
    Env game; // first, as in PixelConfig
    PixelOptions options;
    float view[4];
    int64_t step;    // in this episode
    int64_t *since;  // (agents,) step of the first picture of the agent's life
    uint8_t *frames; // (agents, frame_stack, channels, side, side) ring by step; NULL: no stack
    char *unseen;    // the game's own observation, in games with masks
} PixelEnv;

static size_t picture_bytes(const PixelEnv *env) {
    const size_t side = (size_t)env->options.pixels;
    return (size_t)env->options.pixel_channels * side * side;
}

static int pixel_init(PixelEnv *env, const void *config, uint64_t seed, const char **why) {
    const PixelConfig *pixel = config;
    const Config *c = &pixel->game;
    (void)c;
    env->options = pixel->options;
    const char *wrong = env->options.pixels < 1            ? "pixels must be at least 1"
                        : env->options.pixel_channels == 2 ? "pixel_channels must be 1 or 3"
                        : !puf_painter                     ? "no rasterizer was given to it"
                                                           : NULL;
    if (wrong) {
        *why = wrong;
        return PUF_ERR_CONFIG;
    }
    const int status = env_init(&env->game, c, seed, why);
    if (status != PUF_OK) return status;

    view_of(c, env->view);
    const size_t agents = (size_t)(PUF_AGENTS(c)), stack = (size_t)env->options.frame_stack;
    env->since = calloc(agents, sizeof(int64_t));
    int enough = env->since != NULL;
    if (stack > 1) {
        env->frames = malloc(agents * stack * picture_bytes(env));
        enough &= env->frames != NULL;
    }
#ifdef PUF_MASK
    const int32_t dims[] = {PUF_REST(PUF_OBS(c))};
    size_t entries = 1;
    for (size_t d = 0; d < sizeof(dims) / sizeof(dims[0]); d++) entries *= (size_t)dims[d];
    env->unseen = malloc(entries * sizeof(obs_t));
    enough &= env->unseen != NULL;
#endif
    if (enough) return PUF_OK;
    *why = "no memory for the pictures of the last steps";
    return PUF_ERR_MEMORY;
}

static void pixel_close(PixelEnv *env) { // also after a pixel_init that failed
    env_close(&env->game);
    free(env->since), free(env->frames), free(env->unseen);
}

static void pixel_reset(PixelEnv *env, PufIO *io) {
    env_reset(&env->game, io);
    env->step = 0;
    memset(env->since, 0, (size_t)io->num_agents * sizeof(int64_t));
}

static void pixel_step(PixelEnv *env, PufIO *io) {
    env_step(&env->game, io);
    env->step += 1;
    // A life began in this step if the agent had none before, or if that one ended.
    for (int a = 0; a < io->num_agents; a++)
        if (io->alive[a] && (io->row_end[a] < 0 || io->dones[a] == PUF_TERMINAL))
            env->since[a] = env->step;
}

// Notes a fault, which the engine raises, also in release objects.
static void fault(PufIO *io, int a, const char *text) {
    if (!io->note->fault) io->note->fault = text, io->note->fault_agent = a;
}

// Writes the list of what agent `a` sees into `on_stack` (LIST_WORDS), or into memory that the
// caller frees, `*allocated`.
static PufCanvas list_of(const PixelEnv *env, PufIO *io, int a, PufWord *on_stack,
                         PufWord **allocated) {
    PufCanvas canvas = {.words = on_stack,
                        .room = LIST_WORDS,
                        .agent = a,
                        .alive = io->alive,
                        .shared = io->shared};
    for (;;) {
        canvas.count = canvas.lost = 0;
        memcpy(canvas.view, env->view, sizeof(canvas.view));
        draw_env(&env->game, &canvas);
        if (!canvas.lost) return canvas;
        const size_t room = (size_t)canvas.room + canvas.lost + LIST_WORDS;
        free(*allocated);
        *allocated = room > PUF_MOST_WORDS ? NULL : malloc(room * sizeof(PufWord));
        if (!*allocated) break;
        canvas.words = *allocated, canvas.room = (uint32_t)room;
    }
    fault(io, a, "draws a list of more than 2^24 words");
    canvas.words = on_stack, on_stack[0].u = PUF_OP_END, canvas.count = 0;
    return canvas;
}

static void draw_picture(const PixelEnv *env, PufIO *io, int a, uint8_t *pixels) {
    const int32_t side = env->options.pixels;
    const PufImage image = {.pixels = pixels,
                            .width = side,
                            .height = side,
                            .channels = env->options.pixel_channels,
                            .row_stride = (size_t)side,
                            .pixel_stride = 1,
                            .channel_stride = (size_t)side * (size_t)side};
    PufWord on_stack[LIST_WORDS], *allocated = NULL;
    const PufCanvas canvas = list_of(env, io, a, on_stack, &allocated);
    if (!puf_view_is_legal(canvas.view)) fault(io, a, "shows an area that is empty or not finite");
    else if (puf_painter->raster(canvas.words, canvas.count, canvas.view, &image))
        fault(io, a,
              "draws a shape with a place that is not finite, or a size that is not finite or "
              "below 0");
    free(allocated);
}

// Writes the pictures of agent `a` into its slot, the newest last.
static void observe_agent(const PixelEnv *env, PufIO *io, int a) {
    const size_t bytes = picture_bytes(env);
    const int64_t stack = env->options.frame_stack;
    uint8_t *slot = (uint8_t *)io->obs + (size_t)io->slot[a] * io->obs_stride;
    uint8_t *newest = slot + (size_t)(stack - 1) * bytes;
    draw_picture(env, io, a, newest);
    if (stack == 1) return;
    uint8_t *ring = env->frames + (size_t)a * (size_t)stack * bytes;
    memcpy(ring + (size_t)(env->step % stack) * bytes, newest, bytes);
    for (int64_t k = 0; k < stack - 1; k++) {
        const int64_t step = env->step - (stack - 1) + k, first = env->since[a];
        const int64_t from = step > first ? step : first;
        memcpy(slot + (size_t)k * bytes, ring + (size_t)(from % stack) * bytes, bytes);
    }
}

static void pixel_observe(const PixelEnv *env, PufIO *io) {
#ifdef PUF_MASK
    // The game writes masks together with its observations, which go where nobody reads them.
    PufIO masks = *io;
    masks.obs = env->unseen, masks.obs_stride = 0;
    env_observe(&env->game, &masks);
#endif
    for (int a = 0; a < io->num_agents; a++)
        if (io->alive[a]) observe_agent(env, io, a);
}
__attribute__((unused)) static void env_observe(const Env *env, PufIO *io);

// --- the names that game.c uses -----------------------------------------------------------------
typedef PixelConfig WholeConfig;
#define PIXEL_FIELD_(T, f, init_, min_, max_, doc_) \
    FIELD_ROW_(T, #f, offsetof(PixelConfig, options.f), init_, min_, max_, doc_)
#define PUF_MORE_FIELDS PUF_PIXEL_FIELDS(PIXEL_FIELD_)
#define PIXELS_(c) ((const PixelConfig *)(const void *)(c))->options
#undef PUF_OBS
#define PUF_OBS(c) \
    uint8_t, PIXELS_(c).pixel_channels *PIXELS_(c).frame_stack, PIXELS_(c).pixels, PIXELS_(c).pixels
#define obs_t uint8_t
#define Env PixelEnv
#define env_init pixel_init
#define env_reset pixel_reset
#define env_step pixel_step
#define env_observe pixel_observe
#define env_close pixel_close

#endif
