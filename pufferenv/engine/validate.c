// pufferenv/engine/validate.c - faults that objects report, and the invariants of agents.
#include <string.h>

#include "pufferenv/engine/engine_internal.h"

// -> name of the first discrete head of which no choice is legal for this agent, or NULL.
static const char *masked_head(const PufEngine *e, const PufIO *io, int a) {
    const uint8_t *mask = io->mask + (size_t)io->slot[a] * io->mask_stride;
    for (int k = 0; k < e->num_heads; mask += e->heads[k++].n)
        if (!memchr(mask, 1, (size_t)e->heads[k].n)) return e->heads[k].name;
    return NULL;
}

static int find_masked_head(PufEngine *e, int32_t begin, int32_t end) {
    for (int32_t i = begin; i < end; i++)
        for (int a = 0; a < e->env_agents; a++) {
            const PufIO io = puf_io(&e->io, (size_t)i);
            const char *head = io.alive[a] ? masked_head(e, &io, a) : NULL;
            if (!head) continue;
            e->fault = (PufFault){.text = "masks every choice of",
                                  .head = head,
                                  .env = i,
                                  .agent = a,
                                  .step = e->steps};
            return 1;
        }
    return 0;
}

PufStepStatus puf_engine_check_faults(PufEngine *e, int32_t begin, int32_t end) {
    if (e->spec->faults)
        for (int32_t i = begin; i < end; i++) {
            PufNote *note = e->notes + i;
            if (!note->fault) continue;
            e->fault = (PufFault){
                .text = note->fault, .env = i, .agent = note->fault_agent, .step = e->steps};
            note->fault = NULL;
            return PUF_STEP_FAULT;
        }
    if (e->spec->debug && e->spec->has_mask && find_masked_head(e, begin, end))
        return PUF_STEP_FAULT;
    if (e->options.check) {
        const char *text = puf_engine_check(e);
        if (text) {
            e->fault = (PufFault){.text = text, .env = -1, .agent = -1, .step = e->steps};
            return PUF_STEP_INVARIANT;
        }
    }
    return PUF_STEP_OK;
}

const char *puf_engine_check(const PufEngine *e) {
    if (e->options.mode != PUF_ROWS) return NULL;
    const char *text = puf_rows_check(&e->rows);
    if (text) return text;
    const int64_t horizon = e->options.horizon;
    int32_t live = 0;
    for (int64_t a = 0; a < e->num_agents; a++) {
        const int64_t slot = e->arrays.slot[a], row_end = e->arrays.row_end[a];
        const int64_t sink = puf_sink(e, a / e->env_agents);
        if (!e->arrays.alive[a]) {
            if (slot != sink || row_end != -1) return "a dead agent has a row";
            if (e->arrays.bootstrap_slot[a] >= 0) return "a dead agent has a bootstrap slot";
            continue;
        }
        live += 1;
        if (row_end <= 0 || row_end > e->num_slots || row_end % horizon ||
            slot < row_end - horizon || slot >= row_end)
            return "a live agent's slot is not in its row";
        if (e->rows.owner[row_end / horizon - 1] != a) return "a live agent does not own its row";
    }
    if (live != e->num_live) return "num_live is not the number of live agents";
    if (live != e->rows.num_open) return "the numbers of open rows and live agents differ";
    if (e->rows.num_open + e->rows.abandoned.count > e->num_agents)
        return "there are more open and abandoned rows than agents";
    return NULL;
}
