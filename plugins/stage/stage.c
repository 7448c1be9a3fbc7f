/* A job and its host: see stage.h. */
#include "stage/stage.h"

#include <string.h>

static bool is_cancelled(void *ctx) {
    const struct st_job *j = ctx;
    return j->host->cancelled(j->job) != 0;
}

static void report_progress(void *ctx, double done) {
    const struct st_job *j = ctx;
    j->host->progress(j->job, done, NULL);
}

struct num_watch st_watch(struct st_job *job) {
    return (struct num_watch){job, is_cancelled, report_progress};
}

int32_t st_input(const struct sluice_host *host, struct sluice_job *job, const char *port,
                 struct sluice_view *ret, struct num_err *err) {
    *ret = (struct sluice_view){.size = SLUICE_SIZED(struct sluice_view)};
    int32_t status = host->input(job, port, ret);
    return status == SLUICE_OK ? status
                               : num_fail(err, status, "the input `%s` cannot be read", port);
}

int32_t st_commit_two(const struct sluice_host *host, struct sluice_job *job, const char *port,
                      const void *data, size_t len, const void *more, size_t more_len,
                      struct num_err *err) {
    size_t all = len + more_len;
    void *room = NULL;
    if (host->cancelled(job))
        return num_fail(err, SLUICE_CANCELLED, "cancelled");
    int32_t status = host->output_grow(job, port, all ? all : 1, &room);
    if (status != SLUICE_OK)
        return num_fail(err, status, "there is no room for the output `%s` of %zu bytes", port,
                        all);
    if (len)
        memcpy(room, data, len);
    if (more_len)
        memcpy((char *)room + len, more, more_len);
    status = host->output_commit(job, port, all);
    return status == SLUICE_OK ? status : num_fail(err, status, "the output `%s` is refused", port);
}

int32_t st_commit(const struct sluice_host *host, struct sluice_job *job, const char *port,
                  const void *data, size_t len, struct num_err *err) {
    return st_commit_two(host, job, port, data, len, NULL, 0, err);
}

int32_t st_end(const struct sluice_host *host, struct sluice_job *job, int32_t status,
               const struct num_err *err) {
    if (status != SLUICE_OK && status != SLUICE_CANCELLED)
        host->fail(job, err->text);
    return status;
}

void st_metric(const struct sluice_host *host, struct sluice_job *job, const char *name,
               double value) {
    const struct sluice_metrics *metrics = host->extension(host, SLUICE_EXT_METRICS);
    if (metrics)
        metrics->set(job, name, value);
}

int32_t st_fail_cuda(struct num_err *err) {
    return num_fail(err, SLUICE_UNSUPPORTED,
                    "device: cuda was asked for, and this build has no CUDA backend; build it with "
                    "the CUDA Toolkit, or use device: cpu");
}
