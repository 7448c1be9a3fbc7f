/* The stages with a model: parameters, session, callbacks. See stage_model.h. */
#include "llm/stage_model.h"

#include <string.h>

static const char *const computes[] = {"auto", "f32", "bf16", "int8", NULL};

LM_PARAM(lm_param_model, "model", .kind = SLUICE_PARAM_STRING, .flags = SLUICE_PARAM_REQUIRED,
         .doc = "Path of a language model: a GGUF file or a Hugging Face folder.");
LM_PARAM(lm_param_compute, "compute", .kind = SLUICE_PARAM_STRING, .default_value = "auto",
         .choices = computes,
         .doc =
             "What to calculate with: f32 is exact; bf16 and int8 are faster; auto is bf16 where "
             "the processor multiplies it or the file is quantised, else f32.");
LM_PARAM(lm_param_context, "context", .kind = SLUICE_PARAM_INT, .default_value = "8192",
         LM_RANGE(0, 4194304), .unit = "tokens",
         .doc = "Most tokens of question and answer, at most the model's own; 0 is just that.");
LM_PARAM(lm_param_max_tokens, "max_tokens", .kind = SLUICE_PARAM_INT, .default_value = "512",
         LM_RANGE(1, 1048576), .unit = "tokens", .doc = "Most tokens of the answer.");
LM_PARAM(lm_param_temperature, "temperature", .kind = SLUICE_PARAM_FLOAT, .default_value = "0",
         LM_RANGE(0, 10), .doc = "0 takes the likeliest token, 1 samples as the model says.");
LM_PARAM(lm_param_top_k, "top_k", .kind = SLUICE_PARAM_INT, .default_value = "0",
         LM_RANGE(0, 1000000), .doc = "Sample among so many of the likeliest tokens; 0: all.");
LM_PARAM(lm_param_top_p, "top_p", .kind = SLUICE_PARAM_FLOAT, .default_value = "1",
         LM_RANGE(0.0001, 1),
         .doc = "Sample among the likeliest tokens that together have this probability.");
LM_PARAM(lm_param_min_p, "min_p", .kind = SLUICE_PARAM_FLOAT, .default_value = "0", LM_RANGE(0, 1),
         .doc = "Leave out tokens below this part of the likeliest one's probability.");
LM_PARAM(lm_param_repetition_penalty, "repetition_penalty", .kind = SLUICE_PARAM_FLOAT,
         .default_value = "1", LM_RANGE(0.01, 100),
         .doc = "Above 1, tokens that were there already become less likely.");
LM_PARAM(lm_param_seed, "seed", .kind = SLUICE_PARAM_INT, .default_value = "0",
         LM_RANGE(0, 9007199254740991.0),
         .doc = "Of the random numbers of sampling; the same seed gives the same text.");

const struct sluice_port lm_port_transcript = {SLUICE_SIZED(struct sluice_port), 0, "transcript",
                                               SLUICE_TYPE_TRANSCRIPT,
                                               "What was said, with speakers where it has them."};

/* ---- Parameters ----------------------------------------------------------------------------- */

int32_t lm_stage_string(const struct sluice_host *host, const char *name, const char **ret) {
    int32_t status = host->param_string(host, name, ret);
    if (status != SLUICE_UNSUPPORTED)
        return status;
    *ret = NULL;
    return SLUICE_OK;
}

static int32_t read_float(const struct sluice_host *host, const char *name, float *ret) {
    double value = 0;
    int32_t status = host->param_float(host, name, &value);
    *ret = (float)value;
    return status;
}

int32_t lm_stage_sampling(const struct sluice_host *host, struct lm_ask *ask) {
    struct lm_sampling *how = &ask->sampling;
    int64_t tokens = 0, top_k = 0, seed = 0;
    int32_t status = host->param_int(host, "max_tokens", &tokens);
    if (status == SLUICE_OK)
        status = host->param_int(host, "top_k", &top_k);
    if (status == SLUICE_OK)
        status = host->param_int(host, "seed", &seed);
    if (status == SLUICE_OK)
        status = read_float(host, "temperature", &how->temperature);
    if (status == SLUICE_OK)
        status = read_float(host, "top_p", &how->top_p);
    if (status == SLUICE_OK)
        status = read_float(host, "min_p", &how->min_p);
    if (status == SLUICE_OK)
        status = read_float(host, "repetition_penalty", &how->repetition_penalty);
    ask->max_tokens = (uint32_t)tokens;
    how->top_k = (uint32_t)top_k;
    how->seed = (uint64_t)seed;
    if (status != SLUICE_OK)
        host->error(host, "the host does not know the parameters of sampling");
    return status;
}

static enum lm_compute compute_of(const char *name) {
    for (int i = 0; computes[i]; i++)
        if (strcmp(computes[i], name) == 0)
            return (enum lm_compute)i;
    return LM_AUTO;
}

int32_t lm_stage_open(const struct sluice_host *host, struct lm_stage *ret) {
    const struct sluice_budget *budget = host->budget(host);
    struct lm_session_options options = {.n_threads = budget->cpus, .memory = budget->memory};
    const char *compute = NULL;
    int64_t context = 0;
    struct num_err err = {0};
    int32_t status = host->param_string(host, "model", &options.model);
    if (status == SLUICE_OK)
        status = host->param_string(host, "compute", &compute);
    if (status == SLUICE_OK)
        status = host->param_int(host, "context", &context);
    if (status != SLUICE_OK) {
        host->error(host, "the host does not know the parameters of a model");
        return status;
    }
    options.compute = compute_of(compute);
    options.context = (uint32_t)context;
    status = lm_session_open(&options, &ret->session, &err);
    ret->host = host;
    if (status != SLUICE_OK)
        host->error(host, err.text);
    return status;
}

void lm_stage_close(struct lm_stage *stage) {
    lm_session_close(stage->session);
    stage->session = NULL;
}

/* ---- Jobs ----------------------------------------------------------------------------------- */

struct lm_watch lm_watch_of(const struct sluice_host *host, struct sluice_job *job) {
    return (struct lm_watch){host, job, -1, host->extension(host, SLUICE_EXT_STREAM)};
}

bool lm_watch_cancelled(void *watch) {
    const struct lm_watch *w = watch;
    w->host->progress(w->job, w->fraction, NULL);
    return w->host->cancelled(w->job) != 0;
}

void lm_watch_progress(void *watch, double fraction) {
    struct lm_watch *w = watch;
    w->fraction = fraction;
    w->host->progress(w->job, fraction, NULL);
}

void lm_watch_text(void *watch, const char *text, size_t len) {
    const struct lm_watch *w = watch;
    if (w->stream)
        w->stream->publish(w->job, "text", text, len);
}

int32_t lm_stage_transcript(const struct sluice_host *host, struct sluice_job *job,
                            struct lm_transcript *ret, struct num_err *err) {
    struct sluice_view view;
    int32_t status = st_input(host, job, "transcript", &view, err);
    return status == SLUICE_OK ? lm_transcript_read(view.data, view.len, ret, err) : status;
}
