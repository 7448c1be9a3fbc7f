/* The journal of a batch as a core writes it, whose items all came to their end but the last. */
#ifndef TESTS_UNIT_RUN_MADE_JOURNAL_H
#define TESTS_UNIT_RUN_MADE_JOURNAL_H

#include <stdio.h>

#include "base/str.h"
#include "run/journal.h"

static void made_record(struct sl_journal *j, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));
static void made_record(struct sl_journal *j, const char *fmt, ...) {
    sl_autostr struct sl_str text = {0};
    json_t *record = NULL;
    va_list args;
    va_start(args, fmt);
    sl_str_vaddf(&text, fmt, args);
    va_end(args);
    if (sl_json_parse(text.data, text.len, &record, NULL) == 0)
        sl_journal_add(j, record);
}

static void made_run(struct sl_journal *j, int n_items, int n_stages) {
    sl_autostr struct sl_str text = {0};
    sl_str_add(
        &text,
        "{\"type\": \"run\", \"id\": \"20260131-081500-0001\", \"pipeline\": \"p\", \"stages\": [");
    for (int s = 0; s < n_stages; s++)
        sl_str_addf(
            &text,
            "%s{\"name\": \"stage%d\", \"use\": \"x/y\", \"build\": \"b\", \"output\": false}",
            s ? ", " : "", s);
    sl_str_add(&text, "], \"items\": [");
    for (int i = 0; i < n_items; i++)
        sl_str_addf(
            &text, "%s{\"name\": \"clip-%06d\", \"file\": \"/data/recordings/2026/clip-%06d.wav\"}",
            i ? ", " : "", i, i);
    sl_str_add(&text, "]}");
    made_record(j, "%s", text.data);
}

static void made_task(struct sl_journal *j, int item, int stage, int worker) {
#define MADE_HEAD "{\"type\": \"%s\", \"item\": \"clip-%06d\", \"stage\": \"stage%d\", "
    made_record(j,
                MADE_HEAD
                "\"attempt\": 1, \"worker\": %d, \"pid\": 412, \"cpus\": 1, \"device\": \"cpu\", "
                "\"log\": \"items/clip-%06d/stage%d.1.log\"}",
                "attempt", item, stage, worker, item, stage);
    made_record(
        j,
        MADE_HEAD
        "\"attempt\": 1, \"class\": \"ok\", \"wall_s\": 0.224, \"metrics\": {\"audio_s\": 29.95}}",
        "attempt_end", item, stage);
    made_record(
        j,
        MADE_HEAD
        "\"port\": \"text\", \"port_type\": \"text/1\", \"file\": "
        "\"items/clip-%06d/stage%d.text.txt\", \"size\": 3211, \"xxh3\": \"8f3a0123456789ab\"}",
        "artifact", item, stage, item, stage);
    made_record(j, MADE_HEAD "\"state\": \"done\", \"attempts\": 1}", "task", item, stage);
    made_record(
        j,
        "{\"type\": \"worker_end\", \"worker\": %d, \"stage\": \"stage%d\", \"item\": "
        "\"clip-%06d\", "
        "\"attempt\": 1, \"exit\": 0, \"wall_s\": 0.3, \"cpu_s\": 0.2, \"peak_bytes\": 39950000}",
        worker, stage, item);
}

/* Adds it to `j`, which has to be written or read from j->pending. */
static void made_journal(struct sl_journal *j, int n_items, int n_stages) {
    made_run(j, n_items, n_stages);
    for (int i = 0; i < n_items; i++) {
        for (int s = 0; s < n_stages; s++)
            made_task(j, i, s, i * n_stages + s + 1);
        if (i == n_items - 1)
            break;
        made_record(j,
                    "{\"type\": \"output\", \"item\": \"clip-%06d\", \"name\": \"txt\", \"path\": "
                    "\"/out/clip-%06d.txt\"}",
                    i, i);
        made_record(j, "{\"type\": \"item\", \"item\": \"clip-%06d\", \"state\": \"ok\"}", i);
    }
}

#endif
