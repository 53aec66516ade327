// pufferenv/engine/engine_internal.h - functions that only the engine's own C files call.
#ifndef PUF_ENGINE_INTERNAL_H
#define PUF_ENGINE_INTERNAL_H

#include "pufferenv/engine/engine.h"

// -> the sink slot of this env's dead agents, after the pool and the final slots. Nothing reads it.
static inline int64_t puf_sink(const PufEngine *engine, int64_t env) {
    return engine->num_slots + engine->options.num_finals + env;
}

// events.c: handles envs engine->events[0, count) after they stepped.
void puf_handle_events(PufEngine *engine, size_t count);
// events.c: envs engine->events[begin, end) observe. A PufRange.
void puf_observe_events(void *engine, size_t begin, size_t end);

// episode_log.c: moves the env's log to final_log; safe in parallel for different envs.
void puf_take_log(PufEngine *engine, uint32_t env);
// episode_log.c: adds final_log of the env to the statistics; one thread only.
void puf_count_log(PufEngine *engine, uint32_t env);

#endif
