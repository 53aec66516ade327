// pufferenv/external/mailbox_game.h - the spec of a game whose envs are Python objects, in this
// process or in workers. Other games compute a step; this one reads it from a mailbox.
//
// A runner (runners/, _gymnasium_runner.pxi) first steps all envs of a range and writes the results
// to the mailbox; then the engine steps the range. Where an episode ends, the runner has already
// begun the next one, so the mailbox holds two observations: the last of the old episode and the
// first of the new one.
#ifndef PUF_MAILBOX_GAME_H
#define PUF_MAILBOX_GAME_H

#include "pufferenv/contract/spec.h"

// Letters: E envs, A agents of all envs, *O one observation, C choices of all heads.
typedef struct PufMailbox {
    const float *reward;         // (A,)
    const uint8_t *done;         // (A,) PufDone of a life, PUF_LIVE if it ended as its episode did
    const uint8_t *alive;        // (A,) after the step, and after the reset if the episode ended
    const uint8_t *episode_done; // (E,) PufDone of the episode
    const int64_t *written_slot; // (A,) slot that the runner wrote the observation to; -1: `obs`
    const char *obs;             // (A, *O)
    const char *final_obs;       // (A, *O) the last observations of lives and episodes that ended
    const uint8_t *action_mask;  // (A, C) legal choices; only read for games with masks
} PufMailbox;

// The game's Config. The names of heads and axes belong to the caller.
typedef struct PufMailboxConfig {
    int32_t num_agents, obs_ndim, num_heads, num_axes;
    int32_t obs_dims[PUF_MAX_DIMS];
    PufHead heads[PUF_MAX_HEADS];
    PufAxis axes[PUF_MAX_AXES];
    PufMailbox mailbox; // if all NULL, the config only describes shapes, and no env can be made
} PufMailboxConfig;

// Fills a spec; name, doc and the spec itself belong to the caller.
void puf_mailbox_spec(PufSpec *spec, const char *name, const char *doc, PufDtype obs_dtype,
                      int has_mask);

#endif
