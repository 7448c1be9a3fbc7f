/*
 * Test of several jobs at once, for stages that declare max_jobs: of as many as they take, one gets
 * hostile bytes and one is cancelled. The others end as a job alone does, with the same outputs
 * where the stage is deterministic.
 */
#include <stdio.h>
#include <stdlib.h>

#include "check/case.h"
#include "check/payload.h"

#define MOST_JOBS 8
#define HOSTILE   1 /* which of them */
#define CANCELLED 2 /* only where there are three */

static void make_hostile(struct sl_case *c, struct sl_arena *arena, struct sl_drive_job *job) {
    for (int i = 0; i < job->n_inputs; i++) {
        sl_autostr struct sl_str bytes = {0};
        sl_payload_hostile(job->inputs[i].type, 0, &bytes);
        job->inputs[i].path = sl_case_file(c, &bytes, arena);
    }
}

static void judge_others(struct sl_case *c, struct sl_drive *d, struct sl_drive_job *jobs, int n,
                         const struct sl_drive_job *alone) {
    bool deterministic = c->stage->flags & SLUICE_STAGE_DETERMINISTIC;
    for (int i = 0; i < n && !sl_case_failed(c); i++) {
        char what[64];
        snprintf(what, sizeof what, "job %d of %d%s", i + 1, n,
                 i == HOSTILE     ? " (hostile input)"
                 : i == CANCELLED ? " (cancelled)"
                                  : "");
        sl_case_judge(c, d, &jobs[i], i == HOSTILE ? SL_HOSTILE_INPUT : SL_VALID_INPUT, what);
        if (i == HOSTILE || i == CANCELLED || sl_case_failed(c))
            continue;
        if (jobs[i].status != alone->status)
            sl_case_fail(c, "%s ends as %s, alone as %s: %s", what, sl_class_name(jobs[i].status),
                         sl_class_name(alone->status), jobs[i].message);
        else if (deterministic && !sl_case_same_outputs(&jobs[i], alone))
            sl_case_fail(
                c, "%s gives other bytes than alone, though the stage is declared deterministic",
                what);
    }
}

/* `jobs` are copies of the one that ran alone: the same files. */
static void run_together(struct sl_case *c, struct sl_drive *d, struct sl_drive_job *jobs, int n,
                         struct sl_arena *arena) {
    struct sl_err err;
    for (int i = 0; i < n; i++) {
        if (i == HOSTILE)
            make_hostile(c, arena, &jobs[i]);
        if (sl_drive_send(d, &jobs[i], &err) < 0)
            sl_case_fail(c, "a job cannot be sent: %s", err.msg);
    }
    if (n > CANCELLED)
        sl_drive_cancel(d, &jobs[CANCELLED]);
    for (int i = 0; i < n; i++)
        sl_drive_wait(d, &jobs[i], sl_case_limit_ms(c));
}

static void test_mixed(struct sl_case *c) {
    int n = c->stage->max_jobs < MOST_JOBS ? c->stage->max_jobs : MOST_JOBS;
    if (n < 2) {
        sl_case_skip(c, "it takes one job at a time");
        return;
    }
    struct sl_arena arena = {0};
    struct sl_drive_job alone;
    struct sl_drive_job *jobs = sl_xcalloc((size_t)n, sizeof *jobs);
    struct sl_drive *d = sl_case_worker(c, NULL);
    if (d) {
        sl_case_job(c, SL_INPUTS_ALL, &arena, &alone);
        for (int i = 0; i < n; i++)
            jobs[i] = alone;
        sl_case_run_job(c, d, &alone);
        if (sl_case_judge(c, d, &alone, SL_VALID_INPUT, "a job alone")) {
            run_together(c, d, jobs, n, &arena);
            judge_others(c, d, jobs, n, &alone);
        }
        sl_drive_job_finish(&alone);
    }
    sl_case_release(c, d);
    for (int i = 0; i < n; i++)
        sl_drive_job_finish(&jobs[i]);
    free(jobs);
    sl_arena_finish(&arena);
}

const struct sl_test sl_batch_tests[] = {
    {"batch.mixed",
     "of several jobs at once, one with hostile bytes and one cancelled harm no other",
     .per_stage = true, .needs_worker = true, .run = test_mixed},
    {0},
};
