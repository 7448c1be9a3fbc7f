/* What a pipeline file says about failure, time and resources of a stage: plain data. */
#ifndef CONFIG_POLICY_H
#define CONFIG_POLICY_H

#include <stdbool.h>
#include <stdint.h>

/* `retry:`. Which classes are retried is a bit set: SL_RETRY_BIT(SL_CRASH). */
#define SL_RETRY_BIT(cls) (1u << -(cls))
struct sl_retry_policy {
    int attempts;     /* in all, at least 1 */
    double backoff_s; /* before the second attempt */
    double factor;    /* of each following one, at least 1 */
    double max_backoff_s;
    uint32_t on;        /* SL_RETRY_BIT of crash, timeout, transient, resource, internal */
    double grow_memory; /* factor of the memory limit after RESOURCE; 1: none */
    double grow_gpu_memory;
    int quarantine; /* attempts in a row that killed their worker, then no more; 0: not counted */
    bool ignore; /* then: ignore (or `optional: true`): a final failure leaves the outputs absent */
};

/* `cache:`: whether results of earlier runs are used. */
enum sl_cache_use_kind { SL_CACHE_AUTO /* of deterministic stages */, SL_CACHE_OFF, SL_CACHE_ON };

/* `keep:`. How long a worker lives after its task. */
enum sl_keep_kind {
    SL_KEEP_AUTO,  /* not given: sl_plan_make() settles it as one of the others */
    SL_KEEP_NONE,  /* it exits */
    SL_KEEP_BATCH, /* it takes the items of this run */
    SL_KEEP_FOR,   /* the same, and exits when it had nothing to do for idle_s */
};
struct sl_keep {
    enum sl_keep_kind kind;
    double idle_s;
    int workers;     /* of the stage at a time; 0: as many as may run at once */
    int uses;        /* tasks of one worker; 0: any number */
    uint64_t growth; /* bytes that its memory may grow after its first task; 0: any */
};

/* `on_oom:`. What is tried after a failure for lack of memory, in order. */
enum sl_oom_step {
    SL_OOM_NONE,
    SL_OOM_SHRINK,    /* half the batch */
    SL_OOM_OTHER_GPU, /* another card */
    SL_OOM_GROW,      /* a higher limit */
    SL_OOM_CPU,       /* the processor */
    SL_OOM_N_STEPS,
};
struct sl_oom_policy {
    int n;
    enum sl_oom_step steps[SL_OOM_N_STEPS - 1]; /* each at most once */
};

/* `timeout:`, in seconds; 0: none. */
struct sl_timeouts {
    double start_s; /* spawn to READY (loading models) */
    double idle_s;  /* without progress */
    double total_s; /* of one attempt */
};

/* `resources:`; 0: no limit. How each is kept: proc/limits.h. */
struct sl_resources {
    uint64_t memory, gpu_memory; /* bytes */
    double cpus;
    double cpu_time_s;  /* of one attempt */
    int open_files;     /* of each process */
    int processes;      /* and threads, at a time */
    uint64_t file_size; /* bytes of a file it writes */
    uint64_t scratch;   /* bytes in the scratch folder */
};
#define SL_OPEN_FILES_MIN 32 /* a worker needs some to start */

/* `device:`. */
enum sl_device_kind { SL_DEVICE_AUTO, SL_DEVICE_CPU, SL_DEVICE_CUDA };
struct sl_device {
    enum sl_device_kind kind;
    int index; /* of CUDA; -1: any */
};

/* The defaults of the file format (docs/pipeline-file.md): attempts 3, backoff 1 s, factor 2,
 * max_backoff 30 s, on all five, quarantine 3, start 2 m, idle 2 m, total 2 h, growth 1 GiB. */
struct sl_retry_policy sl_retry_default(void);
struct sl_timeouts sl_timeouts_default(void);
struct sl_keep sl_keep_default(void);

/* "shrink", "other_gpu"... of a step. */
const char *sl_oom_step_name(enum sl_oom_step step);

#endif
