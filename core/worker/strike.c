/*
 * Faults on purpose (sluice run --inject): what the host does in place of the stage, or before it,
 * when the core has said so for a job. What is seen from outside is what the fault would look like
 * in any stage, so retries, timeouts and limits can be rehearsed with the plugins that are there.
 *
 * `oom` takes no memory: it fails as a stage does whose allocation failed. A rehearsal must not
 * bring the machine down.
 */
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "worker/host.h"

#define GARBAGE_BYTES 64
#define BEAT_MS       250

static void say(struct sluice_job *job, int fault) {
    pthread_mutex_lock(&job->host->lock);
    sl_host_reportf(job->host, job->id, SLUICE_LOG_WARN, "fault injected (--inject): %s",
                    sl_fault_name(fault));
    pthread_mutex_unlock(&job->host->lock);
}

/* The default action, whatever the plugin or a sanitizer made of the signal. */
static void crash(void) {
    signal(SIGSEGV, SIG_DFL);
    raise(SIGSEGV);
}

static void hang(void) {
    for (;;)
        pause();
}

static int32_t fail(struct sluice_job *job, int32_t status, const char *why) {
    job->host->table.fail(job, why);
    return status;
}

static int32_t write_garbage(struct sluice_job *job) {
    const struct sluice_host *table = &job->host->table;
    for (int i = 0; i < job->n_outputs; i++) {
        void *data;
        int32_t rc = table->output_grow(job, job->outputs[i].port, GARBAGE_BYTES, &data);
        if (rc < 0)
            return rc;
        memset(data, 0xa5, GARBAGE_BYTES);
        table->output_commit(job, job->outputs[i].port, GARBAGE_BYTES); /* is refused, mostly */
    }
    return SLUICE_OK;
}

/* Returns OK when the time is over, or CANCELLED. */
static int32_t dawdle(struct sluice_job *job) {
    const struct sluice_host *table = &job->host->table;
    const struct timespec beat = {0, BEAT_MS * 1000000L};
    for (int left_ms = SL_FAULT_SLOW_S * 1000; left_ms > 0; left_ms -= BEAT_MS) {
        table->progress(job, -1, "slow on purpose (--inject)");
        if (table->cancelled(job))
            return SLUICE_CANCELLED;
        nanosleep(&beat, NULL);
    }
    return SLUICE_OK;
}

bool sl_job_strike(struct sluice_job *job, int32_t *ret_status) {
    int fault = job->fault;
    job->fault = SL_FAULT_NONE;
    if (fault == SL_FAULT_NONE)
        return false;
    say(job, fault);
    switch (fault) {
    case SL_FAULT_CRASH:
        crash();
        return false;
    case SL_FAULT_HANG:
        hang();
        return false;
    case SL_FAULT_OOM:
        *ret_status = fail(job, SLUICE_RESOURCE, "out of memory (injected by --inject)");
        return true;
    case SL_FAULT_TRANSIENT:
        *ret_status = fail(job, SLUICE_TRANSIENT, "a passing failure (injected by --inject)");
        return true;
    case SL_FAULT_GARBAGE:
        *ret_status = write_garbage(job);
        return true;
    case SL_FAULT_SLOW:
        *ret_status = dawdle(job);
        return *ret_status != SLUICE_OK;
    default:
        return false;
    }
}
