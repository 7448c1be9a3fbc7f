/*
 * The life of a worker process as a table of state x event -> action, next state. Pure; worker.c
 * carries it out.
 *
 *            spawn
 *              |         READY            job sent
 *          STARTING ---------------> IDLE ---------> BUSY
 *              |                      ^  last job ends |
 *              |                      +----------------+
 *              |   STOP sent (no more work)            | cancel, timeouts
 *              +-------> STOPPING <----- IDLE          v
 *                            |                     CANCELLING   cancel message
 *                            +---- grace over ---> TERMINATING  SIGTERM
 *                                                  KILLING      SIGKILL
 *          every state ---- process ended ---> GONE
 */
#ifndef SCHED_MACHINE_H
#define SCHED_MACHINE_H

enum sl_worker_state {
    SL_WORKER_STARTING,    /* spawned, loading */
    SL_WORKER_IDLE,        /* ready, no job */
    SL_WORKER_BUSY,        /* at least one job */
    SL_WORKER_STOPPING,    /* told to finish; expected to exit by itself */
    SL_WORKER_CANCELLING,  /* told to cancel its jobs */
    SL_WORKER_TERMINATING, /* SIGTERM sent */
    SL_WORKER_KILLING,     /* SIGKILL sent */
    SL_WORKER_GONE,        /* reaped */
    SL_WORKER_N_STATES
};

enum sl_worker_event {
    SL_WORKER_EV_READY,   /* the plugin is loaded and created */
    SL_WORKER_EV_JOB,     /* a job was handed over */
    SL_WORKER_EV_DRAINED, /* its last job ended */
    SL_WORKER_EV_RELEASE, /* no more work will come */
    SL_WORKER_EV_CANCEL,  /* its work is not wanted any more, or is overdue */
    SL_WORKER_EV_ABANDON, /* broken (start timeout, refused, protocol): do not wait for it */
    SL_WORKER_EV_GRACE,   /* the time for the current step is over */
    SL_WORKER_EV_KILL,    /* at once */
    SL_WORKER_EV_ENDED,   /* the process was reaped */
    SL_WORKER_N_EVENTS
};

enum sl_worker_action {
    SL_WORKER_DO_NOTHING,
    SL_WORKER_DO_STOP,      /* send STOP, start the grace timer */
    SL_WORKER_DO_CANCEL,    /* send CANCEL, start the grace timer */
    SL_WORKER_DO_TERMINATE, /* SIGTERM, start the grace timer */
    SL_WORKER_DO_KILL,      /* SIGKILL */
    SL_WORKER_DO_BUG,       /* cannot happen: an error of the core itself */
};

struct sl_worker_step {
    enum sl_worker_state next;
    enum sl_worker_action action;
};

struct sl_worker_step sl_worker_next(enum sl_worker_state state, enum sl_worker_event event);
const char *sl_worker_state_name(enum sl_worker_state state);

#endif
