/*
 * A core that drives one worker and waits for it: spawn, START, jobs, cancel, STOP. For tests of
 * plugins; sluice itself schedules without waiting (sched/).
 *
 * Every wait has a limit. A worker that dies or stays silent is an answer, not an error. Main
 * thread only.
 */
#ifndef CHECK_DRIVER_H
#define CHECK_DRIVER_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/err.h"
#include "proc/spawn.h"

#define SL_DRIVE_MAX_PORTS 64

struct sl_drive_spec {
    const char *worker; /* path of sluice-worker */
    const char *plugin, *stage, *share;
    const char *params;      /* JSON object: all parameters that have a value */
    const char *scratch;     /* folder for the scratch folders of jobs */
    const char *const *wrap; /* command before the worker's, NULL-terminated; NULL: none */
    enum sl_containment containment;
    bool no_init; /* the plugin's process is the one that is spawned; needs SL_CONTAIN_KEEPER */
    int stop_fd;  /* readable once the user wants to stop; -1: none; borrowed */
    uint64_t data_limit; /* RLIMIT_DATA of the plugin's process before START, bytes beyond what it
                            has; 0: none */
};

struct sl_drive_input {
    const char *port, *type;
    const char *path; /* a file, opened read-only for the job; for file/1 whatever is wanted */
};

struct sl_drive_output {
    const char *port, *type;
    bool optional, committed;
    uint64_t len; /* of the commit */
    int fd;       /* an anonymous file; owned by the job */
};

enum sl_drive_end {
    SL_DRIVE_RUNNING,
    SL_DRIVE_ENDED,  /* as it should: status and message count */
    SL_DRIVE_DIED,   /* the worker is gone; message says how */
    SL_DRIVE_SILENT, /* not within the limit */
    SL_DRIVE_STOPPED /* the user wants to stop */
};

/* A job: the caller fills in ports, the driver the rest. */
struct sl_drive_job {
    const char *item;
    struct sl_drive_input inputs[SL_DRIVE_MAX_PORTS];
    struct sl_drive_output outputs[SL_DRIVE_MAX_PORTS];
    int n_inputs, n_outputs;

    enum sl_drive_end end;
    int status;                /* where it ended */
    char message[SL_ERR_SIZE]; /* the plugin's, or how the worker died */
    int64_t sent_ms, ended_ms; /* monotonic */
    bool progressed;           /* a PROGRESS came */
    uint32_t id;
    struct sl_drive_job *next;
};

struct sl_drive;

/*
 * Spawns a worker and sends START. *ret (owned: sl_drive_destroy) also where it dies at once. Fails
 * only where no worker can be run.
 */
int sl_drive_create(const struct sl_drive_spec *spec, struct sl_drive **ret, struct sl_err *err);

/* Waits for READY or REFUSED: SL_DRIVE_ENDED, with the status (0: ready) and the message. */
enum sl_drive_end sl_drive_ready(struct sl_drive *d, int limit_ms, int *ret_status,
                                 char message[SL_ERR_SIZE]);

/* Sends a job, which stays the caller's and must live until it has ended or the drive is destroyed.
 * The open files are closed by sl_drive_job_finish. */
int sl_drive_send(struct sl_drive *d, struct sl_drive_job *job, struct sl_err *err);
void sl_drive_cancel(struct sl_drive *d, const struct sl_drive_job *job);
/* Waits until the job has ended; job->end tells how. */
void sl_drive_wait(struct sl_drive *d, struct sl_drive_job *job, int limit_ms);
/* Waits until the job has ended or has shown progress. */
void sl_drive_wait_progress(struct sl_drive *d, struct sl_drive_job *job, int limit_ms);
void sl_drive_job_finish(struct sl_drive_job *job);

/* Sends STOP and waits for the end. 0, or SLUICE_INTERNAL with what happened instead of an exit
 * with status 0. */
int sl_drive_stop(struct sl_drive *d, int limit_ms, struct sl_err *err);
/* Kills what is left; NULL is fine. */
void sl_drive_destroy(struct sl_drive *d);

bool sl_drive_alive(const struct sl_drive *d);
/* What a worker sent that it must not send (text that is not UTF-8), as one sentence, or "". */
const char *sl_drive_complaint(const struct sl_drive *d);
/* Where the plugin's process ended by itself: its exit status, else -1. */
int sl_drive_exit_status(const struct sl_drive *d);

/* The plugin's process, seen from outside; false where it is gone. */
struct sl_drive_usage {
    uint64_t anonymous_bytes; /* resident, private */
    uint64_t data_bytes;      /* what RLIMIT_DATA counts */
    int threads, fds;
};
bool sl_drive_usage(struct sl_drive *d, struct sl_drive_usage *ret);
/* The most `data_bytes` that sl_drive_usage() and sl_drive_limit_data() have seen, also when the
 * process is gone. */
uint64_t sl_drive_data_seen(const struct sl_drive *d);
/* Limits the plugin's process to what it has now and `headroom` bytes of private writable memory.
 */
bool sl_drive_limit_data(struct sl_drive *d, uint64_t headroom);

#endif
