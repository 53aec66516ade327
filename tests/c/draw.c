// tests/c/draw.c - draws one game in random play at the ends of its config, for the sanitizers.
//
//     GAME="tests/c/drawing_object.c pufferenv/contract/game.c"
//     FILES="tests/c/draw.c $GAME pufferenv/engine/*.c pufferenv/drawing/*.c"
//     cc -fsanitize=address,undefined -I. -DPUF_GAME='"ocean/snake.h"' -pthread $FILES -lm
//     ./a.out STEPS [PIXEL_STEPS]
//
// Each field of the config takes its lowest and its highest value, then all do; what the game
// refuses is left out. Every step is drawn as everybody sees it and as some agents do, into memory
// of exactly the length of the list, and rasterized into exactly one picture. Then the pixel game
// refuses two configs, and is played for PIXEL_STEPS. Prints the number of configs, of lists and of
// shapes, the longest list in words, and a hash of all lists and pictures.
#include "pufferenv/contract/drawing.h"
#include "pufferenv/drawing/list.h"
#include "pufferenv/drawing/raster.h"
#include "tests/c/random_play.h"

extern const PufSpec puf_spec, pixel_spec;
extern const PufDrawing puf_drawing;
extern const PufPainter *puf_painter;

enum { ENVS = 2, VIEWS = 6, WIDTH = 96, HEIGHT = 64 }; // VIEWS: of agents, per env and step

static long num_configs = 0, num_lists = 0, num_shapes = 0, longest = 0;
static uint64_t seen = 0xcbf29ce484222325u; // hash

// Checks every command of a list of `count` words and draws it.
static void rasterize(const PufCanvas *canvas) {
    const PufWord *at = canvas->words, *end = at + canvas->count;
    for (; at < end; at += at->u >> 8, num_shapes++)
        if (puf_check_command(at, (uint32_t)(end - at))) {
            fprintf(stderr, "command %d at word %d\n", at->u & 255, (int)(at - canvas->words));
            stop("a command is not valid");
        }
    if (at != end || end->u != PUF_OP_END) stop("a list does not stop at its END");
    uint8_t *pixels = malloc(3 * WIDTH * HEIGHT);
    const PufImage image = {.pixels = pixels,
                            .width = WIDTH,
                            .height = HEIGHT,
                            .channels = 3,
                            .row_stride = 3 * WIDTH,
                            .pixel_stride = 3,
                            .channel_stride = 1};
    if (puf_raster(canvas->words, canvas->count + 1, canvas->view, &image)) stop("no picture");
    seen = hash(seen, canvas->words, canvas->count * sizeof(PufWord));
    seen = hash(seen, pixels, 3 * WIDTH * HEIGHT);
    free(pixels);
    num_lists += 1;
    if (canvas->count > longest) longest = canvas->count;
}

// Draws an env as `agent` sees it: first without room, to learn how much it takes.
static void draw(const PufEngine *e, int env, int agent) {
    uint32_t room = 1;
    for (int round = 0; round < 2; round++) {
        PufCanvas canvas = {.words = malloc(room * sizeof(PufWord)), .room = room, .agent = agent};
        canvas.alive = e->io.alive + (size_t)env * (size_t)e->env_agents;
        canvas.shared = e->io.shared;
        puf_drawing.view(e->config, canvas.view);
        puf_drawing.draw(e->envs + (size_t)env * e->spec->env_size, &canvas);
        if (round == 0 && canvas.count) stop("a list of one word has a command");
        if (round == 1 && (canvas.lost || canvas.count + 1 != room)) stop("two lists differ");
        if (round == 1) rasterize(&canvas);
        room = 1 + canvas.lost;
        free(canvas.words);
    }
}

static void draw_all(const PufEngine *e) {
    for (int env = 0; env < ENVS; env++) {
        draw(e, env, -1);
        for (int k = 0; k < VIEWS; k++) draw(e, env, (int)below((uint32_t)e->env_agents));
    }
}

// Plays and draws `steps` steps under one config, if the game takes it.
static void play(const void *config, int steps) {
    const PufOptions options = {
        .mode = PUF_SAME_STEP, .num_envs = ENVS, .num_threads = 1, .check = 1};
    Player player;
    if (player_open(&player, &puf_spec, config, &options)) return;
    num_configs += 1;
    for (int s = 0; s < steps; s++) {
        draw_all(&player.e);
        player_choose(&player);
        player_step(&player);
    }
    draw_all(&player.e);
    player_close(&player);
}

static void play_pixels(int steps) {
    static const PufPainter painter = {.raster = puf_raster};
    const PufOptions options = {.mode = PUF_SAME_STEP, .num_envs = 3, .num_threads = 2, .check = 1};
    void *config = default_config(&pixel_spec);
    const uint32_t own = pixel_spec.num_config - 3; // fields of the game; then the pixel game's
    Player player;
    if (!player_open(&player, &pixel_spec, config, &options)) stop("a picture without pixels");
    set_field(config, &pixel_spec.config[own], 20);
    set_field(config, &pixel_spec.config[own + 2], 3);
    if (!player_open(&player, &pixel_spec, config, &options)) stop("pictures by no rasterizer");
    puf_painter = &painter;
    if (player_open(&player, &pixel_spec, config, &options)) stop("no pixel game");
    for (int s = 0; s < steps; s++) {
        player_choose(&player);
        player_step(&player);
        seen = hash(seen, player.e.arrays.observation,
                    (size_t)(player.e.num_agents * player.e.obs_stride));
    }
    player_close(&player);
    free(config);
}

int main(int argc, char **argv) {
    const int steps = argc > 1 ? atoi(argv[1]) : 20, pixel_steps = argc > 2 ? atoi(argv[2]) : steps;
    const uint32_t fields = puf_spec.num_config;
    void *config = default_config(&puf_spec), *ends[2];
    play(config, steps);
    for (int end = 0; end < 2; end++) {
        ends[end] = default_config(&puf_spec);
        for (uint32_t k = 0; k < fields; k++) {
            const PufField *field = &puf_spec.config[k];
            const double value = end ? field->max : field->min;
            set_field(config, field, value), set_field(ends[end], field, value);
            play(config, steps);
            set_field(config, field, field->init);
        }
        play(ends[end], steps);
        free(ends[end]);
    }
    free(config);
    play_pixels(pixel_steps);
    printf("%ld %ld %ld %ld %016llx\n", num_configs, num_lists, num_shapes, longest,
           (unsigned long long)seen);
    return 0;
}
