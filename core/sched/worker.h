/*
 * A worker process as the scheduler sees it: spawned, spoken to, timed, stopped by the ladder
 * (cancel message, SIGTERM, SIGKILL), reaped. It carries jobs by number and knows nothing of tasks;
 * what happens is told through callbacks.
 */
#ifndef SCHED_WORKER_H
#define SCHED_WORKER_H

#include <sys/types.h>

#include "ipc/channel.h"
#include "ipc/fault.h"
#include "proc/cgroup.h"
#include "proc/forkserver.h"
#include "proc/spawn.h"
#include "sched/loop.h"
#include "sched/machine.h"

/* How a process ended, as far as it is known. */
struct sl_worker_end {
    int wait_status; /* of the plugin's process where its init reported it, else of the init */
    bool reported;   /* SL_FRAME_EXIT came */
    double cpu_s;    /* 0: not known */
    uint64_t peak_bytes;
};

struct sl_worker;

struct sl_worker_callbacks {
    void (*ready)(struct sl_worker *w);
    /* create() or the loader refused; the process is being stopped. */
    void (*refused)(struct sl_worker *w, int cls, const char *message);
    /* A frame of a job, or of the worker itself (job 0): PROGRESS, LOG, PART, METRIC, COMMIT,
     * DONE. */
    void (*frame)(struct sl_worker *w, const struct sl_frame *frame);
    /* The worker broke the protocol, or sent too slowly: it is being stopped; `message` says
     * why. */
    void (*broken)(struct sl_worker *w, const char *message);
    /* The start timeout is over; the process is being stopped. */
    void (*start_timeout)(struct sl_worker *w);
    /* Reaped, w->end is filled; the worker is destroyed by the owner. */
    void (*ended)(struct sl_worker *w);
};

struct sl_worker {
    struct sl_loop *loop;
    const struct sl_worker_callbacks *callbacks;
    void *ctx; /* the owner's */
    enum sl_worker_state state;
    pid_t pid;
    struct sl_watch process; /* pidfd */
    struct sl_watch socket;
    struct sl_timer step;    /* the grace of the current step of the ladder */
    struct sl_timer start;   /* start timeout */
    int n_jobs;              /* handed over and not ended */
    bool hung_up;            /* its end of the socket was closed before its process ended */
    struct sl_cgroup *group; /* borrowed; NULL: none */
    struct sl_worker_end end;
};

struct sl_worker_spec {
    struct sl_spawn spawn;            /* channel_fd is filled in here */
    struct sl_forkserver *forkserver; /* that forks it, borrowed; NULL: it is exec'd */
    /* that the process joins, for killing it; borrowed until the worker is destroyed; or NULL */
    struct sl_cgroup *group;
    const struct sl_frame_out *sandbox; /* SL_FRAME_SANDBOX; NULL: it is not confined */
    double start_timeout_s;
    const struct sl_worker_callbacks *callbacks;
    void *ctx;
};

/* Spawns the worker and sends spec->sandbox and `start` (SL_FRAME_START). */
int sl_worker_create(struct sl_loop *loop, const struct sl_worker_spec *spec,
                     const struct sl_frame_out *start, struct sl_worker **ret, struct sl_err *err);
/* Frees a worker that ended; one that lives is killed and reaped first. NULL is fine. */
void sl_worker_destroy(struct sl_worker *w);

/* Ready and willing to take a job. */
bool sl_worker_is_ready(const struct sl_worker *w);
/* Spawned, connected, and neither told to stop nor gone. */
bool sl_worker_is_usable(const struct sl_worker *w);

/* Hands a job over. Descriptors are borrowed. */
int sl_worker_send_job(struct sl_worker *w, const struct sl_frame_out *job, const int *fds,
                       int n_fds, struct sl_err *err);
/* Announces a fault for the job that is handed over next. */
int sl_worker_send_fault(struct sl_worker *w, uint32_t job, enum sl_fault fault,
                         struct sl_err *err);
/* Asks one job to stop; the others go on. */
void sl_worker_cancel_job(struct sl_worker *w, uint32_t job);
void sl_worker_job_ended(struct sl_worker *w); /* after its DONE was handled */
void sl_worker_release(struct sl_worker *w);   /* no more work will come */
void sl_worker_cancel(struct sl_worker *w);    /* stop by the ladder, politely first */
void sl_worker_abandon(struct sl_worker *w);   /* stop by the ladder, from SIGTERM on */
void sl_worker_kill(struct sl_worker *w);

/* "killed by signal 9 (Killed)", "exited with status 3" into buf. */
const char *sl_wait_status_text(int wait_status, char *buf, size_t size);

#endif
