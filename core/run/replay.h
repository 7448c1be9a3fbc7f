/*
 * What a run had done when its core ended, from the journal, so that another core can go on: which
 * tasks are settled and with which artifacts, which items are. Pure but for sl_replay_read();
 * nothing here looks at artifacts.
 */
#ifndef RUN_REPLAY_H
#define RUN_REPLAY_H

#include <stdbool.h>
#include <stdint.h>

#include "base/json.h"

enum sl_replay_state {
    SL_REPLAY_OPEN, /* never settled, or skipped or cancelled: to be decided again */
    SL_REPLAY_DONE,
    SL_REPLAY_ABSENT, /* a task: failed and ignored */
    SL_REPLAY_FAILED,
    SL_REPLAY_CANCELLED,
};

struct sl_replay_task {
    uint8_t state;     /* enum sl_replay_state */
    bool cached;       /* done by a result of an earlier run */
    uint16_t attempts; /* the highest number an attempt had */
    uint16_t failed;   /* of these, how many ended as failures; the others were lost, or did well */
    json_t *artifacts; /* port -> the artifact's record; NULL: none */
    json_t *sources;   /* port -> stamp of the user's file that was read (sl_file_stamp); or NULL */
    json_t *task;      /* the record that settled it as ABSENT or FAILED; or NULL */
    json_t *carry; /* while it is open: what its failures have led to (sched/carry.c); or NULL */
};

struct sl_replay {
    /* the first record; NULL: there is none. Its "stages" are those of the last core */
    json_t *run;
    json_t *list;        /* the items, as the journal lists them: {name, file, params?} */
    json_t *item_index;  /* name -> number in the list */
    json_t *stage_index; /* name -> number in the run's "stages" */
    int n_items, n_stages;
    struct sl_replay_task *tasks; /* n_items x n_stages, by item */
    int cap_items;
    uint8_t *items;  /* enum sl_replay_state of each: OPEN, DONE, FAILED, CANCELLED */
    bool ended;      /* the last core came to its end */
    int n_resumed;   /* cores after the first */
    int last_worker; /* the highest number a worker had */
    uint64_t good;   /* bytes of the journal up to where it is damaged or torn */
};

/* From the bytes of a journal. SLUICE_INPUT: it ends before all items of the beginning are listed,
 * so nothing was done. Free with sl_replay_finish(). */
int sl_replay_build(const char *journal, size_t len, struct sl_replay *ret, struct sl_err *err);
/* From the journal of a run folder, which may be long. */
int sl_replay_read(const char *run_path, struct sl_replay *ret, struct sl_err *err);
void sl_replay_finish(struct sl_replay *r);

struct sl_replay_task *sl_replay_task(const struct sl_replay *r, int item, int stage);

/* Opens what was cancelled again, and with `failed` also items that failed, with their failed tasks
 * and counts of attempts: what a core does that goes on. */
void sl_replay_reopen(struct sl_replay *r, bool failed);
/* How many items are open. */
int sl_replay_open_items(const struct sl_replay *r);

/* Tells one state of a file from another without reading it: "SIZE:MTIME_NS"; "" where it cannot be
 * looked at. Owned. */
char *sl_file_stamp(const char *path);

#endif
