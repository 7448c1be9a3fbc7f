/* Punctuate: glue between the host and punctuate.h. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "llm/punctuate.h"
#include "llm/stage_model.h"

struct stage {
    struct lm_stage base;
    struct lm_punctuate_options options;
};

void lm_punctuate_destroy(void *self) {
    struct stage *s = self;
    lm_stage_close(&s->base);
    free(s);
}

static void report_of(const struct lm_work *w, const struct lm_ranges_report *r) {
    char text[200];
    lm_work_ranges(w, r);
    if (!r->n_kept)
        return;
    snprintf(text, sizeof text,
             "%zu of %zu segments stay as they were: the model did not keep their words, or they "
             "are longer than its context",
             r->n_kept, r->n_segments);
    w->watch.host->log(w->watch.host, SLUICE_LOG_WARN, text);
}

static int32_t work(const void *self, struct lm_work *w, struct num_err *err) {
    const struct stage *s = self;
    struct lm_punctuate_options options = s->options;
    struct lm_ranges_report report = {0};
    lm_autotranscript transcript = {0};
    int32_t status = lm_work_transcript(w, &transcript, err);
    if (status != SLUICE_OK)
        return status;
    options.ctx = &w->watch;
    options.cancelled = lm_watch_cancelled;
    options.progress = lm_watch_progress;
    status = lm_punctuate(w->session, &transcript, &options, &report, err);
    if (status != SLUICE_OK)
        return status;
    report_of(w, &report);
    return lm_work_write(w, &transcript, err);
}

int32_t lm_punctuate_create(const struct sluice_host *host, const struct lm_backend *backend,
                            void **ret_self) {
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
        status = lm_stage_open(host, backend, "transcript", work, &s->base);
    if (status != SLUICE_OK)
        lm_punctuate_destroy(s);
    else
        *ret_self = s;
    return status;
}

const struct sluice_port lm_port_punctuated = {
    SLUICE_SIZED(struct sluice_port), 0, "transcript", SLUICE_TYPE_TRANSCRIPT,
    "The same words at the same times, with punctuation and case."};

LM_PARAM(lm_param_prompt_punctuate, "prompt", .kind = SLUICE_PARAM_STRING,
         .doc = "What the model is told to do, as its system text; by default a prompt of "
                "the stage's own.");
LM_PARAM(lm_param_window, "window", .kind = SLUICE_PARAM_INT, .default_value = "600",
         LM_RANGE(1, 100000), .unit = "characters",
         .doc = "Segments are asked about together up to so many letters and "
                "numbers.");
