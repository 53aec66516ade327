// pufferenv/external/mailbox_game.h - the spec of a game that is played elsewhere: by Python envs, in this
// process or in workers. The engine reads a mailbox where another game would compute.
//
// Who plays (the runner) has all envs of a range act, leaves what came of it in the mailbox, and only
// then is the range stepped. Where an episode ended the runner has begun the next one already, so the
// mailbox holds two observations: the last of the old episode, the first of the new one.
#ifndef PUF_MAILBOX_GAME_H
#define PUF_MAILBOX_GAME_H

#include "pufferenv/contract/spec.h"

// Letters: E envs, A agents of all envs, *O one observation, C the choices of all heads.
typedef struct PufMailbox {
    const float *reward;    // (A,)
    const uint8_t *done;    // (A,) PufDone of a life that ended by itself
    const uint8_t *alive;   // (A,) after the step, and after the reset where one was due
    const uint8_t *over;    // (E,) PufDone of the episode
    const int64_t *written; // (A,) slot that the runner wrote the observation to; -1: to `obs`
    const char *obs;        // (A, *O)
    const char *final;      // (A, *O) what ended lives and episodes were last seen as
    const uint8_t *legal;   // (A, C) choices; not read of a game without masks
} PufMailbox;

// The game's Config. The names of heads and axes belong to whoever made it.
typedef struct PufMailboxConfig {
    int32_t num_agents, obs_ndim, num_heads, num_axes;
    int32_t obs_dims[PUF_MAX_DIMS];
    PufHead heads[PUF_MAX_HEADS];
    PufAxis axes[PUF_MAX_AXES];
    PufMailbox mailbox; // NULL: good for shapes, not to be played
} PufMailboxConfig;

// Fills a spec; name, doc and the spec itself belong to the caller.
void puf_mailbox_spec(PufSpec *spec, const char *name, const char *doc, PufDtype obs_dtype,
                      int has_mask);

#endif
