/*
 * One attempt of a task: its drafts, its frames, its log file, what it reported. Knows files and
 * frames; the decisions are in run.c.
 */
#ifndef SCHED_ATTEMPT_H
#define SCHED_ATTEMPT_H

#include "base/json.h"
#include "ipc/fault.h"
#include "ipc/frame.h"
#include "run/artifact.h"
#include "run/items.h"
#include "sched/loop.h"
#include "sched/tasks.h"

/* Where a run's files are; borrowed strings. */
struct sl_places {
    const char *run; /* the run folder */
    const char *share_dir;
    /* paths of the pipeline's inputs; [0] is the item's and unused here */
    const char *const *inputs;
};

struct sl_attempt_output {
    struct sl_draft draft;
    bool committed;
    uint64_t size;
};

struct sl_worker;

struct sl_attempt {
    struct sl_task *task;
    struct sl_worker *worker; /* that carries it */
    struct sl_attempt *next;  /* of the same worker */
    const struct sl_plan_stage *stage;
    const struct sl_item *item;
    int number;          /* from 1 */
    uint32_t job;        /* unique in the run */
    bool sent;           /* handed to the worker */
    enum sl_fault fault; /* that is injected; NONE: none */
    struct sl_attempt_output *outputs;
    char *log_path, *scratch; /* owned */
    /* where its part of the log begins; -1: the log is its own, or nobody can tell */
    int64_t log_from;
    json_t *metrics; /* NULL while empty */
    int64_t began_ms;
    double begin_wall_s;
    struct sl_timer idle, total;
    int verdict;  /* a class decided by the core (timeout, cancelled), 0: none */
    char *reason; /* of the verdict, owned */
    double cpu_s; /* of its worker, where it was alone in it */
    uint64_t peak_bytes;
};

/* Makes the attempt with its folders and drafts. `log_path` (taken) is where its worker writes. */
int sl_attempt_create(const struct sl_places *places, struct sl_task *task,
                      const struct sl_plan_stage *stage, const struct sl_item *item, uint32_t job,
                      char *log_path, struct sl_attempt **ret, struct sl_err *err);
/* Discards drafts and the scratch folder. NULL is fine. Timers must be stopped. */
void sl_attempt_destroy(struct sl_attempt *a);

/* Paths in the run folder, owned: the log of an attempt, of a batch worker, an artifact. */
char *sl_attempt_log_path(const struct sl_places *places, const char *item, const char *stage,
                          int number);
char *sl_artifact_path(const struct sl_places *places, const char *item, const char *stage,
                       const char *port, const char *type);

/* SL_FRAME_START for a stage, with its parameters as JSON and what it may use; `cuda`: it runs on
 * the one card that it sees. */
int sl_start_frame(const struct sl_places *places, const struct sl_plan_stage *stage,
                   const char *params, bool cuda, const struct sl_resources *resources, int cpus,
                   struct sl_frame_out *ret, struct sl_err *err);

/*
 * SL_FRAME_JOB, with the descriptors to ride along in ret_fds (capacity SL_FRAME_MAX_FDS). The
 * first *ret_n_owned of them, the inputs, are the caller's to close; the others are the drafts'.
 * Inputs of a repeated attempt are checked against their hash.
 */
int sl_job_frame(const struct sl_places *places, const struct sl_tasks *tasks, struct sl_attempt *a,
                 struct sl_frame_out *ret, int *ret_fds, int *ret_n_fds, int *ret_n_owned,
                 struct sl_err *err);

/* Notes a COMMIT frame. SLUICE_INTERNAL: no such output, or committed twice. */
int sl_attempt_note_commit(struct sl_attempt *a, const char *port, uint64_t size,
                           struct sl_err *err);
void sl_attempt_note_metric(struct sl_attempt *a, const char *name, double value);

/* Goes on with the hash of an artifact that has none yet, by at most `max` bytes. 1: it has one; 0:
 * call again. */
int sl_artifact_settle(struct sl_artifact *art, uint64_t max, struct sl_err *err);

/* Names the drafts, hashes those that are small, and gives them to the task as its artifacts.
 * SLUICE_INTERNAL: a declared output was not committed, or its size is not what the worker said. */
int sl_attempt_commit(const struct sl_places *places, struct sl_attempt *a, struct sl_err *err);

/* SLUICE_INTERNAL: an artifact that the attempt read is not what its stage committed. With
 * `only_held` only those are looked at that could be changed. */
int sl_attempt_check_inputs(const struct sl_tasks *tasks, const struct sl_attempt *a,
                            bool only_held, struct sl_err *err);

/* The last line that is not empty in a log file, cut to 200 bytes, owned; NULL: none. */
char *sl_last_log_line(const char *path);

#endif
