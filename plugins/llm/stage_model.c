/* The stages with a model: common parameters, session, callbacks. See stage_model.h. */
#include "llm/stage_model.h"

#include <string.h>

#define MAX_PART (32 << 10) /* bytes that the host takes at a time */

LM_PARAM(lm_param_context, "context", .kind = SLUICE_PARAM_INT, .default_value = "8192",
         LM_RANGE(0, 4194304), .unit = "tokens",
         .doc = "Most tokens of question and answer, at most the model's own; 0 is just that.");
LM_PARAM(lm_param_batch_size, "batch_size", .kind = SLUICE_PARAM_INT, .default_value = "4",
         LM_RANGE(1, LM_MAX_REQUESTS), .unit = "questions",
         .doc = "Questions at a time, of one transcript or of several.");
LM_PARAM(lm_param_thoughts, "thoughts", .kind = SLUICE_PARAM_BOOL, .default_value = "false",
         .doc = "Keep what a model thinks aloud before its answer, in <think> and </think>.");
LM_PARAM(lm_param_max_tokens, "max_tokens", .kind = SLUICE_PARAM_INT, .default_value = "512",
         LM_RANGE(1, 1048576), .unit = "tokens", .doc = "Most tokens of the answer.");
LM_PARAM(lm_param_temperature, "temperature", .kind = SLUICE_PARAM_FLOAT, .default_value = "0",
         LM_RANGE(0, 10), .doc = "0 takes the likeliest token, 1 samples as the model says.");
LM_PARAM(lm_param_top_p, "top_p", .kind = SLUICE_PARAM_FLOAT, .default_value = "1",
         LM_RANGE(0.0001, 1),
         .doc = "Sample among the likeliest tokens that together have this probability.");
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

int32_t lm_stage_float(const struct sluice_host *host, const char *name, float *ret) {
    double value = 0;
    int32_t status = host->param_float(host, name, &value);
    *ret = (float)value;
    return status;
}

int32_t lm_stage_open(const struct sluice_host *host, const struct lm_backend *backend,
                      const char *port, lm_work_fn *work, struct lm_stage *ret) {
    *ret = (struct lm_stage){.host = host, .port = port, .work = work};
    return backend->open(host, &ret->session);
}

void lm_stage_close(struct lm_stage *stage) {
    lm_session_close(stage->session);
    stage->session = NULL;
}

/* ---- Jobs ----------------------------------------------------------------------------------- */

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

/* In parts that the host takes, cut between characters. */
void lm_watch_text(void *watch, const char *text, size_t len) {
    const struct lm_watch *w = watch;
    while (w->stream && len) {
        size_t n = len < MAX_PART ? len : MAX_PART;
        while (n < len && n > 1 && ((uint8_t)text[n] & 0xc0) == 0x80)
            n--;
        w->stream->publish(w->job, "text", text, n);
        text += n;
        len -= n;
    }
}

int32_t lm_work_write(struct lm_work *w, const struct lm_transcript *t, struct num_err *err) {
    num_autotext *text = json_dumps(t->root, JSON_INDENT(1) | JSON_REAL_PRECISION(15));
    if (!text)
        return num_fail_memory(err, "the transcript", 0);
    num_buf_adds(&w->out, text);
    return SLUICE_OK;
}

int32_t lm_work_transcript(struct lm_work *w, struct lm_transcript *ret, struct num_err *err) {
    struct sluice_view view;
    const struct num_watch watch = {&w->watch, lm_watch_cancelled, NULL};
    int32_t status = st_input(w->watch.host, w->watch.job, "transcript", &view, err);
    return status == SLUICE_OK ? lm_transcript_read(view.data, view.len, &watch, ret, err) : status;
}
