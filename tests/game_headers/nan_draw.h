// nan_draw - draws a disc at no finite place.
#define PUF_NAME "nan_draw"
#define PUF_DOC "Draws a disc at no finite place."
#define PUF_VIEW(c) 10, 10
#include "faulty.inc"

static void env_draw(const Env *env, PufCanvas *c) {
    puf_rect(c, 0, 0, 10, 10, PUF_PANEL);
    if (c->agent == 0 || env->tick <= env->after) return;
    puf_disc(c, NAN, 5, 1, PUF_RED);
}
