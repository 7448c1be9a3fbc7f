/*
 * Events as JSON lines: {"event", "run", "item", "stage", ...}, each written at once. While the
 * reader is behind, progress is left out, and while it is far behind metrics and parts are; run_end
 * says how many.
 */
#include <string.h>

#include "base/json.h"
#include "base/log.h"
#include "cli/cli.h"

static const char *const event_names[] = {
    [SL_EVENT_RUN_BEGIN] = "run_begin",
    [SL_EVENT_TASK_BEGIN] = "task_begin",
    [SL_EVENT_TASK_READY] = "task_ready",
    [SL_EVENT_PROGRESS] = "progress",
    [SL_EVENT_METRIC] = "metric",
    [SL_EVENT_PART] = "part",
    [SL_EVENT_LOG] = "log",
    [SL_EVENT_RETRY] = "retry",
    [SL_EVENT_TASK_END] = "task_end",
    [SL_EVENT_ITEM_END] = "item_end",
    [SL_EVENT_NOTE] = "note",
    [SL_EVENT_CANCELLING] = "cancelling",
    [SL_EVENT_RUN_END] = "run_end",
};

/* The payload of a part: as JSON where it is, else as text. */
static json_t *part_json(const struct sl_event *ev) {
    json_t *value = NULL;
    if (sl_json_parse(ev->text, ev->len, &value, NULL) == 0)
        return value;
    sl_autofree char *text = sl_xstrndup(ev->text, ev->len);
    return sl_json_text(text);
}

static void add_details(json_t *line, const struct sl_jsonl *j, const struct sl_event *ev) {
    static const char *const item_states[] = {"open", "ok", "failed", "cancelled"};
    switch (ev->type) {
    case SL_EVENT_PROGRESS:
        sl_json_set(line, "fraction", ev->fraction >= 0 ? json_real(ev->fraction) : NULL);
        break;
    case SL_EVENT_METRIC:
        sl_json_set(line, "name", json_string(ev->port));
        sl_json_set(line, "value", json_real(ev->fraction));
        break;
    case SL_EVENT_PART:
        sl_json_set(line, "port", json_string(ev->port));
        sl_json_set(line, "data", part_json(ev));
        break;
    case SL_EVENT_LOG:
    case SL_EVENT_NOTE:
        sl_json_set(line, "level", json_string(sl_log_level_name(ev->level)));
        break;
    case SL_EVENT_RETRY:
        sl_json_set(line, "class", json_string(sl_class_name(ev->cls)));
        sl_json_set(line, "delay_s", json_real(ev->seconds));
        break;
    case SL_EVENT_TASK_END:
        sl_json_set(line, "state", json_string(sl_task_state_name(ev->state)));
        sl_json_set(line, "class",
                    ev->text && ev->cls ? json_string(sl_class_name(ev->cls)) : NULL);
        sl_json_set(line, "seconds", json_real(ev->seconds));
        sl_json_set(line, "reused", ev->reused ? json_true() : NULL);
        break;
    case SL_EVENT_ITEM_END:
        sl_json_set(line, "state", json_string(item_states[ev->item_state]));
        break;
    case SL_EVENT_RUN_END:
        sl_json_set(line, "dropped", j->n_dropped ? json_integer(j->n_dropped) : NULL);
        sl_json_set(line, "seconds", json_real(ev->seconds));
        break;
    case SL_EVENT_TASK_READY:
        sl_json_set(line, "seconds", json_real(ev->seconds));
        break;
    default:
        break;
    }
}

static bool is_left_out(const struct sl_jsonl *j, const struct sl_event *ev) {
    return ev->type == SL_EVENT_PROGRESS                              ? sl_outlet_is_behind(j->out)
           : ev->type == SL_EVENT_METRIC || ev->type == SL_EVENT_PART ? sl_outlet_is_full(j->out)
                                                                      : false;
}

static void on_event(void *jsonl, const struct sl_event *ev) {
    struct sl_jsonl *j = jsonl;
    if (is_left_out(j, ev)) {
        j->n_dropped++;
        return;
    }
    sl_autojson json_t *line = json_object();
    sl_json_set(line, "event", json_string(event_names[ev->type]));
    sl_json_set(line, "run", json_string(j->run_id));
    sl_json_set(line, "item", ev->item >= 0 ? sl_json_text(j->items[ev->item].name) : NULL);
    sl_json_set(line, "stage",
                ev->stage >= 0 ? json_string(j->plan->stages[ev->stage].name) : NULL);
    sl_json_set(line, "attempt", ev->attempt ? json_integer(ev->attempt) : NULL);
    add_details(line, j, ev);
    if (ev->type != SL_EVENT_PART)
        sl_json_set(line, "text", ev->text && *ev->text ? sl_json_text(ev->text) : NULL);
    sl_autofree char *text = sl_json_line(line), *whole = sl_xasprintf("%s\n", text);
    sl_outlet_put(j->out, whole, strlen(whole));
}

static void on_attach(void *jsonl, struct sl_loop *loop, const struct sl_log *log) {
    sl_outlet_attach(((struct sl_jsonl *)jsonl)->out, loop, log);
}

static bool is_full(void *jsonl) {
    return sl_outlet_is_full(((struct sl_jsonl *)jsonl)->out);
}

struct sl_observer sl_jsonl_observer(struct sl_jsonl *j) {
    return (struct sl_observer){
        .event = on_event, .attach = on_attach, .is_full = is_full, .ctx = j};
}
