/* The stages of the plugin, and what they share with each other: nothing here is known to the engine. */
#ifndef LLM_STAGES_H
#define LLM_STAGES_H

#include <sluice/plugin.h>

#include "num/buf.h"
#include "num/err.h"

extern const struct sluice_stage lm_extract_stage, lm_extractive_stage, lm_generate_stage,
    lm_punctuate_stage, lm_summarize_stage;

/* Says why the job fails, and returns its class. */
int32_t lm_stage_fail(const struct sluice_host *host, struct sluice_job *job,
                      const struct num_err *err);
/* Maps an input that must be there; on failure the job has its message. */
int32_t lm_stage_input(const struct sluice_host *host, struct sluice_job *job, const char *port,
                       struct sluice_view *ret);
/* Commits `len` bytes as output `port`; on failure the job has its message. */
int32_t lm_stage_commit(const struct sluice_host *host, struct sluice_job *job, const char *port,
                        const void *data, size_t len);
/* A metric of the job, where the host keeps them. */
void lm_stage_metric(const struct sluice_host *host, struct sluice_job *job, const char *name,
                     double value);

#endif
