/*
 * The host: the plugin's process. It takes frames from the core, runs one stage on jobs, and gives
 * the stage the functions of struct sluice_host.
 *
 * Two threads of ours: the I/O thread reads the socket (jobs, cancel, stop; at its end the core is
 * gone and the process exits at once); the main thread loads the plugin and calls it. A plugin may
 * call from threads of its own. One mutex guards the jobs, the messages and the sending of frames,
 * so frames of a job never follow its DONE.
 *
 *     START --> load, create() --> READY --> [JOB --> process() --> DONE]...
 *                        \                          \--> STOP --> destroy(), exit 0
 *                         \--> REFUSED, exit 1
 *
 * A finished host is left by _exit: libraries below plugins (CUDA, OpenMP) crash in their own
 * teardown, and the end of the process frees everything.
 */
#ifndef WORKER_HOST_H
#define WORKER_HOST_H

#include <jansson.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <sys/types.h>

#include <sluice/plugin.h>

#include "base/mem.h"
#include "ipc/fault.h"
#include "ipc/frame.h"
#include "worker/sandbox.h"

#define SL_HOST_EXIT_REFUSED   1 /* the plugin did not load, or create() failed */
#define SL_HOST_EXIT_CORE_GONE 2 /* or it spoke out of turn */

#define SL_HOST_RETIRED     64   /* shells of ended jobs that are kept to recognise late calls */
#define SL_HOST_MAX_REPORTS 1000 /* warnings and errors that are sent on; the rest is logged */

struct sl_job_input {
    const char *port, *type, *path;
    int fd; /* -1: file/1 */
    void *map;
    size_t len;
    bool mapped;
};

struct sl_job_output {
    const char *port, *type;
    int fd;
    bool optional, committed;
    void *map;
    size_t mapped;             /* bytes at map, also the size of the file */
    bool in_memory;            /* map is private memory, and the file is still empty */
    char problem[SL_ERR_SIZE]; /* why its commit was refused, or "" */
};

struct sluice_job {
    uint32_t magic; /* alive or ended */
    uint32_t id;
    struct sl_host *host;
    struct sluice_job *next; /* in `waiting` or `active` */
    struct sl_arena arena;   /* texts and arrays below */
    const char *item, *scratch;
    int fault; /* enum sl_fault that it is to meet */
    struct sl_job_input *inputs;
    struct sl_job_output *outputs;
    int n_inputs, n_outputs;
    atomic_bool cancelled;
    char failure[SL_ERR_SIZE];
    int64_t progress_ms;   /* when progress was sent last; 0: never */
    bool progress_pending; /* a later one was held back */
    double fraction;
    char doing[256];
};

struct sl_host {
    struct sluice_host table; /* what the plugin sees; first, so that one pointer is the other */
    int socket;
    pthread_mutex_t lock;                /* guards all that follows up to `error` */
    pthread_cond_t changed;              /* waiting or stopping changed; monotonic clock */
    struct sluice_job *waiting, *active; /* in the order they came */
    int n_active;
    bool stopping;
    struct sluice_job *retired[SL_HOST_RETIRED];
    unsigned n_retired;
    int n_reports;
    uint32_t fault_job; /* the fault that was announced for the next job, and its number */
    int fault;
    char error[SL_ERR_SIZE]; /* of create() */

    /* Set once by START, before the plugin runs. */
    bool confined; /* in the sandbox */
    char *plugin_path, *stage_id, *share_dir;
    json_t *params, *params_text; /* object: values; object: name -> JSON text */
    struct sluice_budget budget;
    struct sluice_stage stage; /* a copy, zero where the plugin's is shorter */
    void *self;

    /* the one being sent; last, as it is large and not zeroed; guarded by `lock` */
    struct sl_frame_out frame;
};

/* Runs the host on the core's socket (any descriptor; it is moved away and closed on exec). `base`:
 * for its sandbox. Never returns. */
_Noreturn void sl_host_run(int socket, const struct sl_sandbox_base *base);

/* ---- Shared by the files of the host ---- */

/* Sends host->frame, to which the fields were added; `lock` held. A lost core ends the process. */
void sl_host_send(struct sl_host *host);
/* Writes "level: text" into the attempt's log; warnings and errors are also sent, for `job` (0:
 * none). `lock` held. */
void sl_host_report(struct sl_host *host, uint32_t job, int level, const char *text);
void sl_host_reportf(struct sl_host *host, uint32_t job, int level, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));

/* job.c: makes a job from its frame and descriptors (taken); NULL where they do not fit, then DONE
 * was sent. `lock` held. */
struct sluice_job *sl_job_create(struct sl_host *host, const struct sl_frame *frame, int *fds,
                                 int n_fds);
/* Ends a job that is in neither list any more: sends pending progress and DONE, and retires it.
 * `lock` held. */
void sl_job_end(struct sluice_job *job, int32_t status);
/* The job, if it is alive and a call may name it; else NULL and a line in the log. `lock` must not
 * be held. */
struct sluice_job *sl_job_check(struct sluice_job *job, const char *call);
/* Fills in the functions that name a job. */
void sl_job_fill_table(struct sluice_host *table);

/* strike.c: carries out the job's fault, if it has one. True: the job shall end with *ret_status in
 * place of what the stage says; false: the stage is to be called. `lock` must not be held. */
bool sl_job_strike(struct sluice_job *job, int32_t *ret_status);

/* output.c */
int32_t sl_job_output_grow(struct sluice_job *job, const char *port, uint64_t capacity,
                           void **ret_data);
int32_t sl_job_output_commit(struct sluice_job *job, const char *port, uint64_t len);
void sl_job_outputs_close(struct sluice_job *job);

/* params.c: parameters and the static extensions. */
void sl_params_fill_table(struct sluice_host *table);
const void *sl_job_extension(const char *id);

#endif
