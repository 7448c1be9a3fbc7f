/*
 * The Trace Event Format of Chromium ("Trace Event Format", Google, 2016): complete events with
 * times in microseconds. The run is the process, a lane a thread.
 */
#include "report/lanes.h"
#include "report/report.h"

#include <stdint.h>
#include <stdlib.h>

#include "base/mem.h"

static void add_event(struct sl_str *out, json_t *event, bool last) {
    sl_autofree char *line = sl_json_line(event);
    sl_str_addf(out, "%s%s\n", line, last ? "" : ",");
    json_decref(event);
}

static json_t *copy(const json_t *object, const char *key) {
    json_t *value = json_object_get(object, key);
    return value ? json_incref(value) : json_null();
}

static json_t *attempt_event(const struct sl_bar *bar) {
    sl_autofree char *name = sl_xasprintf("%s: %s", sl_json_str(bar->stage, "name", ""),
                                          sl_json_str(bar->item, "name", ""));
    return json_pack("{s:s, s:s, s:s, s:I, s:I, s:i, s:i, s:{s:o, s:o, s:o, s:o, s:o}}", "name",
                     name, "cat", sl_json_str(bar->attempt, "class", "unfinished"), "ph", "X", "ts",
                     (json_int_t)(bar->start_s * 1e6), "dur",
                     (json_int_t)((bar->end_s - bar->start_s) * 1e6), "pid", 1, "tid",
                     bar->lane + 1, "args", "attempt", copy(bar->attempt, "attempt"), "class",
                     copy(bar->attempt, "class"), "message", copy(bar->attempt, "message"), "cpu_s",
                     copy(bar->attempt, "cpu_s"), "peak_bytes", copy(bar->attempt, "peak_bytes"));
}

void sl_report_trace(const json_t *state, struct sl_str *out) {
    struct sl_lanes lanes;
    sl_lanes_init(&lanes, state, SIZE_MAX);
    sl_str_add(out, "{\"displayTimeUnit\": \"ms\", \"traceEvents\": [\n");
    for (size_t i = 0; i < lanes.n_bars; i++)
        add_event(out, attempt_event(&lanes.bars[i]), false);
    for (int i = 0; i < lanes.n_lanes; i++) {
        sl_autofree char *name = sl_xasprintf("lane %d", i + 1);
        add_event(out,
                  json_pack("{s:s, s:s, s:i, s:i, s:{s:s}}", "name", "thread_name", "ph", "M",
                            "pid", 1, "tid", i + 1, "args", "name", name),
                  false);
    }
    sl_autofree char *run =
        sl_xasprintf("%s %s", sl_json_str(state, "pipeline", ""), sl_json_str(state, "id", ""));
    add_event(out,
              json_pack("{s:s, s:s, s:i, s:{s:s}}", "name", "process_name", "ph", "M", "pid", 1,
                        "args", "name", run),
              true);
    sl_str_add(out, "]}\n");
    sl_lanes_finish(&lanes);
}
