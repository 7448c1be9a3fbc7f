/*
 * What the failures of a task have led to goes along with the run: the journal's `retry` records
 * have it as `carry`, so that a core that goes on neither tries again what did not fit, nor begins
 * to count anew what kills workers. Cards go by their UUIDs; one that is gone is forgotten.
 */
#include <stdlib.h>
#include <string.h>

#include "sched/run_internal.h"

static void set_bytes(json_t *o, const char *key, uint64_t value) {
    sl_json_set(o, key, value ? json_integer((json_int_t)value) : NULL);
}

json_t *sl_carry_json(const struct run *run, const struct sl_task *task) {
    json_t *o = json_object();
    set_bytes(o, "n_steps", (uint64_t)task->n_steps);
    sl_json_set(o, "steps", task->steps ? json_string(task->steps) : NULL);
    set_bytes(o, "batch", (uint64_t)task->batch);
    set_bytes(o, "memory", task->memory);
    set_bytes(o, "gpu_memory", task->gpu_memory);
    sl_json_set(o, "on_cpu", task->on_cpu ? json_true() : NULL);
    sl_json_set(o, "avoid", task->avoid ? sl_admission_card_names(run, task->avoid) : NULL);
    set_bytes(o, "kills", (uint64_t)task->kills);
    sl_json_set(o, "deaths", task->deaths ? sl_json_text(task->deaths) : NULL);
    sl_json_set(o, "last_log",
                task->last_log ? sl_json_text(task->last_log + strlen(run->places.run) + 1) : NULL);
    if (json_object_size(o) > 0)
        return o;
    json_decref(o);
    return NULL;
}

static uint64_t bytes_of(const json_t *o, const char *key, uint64_t most) {
    json_int_t value = json_integer_value(json_object_get(o, key));
    return value <= 0 ? 0 : (uint64_t)value > most ? most : (uint64_t)value;
}

static char *text_of(const json_t *o, const char *key) {
    const char *text = sl_json_str(o, key, NULL);
    return text ? sl_xstrdup(text) : NULL;
}

void sl_carry_restore(const struct run *run, struct sl_task *task, const json_t *o) {
    sl_autofree char *log = text_of(o, "last_log");
    task->n_steps = (int)bytes_of(o, "n_steps", UINT16_MAX);
    task->steps = text_of(o, "steps");
    task->batch = (int)bytes_of(o, "batch", INT32_MAX);
    task->memory = bytes_of(o, "memory", UINT64_MAX);
    task->gpu_memory = bytes_of(o, "gpu_memory", UINT64_MAX);
    task->on_cpu = json_is_true(json_object_get(o, "on_cpu"));
    task->avoid = sl_admission_cards_named(run, json_object_get(o, "avoid"));
    task->kills = (int)bytes_of(o, "kills", UINT16_MAX);
    task->deaths = text_of(o, "deaths");
    task->last_log = log ? sl_xasprintf("%s/%s", run->places.run, log) : NULL;
}
