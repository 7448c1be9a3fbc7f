/*
 * The state of a run, shared by the files that make up the scheduler:
 *   run.c       set-up, the loop, signals, the end
 *   dispatch.c  who starts when: admission, handing over jobs
 *   carrier.c   workers and what they carry; which of them are kept
 *   frames.c    what workers say, and how they end
 *   outcome.c   what that means for attempts, tasks and items: failures, retries, timeouts
 *   rescue.c    on_oom, quarantine
 *   carry.c     what of these the next core has to know
 *   logs.c      what workers print is kept within bounds
 *   admission.c who fits into memory, of the machine and of cards
 *   holds.c     what each worker holds of it
 *   cards.c     what the driver says of cards
 *   guard.c     limits: what a worker is started with, watching, the limit behind a failure
 *   record.c    journal, run log, events
 *   durable.c   what is on the disk, should the power be cut
 *   incoming.c  items from a watched folder
 *   outputs.c   the files in the user's folder
 *   resume.c    going on where another core ended
 *   reuse.c     results of earlier runs; recipe.c: what they are found by
 */
#ifndef SCHED_RUN_INTERNAL_H
#define SCHED_RUN_INTERNAL_H

#include "base/confine.h"
#include "base/log.h"
#include "proc/limits.h"
#include "run/journal.h"
#include "sched/admission.h"
#include "sched/attempt.h"
#include "sched/reuse.h"
#include "sched/run.h"
#include "sched/storm.h"
#include "sched/warm.h"
#include "sched/worker.h"

struct run;

/* What a worker may use, and what it was seen to use. */
struct guard {
    /* of the stage; the memory limit is that of the task it was started for */
    struct sl_resources limits;
    struct sl_cgroup *group;    /* owned; NULL: none */
    bool watched;               /* has to be sampled */
    unsigned what;              /* SL_USAGE_* */
    int n_jobs;                 /* given to it so far */
    struct sl_usage last, peak; /* of the samples */
    int64_t sampled_ms, next_ms, scratch_ms;
    bool killed;
};

/* What a worker was admitted with. */
struct sl_grant {
    bool on_gpu;
    int card;      /* its index; on_gpu */
    bool blind;    /* the driver says nothing of the card */
    char *visible; /* CUDA_VISIBLE_DEVICES for it, "" on the CPU, NULL: unchanged; owned */
    uint64_t memory, gpu_memory; /* reserved for it */
};

/* A worker process and the attempts it carries: one at a time, or up to max_jobs, of one stage. */
struct carrier {
    struct run *run;
    struct carrier *next;
    struct sl_worker *worker;
    int stage;
    int cpus;                    /* given to it */
    struct sl_attempt *attempts; /* linked by ->next */
    int n_attempts;
    int number;     /* of the worker in the run, from 1 */
    char *log_path; /* owned */
    int64_t began_ms;
    int params_key; /* of the tasks that it can serve; and their: */
    int batch;
    bool on_cpu;
    int n_hit;                     /* attempts in it when it died; 0: it lives */
    int first_item, first_attempt; /* of a carrier of one job: for the records */
    bool shared;                   /* for several tasks: its log and records name none */
    bool kept;                     /* by `keep`: takes tasks until it is let go */
    enum sl_let_go let_go;         /* not NOT: it gets no further task */
    int64_t idle_since_ms;         /* kept and without a task since; 0: it is not */
    struct sl_timer idle;          /* keep: DURATION */
    int64_t load_ms;               /* from its spawn to READY */
    uint64_t first_memory, memory; /* after its first task, and after the last */
    bool was_ready;
    int n_logs;         /* LOG frames it sent */
    bool was_cancelled; /* the core stopped it: its end is no surprise */
    struct guard guard;
    struct sl_grant grant;
    struct sl_hold *hold; /* its entry in the ledger of memory, owned; NULL: none */
    char *peak_key;       /* under which its peaks are noted, owned; NULL: they are not */
    uint64_t gpu_peak;    /* bytes; 0: not seen */
    int n_ok;             /* jobs that it did well */
    int why;              /* class known before its end (refused, start timeout, broken), 0: none */
    char *why_text;       /* owned */
};

/* How the workers of a stage start. */
struct health {
    struct sl_storm storm;
    int cls;    /* of the last start that failed */
    char *text; /* its sentence, owned; NULL: none failed */
    int batch;  /* that worked after on_oom: shrink; 0: none was needed */
};

/* A task waiting for its next attempt. */
struct backoff {
    struct sl_timer timer;
    struct run *run;
    struct sl_task *task;
};

/* A large artifact whose hash is being made, a slice a turn. */
struct late_hash {
    int item, stage, port;
};

struct sl_inbox;
struct sl_durable;

/* An open file or folder that shall be on the disk; its owner keeps it, and the descriptor, until
 * it is settled. */
struct sl_sync_ask {
    int fd;
    enum { SL_ASK_OPEN, SL_ASK_DONE, SL_ASK_FAILED } state;
};

struct writing;

struct done {
    int item;
    uint64_t bytes; /* of its artifacts */
};

struct run {
    const struct sl_run_spec *spec;
    const struct sl_plan *plan;
    const struct sl_rundir *dir;
    struct sl_loop *loop;
    struct sl_tasks tasks;
    struct sl_journal journal;
    struct sl_durable *durable;
    struct sl_log log;
    struct sl_places places;
    enum sl_containment containment;
    struct sl_forkserver *forkserver; /* NULL: workers are exec'd */
    struct sl_limiter limiter;
    struct sl_confinement confinement;
    const char **item_folders; /* in which the items lie, for sandboxes; in the arena */
    int n_item_folders;
    const char **shared_reads; /* what all sandboxes let read; in the arena */
    int n_shared_reads;
    struct sl_admission *admission; /* owned unless the spec has it */
    struct sl_timer guard;          /* the next sample */
    uint64_t oom_kills;             /* of the machine, when last looked at */
    struct carrier *carriers;
    struct health *health; /* of each stage */
    bool adopts;           /* orphans of workers become our children */
    struct sl_timer logs;  /* the next look at the logs */
    bool keeps;            /* workers of some stage */
    unsigned char *held;   /* for each stage: what keeps it from starting a task in this turn */
    bool *begun;           /* for each item: a task of it was started */
    /* items begun and not ended; so many at most, where workers are kept */
    int in_flight, most_in_flight;
    struct sl_timer wake; /* looks again whether a kept worker makes room */
    int cpus, slots;
    uint32_t last_job;
    int last_worker;
    struct sl_watch signals;
    int n_signals;
    bool stopping; /* nothing new starts */
    bool interrupted;
    struct late_hash *late;
    int n_late, cap_late;
    struct writing **writing; /* items whose outputs are being written */
    int n_writing, cap_writing;
    int n_unnamed; /* of their files that wait for the disk */
    /* items whose artifacts are to be removed when there is time, as they ended */
    struct done *done;
    int n_done, cap_done;
    /* of these, whose records are on their way to the disk, or there */
    int n_done_sent, n_done_safe;
    uint64_t done_bytes;
    struct sl_cache_use *cache; /* results of earlier runs; NULL: none are used */
    int open_items;
    struct sl_inbox *inbox; /* the watched folder; NULL: none */
    json_t *item_names;     /* of a run that watches: a set */
    struct sl_arena arena;  /* what the items that came in are made of */
    unsigned random_state;
    int64_t began_ms;
    int journal_failed;
    struct sl_run_result result;
};

/* incoming.c */
int sl_incoming_start(struct run *run, struct sl_err *err);
/* Takes nothing more; what was taken is finished. `why` is told. False: nothing was taken any more
 * before. */
bool sl_incoming_stop(struct run *run, const char *why);
bool sl_incoming_is_open(const struct run *run);
void sl_incoming_finish(struct run *run);

/* dispatch.c */
/* Tasks of a stage with equal keys have equal parameters: a worker that was created for one serves
 * the other. */
int sl_run_params_key(const struct run *run, const struct sl_task *task);
/* Parameters of the task's own, by its item or by on_oom, owned; NULL: those of the plan. */
char *sl_run_params(const struct run *run, const struct sl_task *task);
void sl_run_dispatch(struct run *run);       /* starts all that may start now */
void sl_run_send_waiting(struct carrier *c); /* hands over what waited for READY */

/* carrier.c */
bool sl_run_keeps(const struct run *run, int stage); /* its workers are kept */
struct carrier *sl_run_carrier_create(struct run *run, int stage, int cpus); /* not yet spawned */
void sl_run_carrier_destroy(struct carrier *c);
/* It is alive and may be given the task, now or when it is ready. */
bool sl_run_carrier_takes(const struct carrier *c, const struct sl_task *task);
void sl_run_carrier_attach(struct carrier *c, struct sl_attempt *a);
void sl_run_carrier_detach(struct carrier *c, struct sl_attempt *a);
/* To be called when it may have nothing to do: it stays idle, or is told to stop. */
void sl_run_carrier_idle(struct carrier *c);
/* It gets no further task; told to stop when it has none. The first reason counts. */
void sl_run_carrier_let_go(struct carrier *c, enum sl_let_go why);

/* admission.c, holds.c */
void sl_admission_attach(struct run *run);
void sl_admission_detach(struct run *run); /* before the loop is destroyed */
void sl_admission_turn(struct run *run);   /* around each turn of the dispatcher */
void sl_admission_turn_ended(struct run *run);
enum sl_admitted {
    SL_ADMITTED_YES,
    SL_ADMITTED_WAIT,  /* not in this turn */
    SL_ADMITTED_ROOM,  /* when idle workers are let go: sl_admission_victims() */
    SL_ADMITTED_LATE,  /* it waited long enough for other processes: the attempt fails */
    SL_ADMITTED_NEVER, /* it cannot run on this machine */
};
/* Whether a worker for the task can start; *ret_text: why not, owned, for LATE and NEVER. */
enum sl_admitted sl_admission_ask(struct run *run, const struct sl_task *task, struct sl_grant *ret,
                                  char **ret_text);
/* The idle workers that would have to go for the task, at most SL_LEDGER_MAX_EVICT; returns how
 * many. */
int sl_admission_victims(struct run *run, const struct sl_task *task, struct carrier **ret);
/* Enters a worker that is about to be spawned for the task. Takes the grant. */
void sl_admission_hold(struct carrier *c, const struct sl_task *task, const struct sl_grant *g);
void sl_admission_ended(struct carrier *c);  /* its process was reaped */
void sl_admission_forget(struct carrier *c); /* it is about to be freed */
/* True: the worker, of a stage with `device: auto`, refused the card when it was loaded. */
bool sl_admission_refuses_card(const struct carrier *c);
/* From here on its stage runs on the CPU, which is told. */
void sl_admission_fall_back(struct carrier *c);
/* Cards that the task may be tried on beside the one it was on and those it avoids, and what the
 * largest of all holds. */
int sl_admission_other_cards(const struct run *run, const struct sl_task *task);
uint64_t sl_admission_largest_card(const struct run *run);
/* UUIDs of the cards of which a bit is set, a list; and back: unknown ones have no bit. */
json_t *sl_admission_card_names(const struct run *run, uint64_t cards);
uint64_t sl_admission_cards_named(const struct run *run, const json_t *names);
/* "cpu" or "cuda": where the stage's tasks run; and whether that is not what it was when the run
 * began. */
const char *sl_admission_device(const struct run *run, int stage);
bool sl_admission_device_changed(const struct run *run, int stage);
/* Of the process that asks the driver; -1: none. */
pid_t sl_admission_helper_pid(const struct run *run);

/* frames.c */
extern const struct sl_worker_callbacks sl_run_callbacks;

/* outcome.c */
double sl_run_wall_s(const struct sl_attempt *a); /* since it began */
/* Stops an attempt with a verdict of the core. `reason` is taken. */
void sl_run_stop_attempt(struct run *run, struct sl_attempt *a, int cls, char *reason);
void sl_run_conclude(struct run *run, struct sl_attempt *a, int cls, const char *message);
/* A task that has the artifacts of an earlier run. */
void sl_run_task_reused(struct run *run, struct sl_task *task);
void sl_run_task_failed(struct run *run, struct sl_task *task, int cls, const char *message);
/* A task that is not tried because its stage does not start. */
void sl_run_task_not_tried(struct run *run, struct sl_task *task);
/* A task that cannot run on this machine. */
void sl_run_task_refused(struct run *run, struct sl_task *task, const char *text);
/* A worker of the stage did not become ready. */
void sl_run_start_failed(struct run *run, int stage, int cls, const char *text);
/* Records that a task settled; a sl_task_changed. */
void sl_run_task_changed(void *ctx, struct sl_task *task);
/* The outputs of an item are in the user's folder, or cannot be: `message` says why. */
void sl_run_item_written(struct run *run, int item, const char *message);
void sl_run_end_item_if_done(struct run *run, int item);
void sl_run_cancel_all(struct run *run, const char *reason);
/* Goes on hashing large artifacts, for a moment; true: there is more to do. */
bool sl_run_hash_some(struct run *run);
void sl_run_arm_job_timers(struct run *run, struct sl_attempt *a);
/* Notes why the carrier will end; its attempts are concluded when it has. The first reason
 * counts. */
void sl_run_carrier_doom(struct carrier *c, int cls, const char *text);

/* rescue.c */
/* The batch_size that the task's next attempt gets by on_oom; 0: that of the stage. */
int sl_run_batch(const struct run *run, const struct sl_task *task);
/* Takes the next step of on_oom and tells it; false: there is none for this failure. */
bool sl_run_step_after_oom(struct run *run, struct sl_task *task, int cls, const char *message);
void sl_run_learn(struct run *run, const struct sl_task *task); /* it succeeded */
/* An attempt ended, and was detached: counts whether it killed its worker. */
void sl_run_note_death(struct run *run, const struct carrier *c, const struct sl_attempt *a,
                       int cls, const char *message);
/* Not NULL: the task has killed enough workers and is not tried again; the reason for its message,
 * owned. The report is written. */
char *sl_run_quarantine(struct run *run, struct sl_task *task, int cls);

/* carry.c */
/* What the failures of the task have led to, owned; NULL: nothing. And back. */
json_t *sl_carry_json(const struct run *run, const struct sl_task *task);
void sl_carry_restore(const struct run *run, struct sl_task *task, const json_t *o);

/* logs.c */
void sl_logs_watch(struct run *run);         /* a worker was spawned */
void sl_logs_bound(const struct carrier *c); /* cuts its log if it is too long */
int64_t sl_logs_size(const char *path);

/* guard.c */
void sl_guard_set_up(struct run *run);
/* The memory limit of the task's next attempt; 0: none. */
uint64_t sl_guard_memory(const struct run *run, const struct sl_task *task);
/* Limits of a worker that is about to be spawned for `task`. */
int sl_guard_prepare(struct carrier *c, const struct sl_task *task, struct sl_spawn *spawn,
                     struct sl_err *err);
void sl_guard_watch(struct carrier *c); /* it was spawned */
/* Its limits are enough for the task. */
bool sl_guard_suits(const struct carrier *c, const struct sl_task *task);
/* It was reaped: completes worker->end, notes the limit that was behind it. */
void sl_guard_end(struct carrier *c);
void sl_guard_finish(struct carrier *c);
/* The class of a failed attempt; adds to the text the limit that was behind it. */
int sl_guard_judge(struct carrier *c, struct sl_attempt *a, int cls, char **text);
/* After a failure as RESOURCE: raises limits as the policy says; false: another attempt would end
 * the same way. */
bool sl_guard_retry(struct run *run, struct sl_task *task);

/* record.c */
int sl_record_begin(struct run *run, struct sl_err *err);
void sl_record_items(struct run *run, int from, int n); /* they are part of the run from now on */
void sl_record_note(struct run *run, int level, const char *text); /* for the log and who watches */
int sl_record_resume(struct run *run, struct sl_err *err);
json_t *sl_record_stages(const struct run *run);
void sl_record_attempt(struct run *run, const struct sl_attempt *a, const struct carrier *c);
void sl_record_attempt_end(struct run *run, const struct sl_attempt *a, int cls,
                           const char *message);
void sl_record_artifact(struct run *run, const struct sl_task *task, int port);
/* A task that is done is journalled after its artifacts: by sl_record_late_artifact() where some
 * are not hashed yet. */
void sl_record_task(struct run *run, const struct sl_task *task);
void sl_record_late_artifact(struct run *run, struct sl_task *task, int port);
void sl_record_reuse(struct run *run, const struct sl_task *task);
void sl_record_retry(struct run *run, const struct sl_task *task, int cls, const char *message,
                     double delay_s);
/* A step of on_oom, before the record of the retry. */
void sl_record_step(struct run *run, const struct sl_task *task, const char *step,
                    const char *change);
void sl_record_quarantine(struct run *run, const struct sl_task *task, const char *report);
void sl_record_worker(struct run *run, const struct carrier *c);
void sl_record_output(struct run *run, int item, const char *name, const char *path);
void sl_record_item(struct run *run, int item, const char *message);
void sl_record_end(struct run *run);
void sl_run_emit(struct run *run, const struct sl_event *ev);

/* durable.c */
int sl_durable_start(struct run *run, struct sl_err *err);
/* The record of an artifact was added to the journal. */
void sl_durable_add(struct run *run, int item, int stage, int port);
/* A name relative to the run folder; one that ends with a slash is a folder, removed if it is empty
 * then. */
void sl_durable_remove_later(struct run *run, const char *name);
/* Settled by a later turn. */
void sl_durable_ask(struct run *run, struct sl_sync_ask *ask);
/* Why the last one that failed did. */
const char *sl_durable_why(const struct run *run);
/* Call once a loop turn, after the journal was written: sends what is due. Fails once something
 * could not be brought to the disk; files that were asked for are settled even so. */
int sl_durable_turn(struct run *run, struct sl_err *err);
/* Until the next call; -1: not before something happens. */
int sl_durable_due_ms(const struct run *run);
/* Waits until all that was written is on the disk, and what is to be removed is gone. */
int sl_durable_end(struct run *run, struct sl_err *err);
void sl_durable_finish(struct run *run);     /* before the loop is destroyed */
pid_t sl_durable_pid(const struct run *run); /* of its process; -1: none */

/* resume.c */
/* Sets tasks and items to where the journal left them. */
int sl_resume_restore(struct run *run, const struct sl_replay *replay, struct sl_err *err);
/* Ends the items of which nothing is left to do but that. */
void sl_resume_end_items(struct run *run, const struct sl_replay *replay);
/* Stamps of the user's files that a task reads, port -> sl_file_stamp(); NULL where it reads none.
 * Owned. */
json_t *sl_run_sources(const struct run *run, int item, int stage);

/* outputs.c */
/* Queues the outputs of an item that succeeded; sl_run_item_written() follows. */
void sl_outputs_write(struct run *run, int item);
/* Goes on writing, for a moment; true: there is more to do. */
bool sl_outputs_write_some(struct run *run);
/* Frees the queue; what was not finished is not there. */
void sl_outputs_drop(struct run *run);
void sl_artifacts_remove_later(struct run *run, int item);
/* Removes the artifacts of finished items if they are more than `bytes_to_keep`; 0: in any case. Of
 * those items only whose records a power cut does not take: else what is removed would be
 * missing. */
void sl_artifacts_remove(struct run *run, uint64_t bytes_to_keep);

#endif
