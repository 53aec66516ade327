// empty_look - shows an area without a width.
#define PUF_NAME "empty_look"
#define PUF_DOC "Shows an area without a width."
#define PUF_VIEW(c) 10, 10
#include "faulty.inc"

static void env_draw(const Env *env, PufCanvas *c) {
    puf_rect(c, 0, 0, 10, 10, PUF_PANEL);
    if (c->agent == 0 || env->tick <= env->after) return;
    puf_look(c, 5, 5, 0, 1);
}
