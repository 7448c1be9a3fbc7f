/*
 * Punctuate and translate: glue between the host and what gives every segment a new text
 * (punctuate.h, translate.h).
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "llm/punctuate.h"
#include "llm/stage_model.h"
#include "llm/translate.h"

/* What tells the stages from each other. */
struct kind {
    int32_t (*run)(struct lm_session *s, struct lm_transcript *transcript,
                   const struct lm_ranges_options *options, struct lm_ranges_report *ret,
                   struct num_err *err);
    bool to;          /* has the parameter of that name */
    const char *kept; /* what is said of segments without an answer that counts */
};

struct stage {
    struct lm_stage base;
    const struct kind *kind;
    struct lm_ranges_options options;
};

static const struct kind punctuate = {lm_punctuate, false,
                                      "stay as they were: the model did not keep their words"};
static const struct kind translate = {
    lm_translate, true,
    "are not translated: the model did not answer in the form that was asked for"};

void lm_rewrite_destroy(void *self) {
    struct stage *s = self;
    lm_stage_close(&s->base);
    free(s);
}

static void report_of(const struct stage *s, const struct lm_work *w,
                      const struct lm_ranges_report *r) {
    const struct sluice_host *host = w->watch.host;
    char text[200];
    st_metric(host, w->watch.job, "segments", (double)r->n_segments);
    st_metric(host, w->watch.job, "segments_kept", (double)r->n_kept);
    st_metric(host, w->watch.job, "questions", (double)r->n_questions);
    st_metric(host, w->watch.job, "tokens", (double)r->n_tokens);
    if (!r->n_kept)
        return;
    snprintf(text, sizeof text, "%zu of %zu segments %s, or they are longer than its context",
             r->n_kept, r->n_segments, s->kind->kept);
    host->log(host, SLUICE_LOG_WARN, text);
}

static int32_t work(const void *self, struct lm_work *w, struct num_err *err) {
    const struct stage *s = self;
    struct lm_ranges_options options = s->options;
    struct lm_ranges_report report = {0};
    lm_autotranscript transcript = {0};
    int32_t status = lm_work_transcript(w, &transcript, err);
    if (status != SLUICE_OK)
        return status;
    options.ctx = &w->watch;
    options.cancelled = lm_watch_cancelled;
    options.progress = lm_watch_progress;
    status = s->kind->run(w->session, &transcript, &options, &report, err);
    if (status != SLUICE_OK)
        return status;
    report_of(s, w, &report);
    return lm_work_write(w, &transcript, err);
}

static int32_t read_options(const struct sluice_host *host, const struct kind *kind,
                            struct lm_ranges_options *o) {
    int64_t window = 0;
    int32_t status = kind->to ? host->param_string(host, "to", &o->language) : SLUICE_OK;
    if (status == SLUICE_OK)
        status = lm_stage_string(host, "prompt", &o->system);
    if (status == SLUICE_OK)
        status = host->param_int(host, "window", &window);
    o->max_marks = (uint32_t)window;
    if (status != SLUICE_OK)
        host->error(host, "the host does not know the stage's parameters");
    else if (o->language && (!*o->language || strlen(o->language) > 60)) {
        host->error(host, "to: expected a language, such as de or German");
        status = SLUICE_INPUT;
    }
    return status;
}

static int32_t create(const struct sluice_host *host, const struct lm_backend *backend,
                      const struct kind *kind, void **ret_self) {
    struct stage *s = calloc(1, sizeof *s);
    if (!s) {
        host->error(host, "out of memory");
        return SLUICE_RESOURCE;
    }
    s->kind = kind;
    int32_t status = read_options(host, kind, &s->options);
    if (status == SLUICE_OK)
        status = lm_stage_open(host, backend, "transcript", work, &s->base);
    if (status != SLUICE_OK)
        lm_rewrite_destroy(s);
    else
        *ret_self = s;
    return status;
}

int32_t lm_punctuate_create(const struct sluice_host *host, const struct lm_backend *backend,
                            void **ret_self) {
    return create(host, backend, &punctuate, ret_self);
}

int32_t lm_translate_create(const struct sluice_host *host, const struct lm_backend *backend,
                            void **ret_self) {
    return create(host, backend, &translate, ret_self);
}

const struct sluice_port lm_port_punctuated = {
    SLUICE_SIZED(struct sluice_port), 0, "transcript", SLUICE_TYPE_TRANSCRIPT,
    "The same words at the same times, with punctuation and case."};
const struct sluice_port lm_port_translated = {
    SLUICE_SIZED(struct sluice_port), 0, "transcript", SLUICE_TYPE_TRANSCRIPT,
    "The same segments at the same times, in the other language; without words."};

LM_PARAM(lm_param_prompt_punctuate, "prompt", .kind = SLUICE_PARAM_STRING,
         .doc = "What the model is told to do, as its system text; by default a prompt of "
                "the stage's own.");
LM_PARAM(lm_param_prompt_translate, "prompt", .kind = SLUICE_PARAM_STRING,
         .doc = "What the model is told to do, as its system text, with {language} for the "
                "language's name; by default a prompt of the stage's own.");
LM_PARAM(lm_param_to, "to", .kind = SLUICE_PARAM_STRING, .flags = SLUICE_PARAM_REQUIRED,
         .doc = "The language to translate into: a code such as de, or a name.");
LM_PARAM(lm_param_window, "window", .kind = SLUICE_PARAM_INT, .default_value = "600",
         LM_RANGE(1, 100000), .unit = "characters",
         .doc = "Segments are asked about together up to so many letters and "
                "numbers.");
