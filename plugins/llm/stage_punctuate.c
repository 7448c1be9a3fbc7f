/* The stage llm/punctuate: glue between the host and punctuate.h. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "llm/punctuate.h"
#include "llm/stage_model.h"

struct stage {
    struct lm_stage base;
    struct lm_punctuate_options options;
};

static void destroy(void *self) {
    struct stage *s = self;
    lm_stage_close(&s->base);
    free(s);
}

static int32_t create(const struct sluice_host *host, void **ret_self) {
    struct stage *s = calloc(1, sizeof *s);
    int64_t window = 0;
    if (!s) {
        host->error(host, "out of memory");
        return SLUICE_RESOURCE;
    }
    int32_t status = lm_stage_string(host, "prompt", &s->options.system);
    if (status == SLUICE_OK)
        status = host->param_int(host, "window", &window);
    s->options.max_marks = (uint32_t)window;
    if (status == SLUICE_OK)
        status = lm_stage_open(host, &s->base);
    if (status != SLUICE_OK)
        destroy(s);
    else
        *ret_self = s;
    return status;
}

static void report_of(const struct stage *s, struct sluice_job *job,
                      const struct lm_punctuate_report *r) {
    const struct sluice_host *host = s->base.host;
    char text[200];
    st_metric(host, job, "segments", (double)r->n_segments);
    st_metric(host, job, "segments_kept", (double)r->n_kept);
    st_metric(host, job, "questions", (double)r->n_questions);
    st_metric(host, job, "tokens", (double)r->n_tokens);
    if (!r->n_kept)
        return;
    snprintf(text, sizeof text,
             "%zu of %zu segments stay as they were: the model did not keep their words, or they "
             "are longer than its context",
             r->n_kept, r->n_segments);
    host->log(host, SLUICE_LOG_WARN, text);
}

static int32_t process(void *self, struct sluice_job *job) {
    const struct stage *s = self;
    const struct sluice_host *host = s->base.host;
    struct lm_watch watch = lm_watch_of(host, job);
    struct lm_punctuate_options options = s->options;
    struct lm_punctuate_report report = {0};
    struct num_err err = {0};
    lm_autotranscript transcript = {0};
    int32_t status = lm_stage_transcript(host, job, &transcript, &err);
    if (status != SLUICE_OK)
        return st_end(host, job, status, &err);
    options.ctx = &watch;
    options.cancelled = lm_watch_cancelled;
    options.progress = lm_watch_progress;
    status = lm_punctuate(s->base.session, &transcript, &options, &report, &err);
    num_autotext *text = status == SLUICE_OK
                             ? json_dumps(transcript.root, JSON_INDENT(1) | JSON_REAL_PRECISION(15))
                             : NULL;
    if (status == SLUICE_OK && !text)
        status = num_fail_memory(&err, "the transcript", 0);
    if (status != SLUICE_OK)
        return st_end(host, job, status, &err);
    report_of(s, job, &report);
    status = st_commit(host, job, "transcript", text, strlen(text), &err);
    return st_end(host, job, status, &err);
}

static const struct sluice_port transcript_out = {
    SLUICE_SIZED(struct sluice_port), 0, "transcript", SLUICE_TYPE_TRANSCRIPT,
    "The same words at the same times, with punctuation and case."};

static LM_PARAM(param_prompt, "prompt", .kind = SLUICE_PARAM_STRING,
                .doc = "What the model is told to do, as its system text; by default a prompt of "
                       "the stage's own.");
static LM_PARAM(param_window, "window", .kind = SLUICE_PARAM_INT, .default_value = "600",
                LM_RANGE(1, 100000), .unit = "characters",
                .doc = "Segments of one speaker are asked about together up to so many letters and "
                       "numbers.");

const struct sluice_stage lm_punctuate_stage = {
    .size = SLUICE_SIZED(struct sluice_stage),
    .flags = SLUICE_STAGE_DETERMINISTIC,
    .id = "llm/punctuate",
    .version = "1",
    .summary = "Restores punctuation and case with a language model, without changing a word.",
    .inputs = (const struct sluice_port *const[]){&lm_port_transcript, NULL},
    .outputs = (const struct sluice_port *const[]){&transcript_out, NULL},
    .params = (const struct sluice_param *const[]){&lm_param_model, &param_prompt, &param_window,
                                                   &lm_param_compute, &lm_param_context, NULL},
    .create = create,
    .process = process,
    .destroy = destroy};
