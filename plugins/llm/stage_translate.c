/* Translate: glue between the host and translate.h. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "llm/stage_model.h"
#include "llm/translate.h"

struct stage {
    struct lm_stage base;
    struct lm_translate_options options;
};

void lm_translate_destroy(void *self) {
    struct stage *s = self;
    lm_stage_close(&s->base);
    free(s);
}

static void report_of(const struct lm_work *w, const struct lm_ranges_report *r) {
    char text[200];
    lm_work_ranges(w, r);
    if (!r->n_kept)
        return;
    snprintf(
        text, sizeof text,
        "%zu of %zu segments are not translated: the model did not answer in the form that was "
        "asked for, or they are longer than its context",
        r->n_kept, r->n_segments);
    w->watch.host->log(w->watch.host, SLUICE_LOG_WARN, text);
}

static int32_t work(const void *self, struct lm_work *w, struct num_err *err) {
    const struct stage *s = self;
    struct lm_translate_options options = s->options;
    struct lm_ranges_report report = {0};
    lm_autotranscript transcript = {0};
    int32_t status = lm_work_transcript(w, &transcript, err);
    if (status != SLUICE_OK)
        return status;
    options.ctx = &w->watch;
    options.cancelled = lm_watch_cancelled;
    options.progress = lm_watch_progress;
    status = lm_translate(w->session, &transcript, &options, &report, err);
    if (status != SLUICE_OK)
        return status;
    report_of(w, &report);
    return lm_work_write(w, &transcript, err);
}

static int32_t read_options(const struct sluice_host *host, struct lm_translate_options *o) {
    int64_t window = 0;
    int32_t status = host->param_string(host, "to", &o->language);
    if (status == SLUICE_OK)
        status = lm_stage_string(host, "prompt", &o->system);
    if (status == SLUICE_OK)
        status = host->param_int(host, "window", &window);
    o->max_marks = (uint32_t)window;
    if (status != SLUICE_OK)
        host->error(host, "the host does not know the parameters of translation");
    else if (!*o->language || strlen(o->language) > 60) {
        host->error(host, "to: expected a language, such as de or German");
        status = SLUICE_INPUT;
    }
    return status;
}

int32_t lm_translate_create(const struct sluice_host *host, const struct lm_backend *backend,
                            void **ret_self) {
    struct stage *s = calloc(1, sizeof *s);
    if (!s) {
        host->error(host, "out of memory");
        return SLUICE_RESOURCE;
    }
    int32_t status = read_options(host, &s->options);
    if (status == SLUICE_OK)
        status = lm_stage_open(host, backend, "transcript", work, &s->base);
    if (status != SLUICE_OK)
        lm_translate_destroy(s);
    else
        *ret_self = s;
    return status;
}

const struct sluice_port lm_port_translated = {
    SLUICE_SIZED(struct sluice_port), 0, "transcript", SLUICE_TYPE_TRANSCRIPT,
    "The same segments at the same times, in the other language; without words."};

LM_PARAM(lm_param_to, "to", .kind = SLUICE_PARAM_STRING, .flags = SLUICE_PARAM_REQUIRED,
         .doc = "The language to translate into: a code such as de, or a name.");
LM_PARAM(lm_param_prompt_translate, "prompt", .kind = SLUICE_PARAM_STRING,
         .doc = "What the model is told to do, as its system text, with {language} for the "
                "language's name; by default a prompt of the stage's own.");
