/*
 * The tasks of a run: item x stage, what each waits for, and how an outcome spreads. Pure: no
 * process, no clock.
 *
 *   WAITING --all sources settled-> READY --> RUNNING --> DONE
 *                                     ^          |-----> ABSENT  failed, and the policy says ignore
 *                                     |          |-----> FAILED  the item fails with it
 *                                     +- BACKOFF +
 *   WAITING, READY, BACKOFF ---------> SKIPPED    a source is absent, or the item failed meanwhile
 *   anything unsettled --------------> CANCELLED
 */
#ifndef SCHED_TASKS_H
#define SCHED_TASKS_H

#include "graph/plan.h"
#include "run/artifact.h"

enum sl_task_state {
    SL_TASK_WAITING,
    SL_TASK_READY,
    SL_TASK_RUNNING,
    SL_TASK_BACKOFF,
    SL_TASK_DONE,
    SL_TASK_ABSENT,
    SL_TASK_SKIPPED,
    SL_TASK_FAILED,
    SL_TASK_CANCELLED,
};

enum sl_item_state { SL_ITEM_OPEN, SL_ITEM_OK, SL_ITEM_FAILED, SL_ITEM_CANCELLED };

/* An output of a task that is done. */
struct sl_artifact {
    char *path; /* absolute, owned; NULL: not committed (an optional output) */
    uint64_t size, hash;
    /* owned; while `hash` is still being made: see sl_artifact_settle() */
    struct sl_hasher *hasher;
    bool held; /* its stage could still change it: looked at again by those who read it */
};

struct sl_task {
    int item, stage;
    enum sl_task_state state;
    int unsettled; /* sources not settled yet */
    int attempt;   /* how many were started */
    int before;    /* of these, how many do not count as tries: lost with an earlier core */
    int cls;       /* of the last failure */
    char *message; /* of the last failure, owned; or NULL */
    struct sl_artifact *artifacts; /* one for each output of the stage, owned; NULL until done */
    int unrecorded;                /* artifacts whose hash, and so their record, is still to come */
    double wall_s;                 /* of the last attempt */
    uint64_t memory, gpu_memory;   /* limits that grew after failures; 0: those of the stage */
    int over;                      /* enum sl_limit that the last attempt went over */
    bool reused;                   /* done by a result of an earlier run */
    void *look;                    /* of reuse.c; NULL: none */
    bool deviates; /* its last attempt was not what the pipeline asks for: no result for others */
    /* Of on_oom: what is asked of the next worker, beside the limits above. */
    int batch;   /* batch_size; 0: that of the stage */
    bool on_gpu; /* the last attempt was on `card` */
    int card;
    uint64_t avoid; /* a bit for each card that it shall not be on */
    bool on_cpu;    /* whatever the device of the stage */
    int n_steps;    /* taken; their attempts do not count against retry.attempts */
    char *steps;    /* in words, owned; NULL: none */
    int kills;      /* attempts in a row that killed a worker in which they were alone */
    char *deaths;   /* what is known of those, owned; NULL: none */
    char *last_log; /* of the last of them, owned */
    bool blameless; /* it was killed for memory that others may have left in its worker */
    /* the next attempt is the first and only one in its process for as long as it runs */
    bool alone;
    void *backoff; /* the scheduler's, while the state is BACKOFF */
};

struct sl_tasks {
    const struct sl_plan *plan;
    int n_items, max_items;
    struct sl_task *all; /* max_items x n_stages, by item; untouched memory is not resident */
    enum sl_item_state *items;
    int *item_open;   /* unsettled tasks of each item */
    int *stage_open;  /* unsettled tasks of each stage */
    int *sources;     /* for each stage: how many it takes from */
    int **takers;     /* for each stage: the stages that take from it, once each, ended by -1 */
    int *ready_items; /* ring buffers of ready tasks, one a stage: see sl_tasks_next() */
    int *ready_head, *ready_len; /* of each stage */
};

/* Called for each task whose state an outcome changed, in order, the task itself first. */
typedef void sl_task_changed(void *ctx, struct sl_task *task);

void sl_tasks_init(struct sl_tasks *t, const struct sl_plan *plan, int n_items);
/* With room for more: sl_tasks_add() makes tasks of `n` further items. Tasks never move. */
void sl_tasks_init_room(struct sl_tasks *t, const struct sl_plan *plan, int n_items, int max_items);
void sl_tasks_add(struct sl_tasks *t, int n);
void sl_tasks_finish(struct sl_tasks *t);

/*
 * Puts the rest in order after the states of tasks and items were set from outside, before anything
 * ran: tasks that an earlier core settled as DONE, ABSENT or FAILED, and items that it settled. Of
 * an item that is open, tasks become READY, WAITING or SKIPPED as their sources say; `changed` is
 * called for those that are SKIPPED by it.
 */
void sl_tasks_restore(struct sl_tasks *t, sl_task_changed *changed, void *ctx);

/* Frees what is kept of an item whose tasks are all settled, but for their states: messages and the
 * names of artifacts. */
void sl_tasks_forget(struct sl_tasks *t, int item);

struct sl_task *sl_task_at(const struct sl_tasks *t, int item, int stage);
bool sl_task_is_settled(const struct sl_task *task);
const char *sl_task_state_name(enum sl_task_state state);

/* Forgets the artifacts of a task; the files stay. */
void sl_task_drop_artifacts(struct sl_task *task, int n_outputs);

/* Ready tasks of a stage, first come first served. */
int sl_tasks_ready(const struct sl_tasks *t, int stage);
int sl_tasks_ready_in_all(const struct sl_tasks *t);
/* The task that sl_tasks_take() would take; NULL: none. */
struct sl_task *sl_tasks_peek(const struct sl_tasks *t, int stage);
/* Takes the next ready task of the stage and marks it RUNNING; NULL: none. */
struct sl_task *sl_tasks_take(struct sl_tasks *t, int stage);
/* Puts a task among the ready ones: last, or, where it ran before, first. */
void sl_tasks_make_ready(struct sl_tasks *t, struct sl_task *task);
void sl_tasks_make_ready_again(struct sl_tasks *t, struct sl_task *task);

/*
 * Settles a task as DONE, ABSENT, FAILED or CANCELLED and spreads it: takers become ready when
 * their last source settled; a taker whose required port stays empty is SKIPPED, and so on down.
 * FAILED or CANCELLED ends the item: its tasks that do not run are SKIPPED (CANCELLED); those that
 * run are left to the caller. The item's state changes to FAILED or CANCELLED at once, to OK when
 * its last task settled.
 */
void sl_tasks_settle(struct sl_tasks *t, struct sl_task *task, enum sl_task_state outcome,
                     sl_task_changed *changed, void *ctx);

#endif
