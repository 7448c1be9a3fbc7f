/* What the stages share: inputs, outputs and messages of a job. */
#include <string.h>

#include "llm/stages.h"

int32_t lm_stage_fail(const struct sluice_host *host, struct sluice_job *job,
                      const struct num_err *err) {
    if (err->status != SLUICE_CANCELLED)
        host->fail(job, err->text);
    return err->status;
}

int32_t lm_stage_input(const struct sluice_host *host, struct sluice_job *job, const char *port,
                       struct sluice_view *ret) {
    struct num_err err;
    *ret = (struct sluice_view){.size = SLUICE_SIZED(struct sluice_view)};
    int32_t status = host->input(job, port, ret);
    if (status == SLUICE_OK)
        return status;
    num_fail(&err, status, "the input `%s` cannot be read", port);
    return lm_stage_fail(host, job, &err);
}

int32_t lm_stage_commit(const struct sluice_host *host, struct sluice_job *job, const char *port,
                        const void *bytes, size_t len) {
    struct num_err err;
    void *data = NULL;
    if (host->cancelled(job))
        return SLUICE_CANCELLED;
    int32_t status = host->output_grow(job, port, len ? len : 1, &data);
    if (status != SLUICE_OK) {
        num_fail(&err, status, "there is no room for the output `%s` of %zu bytes", port, len);
        return lm_stage_fail(host, job, &err);
    }
    if (len)
        memcpy(data, bytes, len);
    return host->output_commit(job, port, len);
}

void lm_stage_metric(const struct sluice_host *host, struct sluice_job *job, const char *name,
                     double value) {
    const struct sluice_metrics *metrics = host->extension(host, SLUICE_EXT_METRICS);
    if (metrics)
        metrics->set(job, name, value);
}
