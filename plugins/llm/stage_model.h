/* What the stages with a model share: their parameters, the session, and a job's watch over it. */
#ifndef LLM_STAGE_MODEL_H
#define LLM_STAGE_MODEL_H

#include "llm/digest.h"
#include "llm/stages.h"

#define LM_PARAM(variable, id, ...)                                                                \
    const struct sluice_param variable = {                                                         \
        .size = SLUICE_SIZED(struct sluice_param), .name = id, __VA_ARGS__}
#define LM_RANGE(low, high) .flags = SLUICE_PARAM_RANGED, .min = low, .max = high

/* Of every stage with a model. */
extern const struct sluice_param lm_param_model, lm_param_compute, lm_param_context;
/* Of those that leave the answer to the model. */
extern const struct sluice_param lm_param_max_tokens, lm_param_temperature, lm_param_top_k,
    lm_param_top_p, lm_param_min_p, lm_param_repetition_penalty, lm_param_seed;

extern const struct sluice_port lm_port_transcript;

/* An instance; stages put it first in their own. */
struct lm_stage {
    const struct sluice_host *host;
    struct lm_session *session;
};

/* Reads the model's parameters and loads it; on failure host->error() has the message. */
int32_t lm_stage_open(const struct sluice_host *host, struct lm_stage *ret);
void lm_stage_close(struct lm_stage *stage);

/* max_tokens and sampling into `ask`. */
int32_t lm_stage_sampling(const struct sluice_host *host, struct lm_ask *ask);

/* A parameter that may be absent: NULL then. */
int32_t lm_stage_string(const struct sluice_host *host, const char *name, const char **ret);

/* A job as ctx of callbacks: cancellation with a heartbeat, progress, text as it comes. */
struct lm_watch {
    const struct sluice_host *host;
    struct sluice_job *job;
    double fraction;
    const struct sluice_stream *stream; /* NULL: nobody watches */
};

struct lm_watch lm_watch_of(const struct sluice_host *host, struct sluice_job *job);
bool lm_watch_cancelled(void *watch);
void lm_watch_progress(void *watch, double fraction);
void lm_watch_text(void *watch, const char *text, size_t len);

/* Reads the input `transcript`. */
int32_t lm_stage_transcript(const struct sluice_host *host, struct sluice_job *job,
                            struct lm_transcript *ret, struct num_err *err);

#endif
