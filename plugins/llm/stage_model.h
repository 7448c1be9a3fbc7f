/*
 * What the stages with a model share: their parameters, the session, and a job at work.
 *
 * A stage is made of two halves that know nothing of each other: what it does with answers
 * (lm_work_fn), and where answers come from (struct lm_backend: a model here, or a server).
 */
#ifndef LLM_STAGE_MODEL_H
#define LLM_STAGE_MODEL_H

#include "llm/digest.h"
#include "llm/ranges.h"
#include "llm/stages.h"

#define LM_PARAM(variable, id, ...)                                                                \
    const struct sluice_param variable = {                                                         \
        .size = SLUICE_SIZED(struct sluice_param), .name = id, __VA_ARGS__}
#define LM_RANGE(low, high) .flags = SLUICE_PARAM_RANGED, .min = low, .max = high

/* Of every stage with a model. */
extern const struct sluice_param lm_param_context, lm_param_batch_size, lm_param_thoughts;
/* Of those that leave the answer to the model. */
extern const struct sluice_param lm_param_max_tokens, lm_param_temperature, lm_param_top_p,
    lm_param_seed;
/* What stages are told to do, and how. */
extern const struct sluice_param lm_param_prompt_digest, lm_param_schema, lm_param_prompt_generate,
    lm_param_system, lm_param_stop, lm_param_grammar, lm_param_prompt_punctuate, lm_param_window,
    lm_param_to, lm_param_prompt_translate;

extern const struct sluice_port lm_port_transcript, lm_port_summary, lm_port_answer, lm_port_json,
    lm_port_punctuated, lm_port_translated;

/* Where answers come from. On failure host->error() has the message. */
struct lm_backend {
    /* Reads the parameters of the model, and opens it. */
    int32_t (*open)(const struct sluice_host *host, struct lm_session **ret);
    /* max_tokens and sampling into `ask`. */
    int32_t (*sampling)(const struct sluice_host *host, struct lm_ask *ask);
};

/* A job as ctx of callbacks: cancellation with a heartbeat, progress, text as it comes. */
struct lm_watch {
    const struct sluice_host *host;
    struct sluice_job *job;
    _Atomic double fraction;            /* read by the main thread beside the work's */
    const struct sluice_stream *stream; /* NULL: nobody watches */
};

bool lm_watch_cancelled(void *watch);
void lm_watch_progress(void *watch, double fraction);
void lm_watch_text(void *watch, const char *text, size_t len);

/* A job at work, on a thread of its own where several are. */
struct lm_work {
    struct lm_watch watch; /* first: it is the ctx of callbacks */
    struct lm_session *session;
    struct num_buf out; /* what the output is to be */
};

/* Does a job: its output into w->out. Calls no [main-thread] function of the host. */
typedef int32_t lm_work_fn(const void *stage, struct lm_work *w, struct num_err *err);

/* An instance; stages put it first in their own. */
struct lm_stage {
    const struct sluice_host *host;
    struct lm_session *session;
    const char *port; /* of the output */
    lm_work_fn *work;
};

int32_t lm_stage_open(const struct sluice_host *host, const struct lm_backend *backend,
                      const char *port, lm_work_fn *work, struct lm_stage *ret);
void lm_stage_close(struct lm_stage *stage);

/* The stages' process(): this job, and others beside it where the session gains from that
 * (stage_crew.c). */
int32_t lm_stage_process(void *self, struct sluice_job *job);

/* A parameter that may be absent: NULL then. */
int32_t lm_stage_string(const struct sluice_host *host, const char *name, const char **ret);
int32_t lm_stage_float(const struct sluice_host *host, const char *name, float *ret);

/* Reads the input `transcript`. */
int32_t lm_work_transcript(struct lm_work *w, struct lm_transcript *ret, struct num_err *err);

/* The transcript as the output. */
int32_t lm_work_write(struct lm_work *w, const struct lm_transcript *t, struct num_err *err);

/* ---- The stages, for each backend ------------------------------------------------------------ */

int32_t lm_summarize_create(const struct sluice_host *host, const struct lm_backend *backend,
                            void **ret_self);
int32_t lm_extract_create(const struct sluice_host *host, const struct lm_backend *backend,
                          void **ret_self);
void lm_digest_destroy(void *self);
int32_t lm_generate_create(const struct sluice_host *host, const struct lm_backend *backend,
                           void **ret_self);
void lm_generate_destroy(void *self);
int32_t lm_punctuate_create(const struct sluice_host *host, const struct lm_backend *backend,
                            void **ret_self);
int32_t lm_translate_create(const struct sluice_host *host, const struct lm_backend *backend,
                            void **ret_self);
void lm_rewrite_destroy(void *self); /* of the last two */

#endif
