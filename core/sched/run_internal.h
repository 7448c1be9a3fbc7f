/*
 * The state of a run, shared by the files that make up the scheduler:
 *   run.c       set-up, the loop, signals, the end
 *   dispatch.c  who starts when: admission, carriers, handing over jobs
 *   outcome.c   what frames and ends mean: progress, commits, failures, retries, items
 *   record.c    journal, run log, events
 *   outputs.c   the files in the user's folder
 */
#ifndef SCHED_RUN_INTERNAL_H
#define SCHED_RUN_INTERNAL_H

#include "base/log.h"
#include "run/journal.h"
#include "sched/attempt.h"
#include "sched/run.h"
#include "sched/worker.h"

struct run;

/* A worker process and the attempts it carries: one, or up to max_jobs of one stage. */
struct carrier {
    struct run *run;
    struct carrier *next;
    struct sl_worker *worker;
    int stage;
    int cpus;                    /* given to it */
    struct sl_attempt *attempts; /* linked by ->next */
    int n_attempts;
    int number;                  /* of the worker in the run, from 1 */
    char *log_path;              /* owned */
    int64_t began_ms;
    int first_item, first_attempt; /* of a carrier of one job: for the records */
    bool shared;                 /* max_jobs > 1 */
    bool was_cancelled;          /* the core stopped it: its end is no surprise */
    int why;                     /* class known before its end (refused, start timeout, broken), 0: none */
    char *why_text;              /* owned */
};

/* A task waiting for its next attempt. */
struct backoff {
    struct sl_timer timer;
    struct run *run;
    struct sl_task *task;
};

struct run {
    const struct sl_run_spec *spec;
    const struct sl_plan *plan;
    const struct sl_rundir *dir;
    struct sl_loop *loop;
    struct sl_tasks tasks;
    struct sl_journal journal;
    struct sl_log log;
    struct sl_places places;
    enum sl_containment containment;
    struct carrier *carriers;
    struct carrier **shared;     /* for each stage: its usable shared carrier, or NULL */
    int cpus, slots;
    uint32_t last_job;
    int last_worker;
    struct sl_watch signals;
    int n_signals;
    bool stopping;               /* nothing new starts */
    bool interrupted;
    int open_items;
    unsigned random_state;
    int64_t began_ms;
    int journal_failed;
    struct sl_run_result result;
};

/* dispatch.c */
void sl_run_dispatch(struct run *run);           /* starts all that may start now */
void sl_run_send_waiting(struct carrier *c);     /* hands over what waited for READY */
void sl_run_carrier_detach(struct carrier *c, struct sl_attempt *a);
void sl_run_carrier_idle(struct carrier *c);     /* releases it if nothing more will come */
void sl_run_carrier_destroy(struct carrier *c);

/* outcome.c */
extern const struct sl_worker_callbacks sl_run_callbacks;
void sl_run_conclude(struct run *run, struct sl_attempt *a, int cls, const char *message);
void sl_run_task_failed(struct run *run, struct sl_task *task, int cls, const char *message);
void sl_run_cancel_all(struct run *run, const char *reason);
void sl_run_arm_job_timers(struct run *run, struct sl_attempt *a);

/* record.c */
int sl_record_begin(struct run *run, struct sl_err *err);
void sl_record_attempt(struct run *run, const struct sl_attempt *a, const struct carrier *c);
void sl_record_attempt_end(struct run *run, const struct sl_attempt *a, int cls, const char *message);
void sl_record_artifacts(struct run *run, const struct sl_attempt *a);
void sl_record_task(struct run *run, const struct sl_task *task);
void sl_record_retry(struct run *run, const struct sl_task *task, int cls, const char *message, double delay_s);
void sl_record_worker(struct run *run, const struct carrier *c);
void sl_record_output(struct run *run, int item, const char *name, const char *path);
void sl_record_item(struct run *run, int item, const char *message);
void sl_record_end(struct run *run);
void sl_run_emit(struct run *run, const struct sl_event *ev);

/* outputs.c */
int sl_outputs_write(struct run *run, int item, struct sl_err *err);
void sl_artifacts_remove(struct run *run, int item);

#endif
