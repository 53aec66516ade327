// tests/c/raster.c - draws random and hostile lists into images of all layouts.
//
//     program LISTS THREADS < font > hash
//
// The font is what pufferenv/drawing/font.bin unpacks to. Each list is allocated with exactly its
// size, so that a sanitizer sees a word read past its end; each image lies between bytes that must
// not change. Every thread draws all lists, and all must get the same pixels. Prints how many lists
// were valid, how many were not, and a hash of all pixels and results.
#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#include "pufferenv/drawing/list.h"
#include "pufferenv/drawing/raster.h"

enum { MOST_THREADS = 16, GUARD = 64, WORDS = 4096, MOST_POINTS = 1500 };

#define CHECK(condition) \
    if (!(condition)) fprintf(stderr, "line %d: %s\n", __LINE__, #condition), exit(1)

typedef struct Run {
    int lists;
    uint64_t hash, valid;
} Run;

// --- random numbers: the same everywhere -------------------------------------------------------
static uint32_t draw_u32(uint64_t *state) {
    *state = *state * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(*state >> 32);
}
static int below(uint64_t *state, int limit) { return (int)(draw_u32(state) % (uint32_t)limit); }
static float uniform(uint64_t *state, float low, float high) {
    return low + (high - low) * (float)(draw_u32(state) >> 8) / 16777216.0f;
}

static uint64_t add(uint64_t hash, const void *bytes, size_t count) {
    for (size_t i = 0; i < count; i++) // FNV-1a
        hash = (hash ^ ((const uint8_t *)bytes)[i]) * 1099511628211u;
    return hash;
}

// --- lists ---------------------------------------------------------------------------------------
// Most places are near the image and most sizes are small; some are neither.
static float place(uint64_t *s) {
    const int kind = below(s, 20);
    return kind == 0   ? uniform(s, -1e9f, 1e9f)
           : kind == 1 ? uniform(s, -300, 300)
                       : uniform(s, -4, 36);
}
static float size(uint64_t *s) {
    const int kind = below(s, 20);
    return kind == 0   ? uniform(s, 0, 1e9f)
           : kind < 4  ? 0
           : kind < 12 ? uniform(s, 0, 1)
                       : uniform(s, 0, 20);
}

static void put_shape(uint64_t *s, PufCanvas *c) {
    float xy[2 * MOST_POINTS];
    const float x = place(s), y = place(s), a = size(s), b = size(s);
    const uint32_t opaque = below(s, 2) ? 255 : 0, colour = draw_u32(s) | opaque;
    const int op = below(s, 9), most = below(s, 40) ? 40 : MOST_POINTS;
    const int points = 1 + below(s, most);
    const int align = below(s, 3) - 1, letter = 33 + below(s, 99);
    for (int i = 0; i < 2 * points; i++) xy[i] = i > 1 && below(s, 2) ? xy[i - 2] : place(s);
    if (op == 0) puf_rect(c, x, y, a, b, colour);
    else if (op == 1) puf_round(c, x, y, a, b, size(s), colour);
    else if (op == 2) puf_disc(c, x, y, a, colour);
    else if (op == 3) puf_ring(c, x, y, a, b, colour);
    else if (op == 4) puf_path(c, xy, points, a, colour);
    else if (op == 5) puf_fill(c, xy, points, colour);
    else if (op == 6) puf_text(c, x, y, a, align, colour, "%c%d\x80 %f", letter, points, a);
    else if (op == 7) puf_key(c, below(s, 3));
    else puf_agent(c, below(s, 3) - 1);
}

// Changes words at random: to random bits, to a special float, or to a command's first word.
static void spoil(uint64_t *s, PufCanvas *c) {
    static const uint32_t SPECIAL[] = {0x7fc00000, 0x7f800000, 0xff800000, 0x7149f2ca,
                                       0xbf800000, 0x00000001, 0x80000000, 0xffffffff};
    for (int k = 0; k <= below(s, 3) && c->count; k++) {
        PufWord *w = c->words + below(s, (int)c->count);
        const int kind = below(s, 4);
        if (kind == 0) w->u = draw_u32(s);
        else if (kind == 1) w->u = SPECIAL[below(s, 8)];
        else if (kind == 2) w->u = (uint32_t)below(s, 12) | (uint32_t)below(s, 12) << 8;
        else c->count = (uint32_t)below(s, (int)c->count + 1); // cut off
    }
}

// --- images --------------------------------------------------------------------------------------
typedef struct Canvas {
    uint8_t *memory;
    size_t bytes;
    PufImage image;
} Canvas;

static Canvas make_image(uint64_t *s) {
    static const int CHANNELS[] = {1, 3, 4};
    const size_t gap = (size_t)below(s, 3), channels = (size_t)CHANNELS[below(s, 3)];
    const size_t width = 1 + (size_t)below(s, 70), height = 1 + (size_t)below(s, 70);
    PufImage m = {.width = (int)width, .height = (int)height, .channels = (int)channels};
    if (below(s, 2)) { // packed
        m.channel_stride = 1, m.pixel_stride = channels + gap,
        m.row_stride = width * m.pixel_stride + gap;
    } else { // planes
        m.pixel_stride = 1, m.row_stride = width + gap, m.channel_stride = m.row_stride * height;
    }
    const size_t bytes = (height - 1) * m.row_stride + (width - 1) * m.pixel_stride +
                         (channels - 1) * m.channel_stride + 1;
    Canvas c = {.memory = malloc(bytes + 2 * GUARD), .bytes = bytes + 2 * GUARD, .image = m};
    memset(c.memory, 0xa5, c.bytes);
    c.image.pixels = c.memory + GUARD;
    return c;
}

// Checks that only pixels were written, by a picture of the same list on another ground.
static void check_image(const Canvas *c) {
    uint8_t *seen = calloc(c->bytes, 1);
    const PufImage *m = &c->image;
    for (int y = 0; y < m->height; y++)
        for (int x = 0; x < m->width; x++)
            for (int k = 0; k < m->channels; k++)
                seen[GUARD + (size_t)y * m->row_stride + (size_t)x * m->pixel_stride +
                     (size_t)k * m->channel_stride] = 1;
    for (size_t i = 0; i < c->bytes; i++) CHECK(seen[i] || c->memory[i] == 0xa5);
    free(seen);
}

// Interpolates between a list and the one before it. -> the hash, with the result in it.
static uint64_t add_between(uint64_t hash, const PufShown *base, const PufShown *other) {
    PufWord *words = malloc((base->count ? base->count : 1) * sizeof(PufWord));
    float view[4];
    const int status = puf_interpolate(base, other, 0.375f, words, view);
    hash = add(hash, words, base->count * sizeof(PufWord));
    free(words);
    return add(add(hash, view, sizeof(view)), &status, sizeof(status));
}

static void *draw_all(void *given) {
    Run *run = given;
    uint64_t state = 1;
    run->hash = 14695981039346656037u, run->valid = 0;
    PufWord *last = NULL;
    PufShown before = {0};
    for (int k = 0; k < run->lists; k++) {
        PufWord words[WORDS];
        PufCanvas list = {.words = words, .room = WORDS};
        for (int n = below(&state, 12); n >= 0; n--) put_shape(&state, &list);
        if (below(&state, 2)) spoil(&state, &list);
        PufWord *exact = malloc((list.count ? list.count : 1) * sizeof(PufWord));
        memcpy(exact, words, list.count * sizeof(PufWord));
        Canvas c = make_image(&state);
        float view[4] = {0, 0, uniform(&state, 1, 64), 32};
        view[0] = uniform(&state, -4, 4), view[3] = uniform(&state, 1, 64);
        if (below(&state, 16) == 0) view[below(&state, 4)] = k % 2 ? NAN : -1;
        const int status = puf_raster(exact, list.count, view, &c.image);
        check_image(&c);
        const float x = place(&state), y = place(&state);
        const int32_t agent = puf_agent_at(exact, list.count, x, y, uniform(&state, 0, 2));
        float outline[4] = {0};
        puf_outline(exact, list.count, 0, outline);
        run->valid += status == 0;
        run->hash = add(run->hash, c.memory, c.bytes);
        run->hash = add(add(run->hash, &status, 4), &agent, 4);
        run->hash = add(run->hash, outline, sizeof(outline));
        PufShown now = {.words = exact, .count = list.count};
        memcpy(now.view, view, sizeof(view));
        if (last) run->hash = add_between(run->hash, &now, &before);
        free(c.memory), free(last);
        last = exact, before = now;
    }
    free(last);
    return NULL;
}

static void read_font(PufFont *font) {
    int32_t sides[2];
    CHECK(fread(sides, sizeof(sides), 1, stdin) == 1);
    CHECK(fread(&font->em, 2 * sizeof(float), 1, stdin) == 1);
    CHECK(fread(font->glyphs, sizeof(font->glyphs), 1, stdin) == 1);
    const size_t bytes = (size_t)sides[0] * (size_t)sides[1];
    uint8_t *distances = malloc(bytes); // kept until the end
    CHECK(fread(distances, bytes, 1, stdin) == 1);
    font->distances = distances, font->width = sides[0], font->height = sides[1];
    CHECK(puf_set_font(font) == 0);
}

int main(int argc, char **argv) {
    CHECK(argc == 3);
    const int threads = atoi(argv[2]);
    CHECK(1 <= threads && threads <= MOST_THREADS);
    static PufFont font;
    read_font(&font);
    Run runs[MOST_THREADS];
    pthread_t ids[MOST_THREADS];
    for (int i = 0; i < threads; i++) {
        runs[i] = (Run){.lists = atoi(argv[1])};
        CHECK(pthread_create(&ids[i], NULL, draw_all, &runs[i]) == 0);
    }
    for (int i = 0; i < threads; i++) pthread_join(ids[i], NULL);
    for (int i = 1; i < threads; i++) CHECK(runs[i].hash == runs[0].hash);
    printf("%d %d %016llx\n", (int)runs[0].valid, runs[0].lists - (int)runs[0].valid,
           (unsigned long long)runs[0].hash);
    free((void *)font.distances);
    return 0;
}
