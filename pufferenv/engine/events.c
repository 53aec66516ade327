// pufferenv/engine/events.c - the rest of a step for envs in which more than time happened.
//
// With rows, an agent has a row exactly if it was alive when the step began (row_end >= 0).
// Together with `alive` after the step, and after the reset of an ended episode, there are four
// cases:
//   had a row, alive:  continues at the next slot; if its row is full, in a free row
//   had a row, dead:   its row is full, or abandoned at the next slot
//   no row, alive:     spawned: continues the row abandoned longest, else takes a free row
//   no row, dead:      nothing
// All rows are closed before any is handed out, both in env order, then agent order.
#include <string.h>

#include "pufferenv/engine/engine_internal.h"

enum { EVENT_GRAIN = 16 }; // envs per thread: a few resets already pay for waking a thread
static const int64_t NO_ROW = -1, NEEDS_ROW = -2; // row_end: dead or spawned; its row is full

void puf_observe_events(void *engine, size_t begin, size_t end) {
    PufEngine *e = engine;
    e->spec->observe(e->envs, &e->io, e->events + begin, end - begin);
}

// Clears what the game reported in this step, once it is handled.
static void clear_report(PufIO *io) {
    memset(io->dones, 0, (size_t)io->num_agents);
    io->note->over = io->note->event = io->note->record = 0;
}

// --- without rows: PUF_SAME_STEP, PUF_NEXT_STEP, PUF_DISABLED -----------------------------
static void begin_episode(PufEngine *e, uint32_t i) {
    e->spec->reset(e->envs, &e->io, &i, 1);
    e->spec->observe(e->envs, &e->io, &i, 1);
}

// All agents of the env observe into final_observation and final_mask.
static void observe_final(PufEngine *e, uint32_t i) {
    const size_t bytes = (size_t)(e->env_agents * e->obs_stride);
    PufIO first = e->io;
    first.obs = e->arrays.final_observation;
    first.mask = e->arrays.final_mask;
    memset(first.obs + i * bytes, 0, bytes);
    e->spec->observe(e->envs, &first, &i, 1);
}

// Reports ends, stores final observations and resets one env, as its mode says.
static void finish_flat(PufEngine *e, uint32_t i) {
    PufIO at = puf_io(&e->io, i), *const io = &at;
    PufNote *note = io->note;
    const PufArrays *to = &e->arrays;
    const int same_step = e->options.mode == PUF_SAME_STEP;
    const int64_t first = (int64_t)i * io->num_agents;
    if (note->idle) { // the episode ended in an earlier step
        memset(io->rewards, 0, (size_t)io->num_agents * sizeof(float));
        if (e->options.mode == PUF_DISABLED) return;
        note->idle = 0;
        begin_episode(e, i);
    } else {
        int cut = 0;
        for (int a = 0; a < io->num_agents; a++) {
            if (io->row_end[a] < 0) continue;
            const uint8_t done = io->dones[a] ? io->dones[a] : note->over;
            to->termination[first + a] = done == PUF_TERMINAL;
            to->truncation[first + a] = done == PUF_TRUNCATED;
            to->has_final[first + a] = same_step && (note->over || io->dones[a] == PUF_TRUNCATED);
            cut |= io->dones[a] == PUF_TRUNCATED;
        }
        if (note->over || note->record) puf_take_log(e, i);
        if (same_step && (note->over || cut)) observe_final(e, i);
        if (note->over && same_step) {
            clear_report(io);
            begin_episode(e, i);
        } else {
            note->idle = note->over != 0;
            e->spec->observe(e->envs, &e->io, &i, 1);
            for (int a = 0; a < io->num_agents && !note->over; a++) {
                const int is_cut = io->dones[a] == PUF_TRUNCATED;
                if (is_cut) io->alive[a] = 0;
                // A dead agent observes zeros. Without final observations a cut agent's last one
                // is returned here.
                if (!io->alive[a] && (same_step || !is_cut))
                    memset(io->obs + io->slot[a] * e->obs_stride, 0, (size_t)e->obs_stride);
            }
        }
    }
    for (int a = 0; a < io->num_agents; a++) io->row_end[a] = io->alive[a] ? INT64_MAX : NO_ROW;
    to->needs_reset[i] = note->idle;
    clear_report(io);
}

static void finish_flat_range(void *engine, size_t begin, size_t end) {
    PufEngine *e = engine;
    for (size_t k = begin; k < end; k++) finish_flat(e, e->events[k]);
}

static void finish_all_flat(PufEngine *e, size_t count) {
    puf_parallel_for(e->threads, finish_flat_range, e, count, EVENT_GRAIN);
    for (size_t k = 0; k < count; k++) {
        const uint32_t i = e->events[k];
        const uint8_t *final = e->arrays.has_final + (size_t)i * e->env_agents;
        e->any_final |= memchr(final, 1, (size_t)e->env_agents) != NULL;
        if (e->arrays.has_final_log[i]) puf_count_log(e, i);
    }
}

// --- rows, phase (a): the slot left behind, final observations, resets --------------------
// Assigns final slots before the parallel part, in env order, so that they do not depend on timing.
static void place_finals(PufEngine *e, size_t count) {
    for (size_t k = 0; k < count; k++) {
        const PufIO io = puf_io(&e->io, e->events[k]);
        e->final_at[k] = e->num_final;
        if (!io.note->event) continue;
        for (int a = 0; a < io.num_agents; a++) {
            const uint8_t done = io.dones[a] ? io.dones[a] : io.note->over;
            e->num_final += io.row_end[a] >= 0 && done == PUF_TRUNCATED;
        }
    }
    e->final_at[count] = e->num_final;
}

// Agents whose life was truncated observe into their final slots, all others into the sink.
static void observe_finals(PufEngine *e, uint32_t i, int32_t final) {
    const PufIO io = puf_io(&e->io, i);
    const int64_t agent = (int64_t)i * io.num_agents;
    for (int a = 0; a < io.num_agents; a++) {
        const int64_t last = io.slot[a] - 1;
        e->final_slots[agent + a] = puf_sink(e, i);
        if (io.row_end[a] < 0 || e->columns.pool_done[last] != PUF_TRUNCATED) continue;
        e->arrays.final_slot[final] = last;
        e->arrays.final_agent[final] = (int32_t)(agent + a);
        e->final_slots[agent + a] = e->num_slots + final++;
    }
    PufIO first = e->io;
    first.slot = e->final_slots;
    e->spec->observe(e->envs, &first, &i, 1);
}

// Completes the transition in the slot that each agent left, stores final observations, resets.
static void leave_slots(void *engine, size_t begin, size_t end) {
    PufEngine *e = engine;
    for (size_t k = begin; k < end; k++) {
        const uint32_t i = e->events[k];
        PufIO at = puf_io(&e->io, i), *const io = &at;
        uint8_t *life_start = e->arrays.life_start + (size_t)i * e->env_agents;
        for (int a = 0; a < io->num_agents; a++) {
            if (io->row_end[a] < 0) continue;
            e->columns.pool_reward[io->slot[a] - 1] = io->rewards[a];
            e->columns.pool_done[io->slot[a] - 1] = io->dones[a] ? io->dones[a] : io->note->over;
        }
        if (!io->note->event) continue; // only a row is full
        // Final observations come before the reset, which changes the env's state.
        if (e->final_at[k + 1] > e->final_at[k]) observe_finals(e, i, e->final_at[k]);
        for (int a = 0; a < io->num_agents; a++)
            if (io->dones[a] == PUF_TRUNCATED) io->alive[a] = 0; // by puf_cut
        if (io->note->over || io->note->record) puf_take_log(e, i);
        const int over = io->note->over;
        clear_report(io);
        if (over) e->spec->reset(e->envs, &e->io, &i, 1);
        // A life starts for an agent that had no row, or whose last step ended a life.
        for (int a = 0; a < io->num_agents; a++)
            life_start[a] =
                io->alive[a] && (io->row_end[a] < 0 || e->columns.pool_done[io->slot[a] - 1]);
    }
}

// --- rows, phase (b): one thread closes rows and hands them out ----------------------------
// Fills or abandons the rows that agents leave.
static void close_rows(PufEngine *e, uint32_t i) {
    PufIO at = puf_io(&e->io, i), *const io = &at;
    const int32_t horizon = e->options.horizon;
    for (int a = 0; a < io->num_agents; a++) {
        if (io->row_end[a] < 0) continue;
        const int full = io->slot[a] == io->row_end[a];
        if (io->alive[a] && !full) continue;
        const int32_t row = (int32_t)(io->row_end[a] / horizon) - 1;
        if (full) puf_rows_fill(&e->rows, row);
        else puf_rows_abandon(&e->rows, row, (int32_t)(io->slot[a] - (int64_t)row * horizon));
        if (io->alive[a]) {
            // The life continues in another row, so the last slot lacks the next value.
            const int64_t last = io->slot[a] - 1;
            if (e->columns.pool_done[last] == PUF_LIVE)
                e->arrays.bootstrap_slot[(int64_t)i * io->num_agents + a] = last;
            io->row_end[a] = NEEDS_ROW;
        } else {
            io->slot[a] = puf_sink(e, i);
            io->row_end[a] = NO_ROW;
            e->num_live -= 1;
        }
    }
}

// Gives a row to each live agent that has none.
static void hand_out_rows(PufEngine *e, uint32_t i) {
    PufIO at = puf_io(&e->io, i), *const io = &at;
    const int64_t horizon = e->options.horizon;
    for (int a = 0; a < io->num_agents; a++) {
        if (!io->alive[a] || io->row_end[a] >= 0) continue;
        const int32_t agent = (int32_t)((int64_t)i * io->num_agents + a);
        const int spawned = io->row_end[a] == NO_ROW;
        const int32_t row = spawned ? puf_rows_take_abandoned(&e->rows, agent)
                                    : puf_rows_take_free(&e->rows, agent);
        uint8_t *starts = e->arrays.pool_segment_start + row * horizon;
        if (e->rows.used[row] == 0) memset(starts, 0, (size_t)horizon);
        starts[e->rows.used[row]] = 1;
        io->slot[a] = row * horizon + e->rows.used[row];
        io->row_end[a] = (row + 1) * horizon;
        e->num_live += spawned;
    }
}

void puf_handle_events(PufEngine *e, size_t count) {
    if (e->options.mode != PUF_ROWS) {
        finish_all_flat(e, count);
        return;
    }
    place_finals(e, count);
    puf_parallel_for(e->threads, leave_slots, e, count, EVENT_GRAIN);
    for (size_t k = 0; k < count; k++) close_rows(e, e->events[k]);
    for (size_t k = 0; k < count; k++) {
        hand_out_rows(e, e->events[k]);
        if (e->arrays.has_final_log[e->events[k]]) puf_count_log(e, e->events[k]);
    }
    puf_parallel_for(e->threads, puf_observe_events, e, count, EVENT_GRAIN);
}
