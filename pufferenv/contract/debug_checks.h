// pufferenv/contract/debug_checks.h - the checks of a debug object after each call of a game.
//
// game.c includes it. A game observes into scratch memory filled with 0xff, which is a NaN in every
// float, with a guard after each agent. A write past the end, an entry left unwritten and a NaN are
// found before anything reaches the pool. The first fault stays in io->note; the engine raises it.
#ifndef PUF_DEBUG_CHECKS_H
#define PUF_DEBUG_CHECKS_H

#include <math.h>
#include <stdlib.h>

enum { PUF_GUARD = 64 }; // bytes after each agent's observation and mask, at least

static int untouched(const char *bytes, size_t count) {
    for (size_t i = 0; i < count; i++)
        if ((unsigned char)bytes[i] != 0xff) return 0;
    return 1;
}

static int finite_obs(const obs_t *obs, size_t count) {
    for (size_t i = 0; i < count; i++)
        if (!isfinite((double)obs[i])) return 0;
    return 1;
}

static size_t guarded(size_t bytes) { return (bytes / PUF_GUARD + 2) * PUF_GUARD; }

static void observe_one(const Env *env, PufIO *io) {
    const PufIO real = *io;
    const size_t n = (size_t)io->num_agents;
    const size_t obs_step = guarded(real.obs_stride), mask_step = guarded(real.mask_stride);
    char *obs = malloc(n * obs_step), *mask = malloc(n * mask_step);
    int64_t *slots = malloc(n * sizeof(int64_t));
    if (!obs || !mask || !slots) {
        PUF_RULE(io, -1, 0, "could not be checked: out of memory");
        goto done;
    }
    memset(obs, 0xff, n * obs_step);
    memset(mask, 0xff, n * mask_step);
    for (size_t a = 0; a < n; a++) {
        memset(mask + a * mask_step, 1, real.mask_stride);
        slots[a] = (int64_t)a;
    }
    io->obs = obs, io->obs_stride = obs_step;
    io->mask = (uint8_t *)mask, io->mask_stride = mask_step;
    io->slot = slots;
    env_observe(env, io);
    io->obs = real.obs, io->obs_stride = real.obs_stride;
    io->mask = real.mask, io->mask_stride = real.mask_stride;
    io->slot = real.slot;
    for (size_t a = 0; a < n; a++) {
        const char *seen = obs + a * obs_step, *legal = mask + a * mask_step;
        PUF_RULE(io, (int)a, untouched(seen + real.obs_stride, obs_step - real.obs_stride),
                 "writes past the end of an observation");
        PUF_RULE(io, (int)a, untouched(legal + real.mask_stride, mask_step - real.mask_stride),
                 "writes past the end of a mask");
        if (!io->alive[a]) continue;
        PUF_RULE(io, (int)a,
                 finite_obs((const obs_t *)(const void *)seen, real.obs_stride / sizeof(obs_t)),
                 "has a NaN, an infinity or an unwritten entry in an observation");
        memcpy(io->obs + (size_t)io->slot[a] * real.obs_stride, seen, real.obs_stride);
        if (io->mask)
            memcpy(io->mask + (size_t)io->slot[a] * real.mask_stride, legal, real.mask_stride);
    }
done:
    free(obs), free(mask), free(slots);
}

static void check_step(PufIO *io) {
    for (int a = 0; a < io->num_agents; a++) {
        PUF_RULE(io, a, isfinite(io->rewards[a]), "gives a reward that is NaN or infinite");
        PUF_RULE(io, a, io->alive[a] || io->row_end[a] < 0 || io->dones[a] == PUF_TERMINAL,
                 "leaves in env_step without puf_die or puf_cut");
    }
}

static void check_reset(PufIO *io) {
    for (int a = 0; a < io->num_agents; a++)
        PUF_RULE(io, a, io->dones[a] == PUF_LIVE, "ends a life in env_reset");
    PUF_RULE(io, -1, !io->note->over, "ends an episode in env_reset");
}
#endif
