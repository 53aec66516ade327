// tests/c/fuzz.c - random play of one game through the whole engine, for the sanitizers.
//
//     FILES="tests/c/fuzz.c pufferenv/contract/game.c pufferenv/engine/*.c"
//     cc -fsanitize=address,undefined -I. -DPUF_GAME='"ocean/squared.h"' -pthread $FILES -lm
//     ./a.out STEPS [THREADS]
//
// Prints a hash of all observations, rewards and slots for each mode, with THREADS threads. Without
// THREADS it plays with three threads and with one, whose hashes must be equal.
#include "tests/c/random_play.h"

extern const PufSpec puf_spec;

static uint64_t play(int mode, int threads, int steps) {
    enum { ENVS = 37 };
    void *config = default_config(&puf_spec);
    const int agents = ENVS * puf_spec.num_agents(config), batch = agents / 2 + 1;
    const PufOptions options = {
        .mode = mode,
        .num_envs = ENVS,
        .num_threads = threads,
        .horizon = 7,
        .num_rows = batch + 2 * agents,
        .batch_rows = batch,
        .num_finals = 2 * agents,
        .check = 1,
    };
    Player player;
    const char *why = player_open(&player, &puf_spec, config, &options);
    if (why) stop(why);
    PufEngine *e = &player.e;
    uint64_t h = 0xcbf29ce484222325u;
    random_state = 1;
    int32_t *rows = malloc((size_t)batch * sizeof(int32_t));
    for (int s = 0; s < steps; s++) {
        player_choose(&player);
        for (int64_t a = 0; mode == PUF_ROWS && a < e->num_agents; a++)
            e->arrays.bootstrap_slot[a] = -1;
        if (mode == PUF_ROWS && options.num_finals - e->num_final < agents) e->num_final = 0;
        player_step(&player);
        h = hash(h, e->arrays.reward, (size_t)e->num_agents * sizeof(float));
        h = hash(h, e->arrays.alive, (size_t)e->num_agents);
        h = hash(h, e->arrays.slot, (size_t)e->num_agents * sizeof(int64_t));
        if (mode == PUF_DISABLED && s % 50 == 49 && puf_engine_reset(e, NULL, NULL, &why))
            stop("reset");
        while (mode == PUF_ROWS && e->rows.full.count >= batch) {
            puf_rows_oldest(&e->rows, batch, rows);
            for (int r = 0; r < batch; r++)
                h = hash(h, e->arrays.observation + rows[r] * 7 * e->obs_stride,
                         (size_t)(7 * e->obs_stride));
            puf_rows_release(&e->rows, batch);
        }
    }
    player_close(&player);
    free(rows), free(config);
    return h;
}

int main(int argc, char **argv) {
    const int steps = argc > 1 ? atoi(argv[1]) : 1000, threads = argc > 2 ? atoi(argv[2]) : 0;
    for (int mode = PUF_ROWS; mode <= PUF_DISABLED; mode++) {
        const uint64_t seen = play(mode, threads ? threads : 3, steps);
        if (!threads && play(mode, 1, steps) != seen) stop("one and three threads differ");
        printf("%d %016llx\n", mode, (unsigned long long)seen);
    }
    return 0;
}
