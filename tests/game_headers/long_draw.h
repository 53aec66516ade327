// long_draw - draws a list of 21 million words.
#define PUF_NAME "long_draw"
#define PUF_DOC "Draws a list of 21 million words."
#define PUF_VIEW(c) 10, 10
#include "faulty.inc"

static void env_draw(const Env *env, PufCanvas *c) {
    puf_rect(c, 0, 0, 10, 10, PUF_PANEL);
    if (c->agent == 0 || env->tick <= env->after) return;
    for (int i = 0; i < 3000000; i++) puf_rect(c, 0, 0, 1, 1, PUF_RED);
}
