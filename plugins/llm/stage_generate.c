/* Generate: one prompt over a transcript, and the model's answer. */
#include <stdlib.h>
#include <string.h>

#include "llm/gbnf.h"
#include "llm/stage_model.h"

#define PLACEHOLDER "{transcript}"
#define PLAIN       "{text}"

struct stage {
    struct lm_stage base;
    struct lm_ask ask;
    const char *prompt;
    struct lm_grammar *grammar; /* NULL: any text */
    json_t *stop;               /* owns the stop strings */
    const char *stops[LM_MAX_STOP_STRINGS];
};

void lm_generate_destroy(void *self) {
    struct stage *s = self;
    lm_stage_close(&s->base);
    lm_grammar_destroy(s->grammar);
    json_decref(s->stop);
    free(s);
}

/* The list `stop`, checked here, so that a mistake is one of the pipeline and not of an item. */
static int32_t read_stops(const struct sluice_host *host, struct stage *s) {
    const char *text = NULL;
    int32_t status = host->param_json(host, "stop", &text);
    size_t i;
    json_t *one;
    if (status == SLUICE_UNSUPPORTED)
        return SLUICE_OK;
    s->stop = status == SLUICE_OK ? json_loads(text, JSON_DECODE_ANY, NULL) : NULL;
    bool good = json_is_array(s->stop) && json_array_size(s->stop) <= LM_MAX_STOP_STRINGS;
    json_array_foreach(s->stop, i, one) {
        size_t len = json_string_length(one);
        good = good && json_is_string(one) && len > 0 && len <= LM_MAX_STOP_BYTES;
        if (good)
            s->stops[i] = json_string_value(one);
    }
    if (!good) {
        host->error(host, "stop: expected a list of at most 16 strings of 1 to 256 bytes");
        return SLUICE_INPUT;
    }
    s->ask.stops = s->stops;
    s->ask.n_stops = (uint32_t)json_array_size(s->stop);
    return SLUICE_OK;
}

static int32_t read_grammar(const struct sluice_host *host, struct stage *s) {
    struct num_err err = {0};
    int32_t status = lm_stage_string(host, "grammar", &s->ask.gbnf);
    if (status != SLUICE_OK || !s->ask.gbnf)
        return status;
    status = lm_gbnf_compile(s->ask.gbnf, strlen(s->ask.gbnf), &s->grammar, &err);
    if (status != SLUICE_OK) {
        num_fail_in(&err, "grammar");
        host->error(host, err.text);
    }
    s->ask.grammar = s->grammar;
    return status;
}

/* The texts of all segments, one a line, without speakers. */
static void print_plain(const struct lm_transcript *t, struct num_buf *out) {
    for (size_t i = 0; i < t->n_segments; i++)
        if (t->segments[i].len) {
            num_buf_add(out, t->segments[i].text, t->segments[i].len);
            num_buf_addc(out, '\n');
        }
}

/* The prompt with its placeholders filled in; what the transcript says is not looked at for
 * more. */
static void fill(const char *prompt, const struct lm_transcript *t, struct num_buf *out) {
    while (*prompt) {
        if (strncmp(prompt, PLACEHOLDER, strlen(PLACEHOLDER)) == 0) {
            lm_transcript_print(t, 0, t->n_segments, out);
            prompt += strlen(PLACEHOLDER);
        } else if (strncmp(prompt, PLAIN, strlen(PLAIN)) == 0) {
            print_plain(t, out);
            prompt += strlen(PLAIN);
        } else {
            num_buf_addc(out, *prompt++);
        }
    }
}

static int32_t work(const void *self, struct lm_work *w, struct num_err *err) {
    const struct stage *s = self;
    struct lm_ask ask = s->ask;
    struct lm_answer answer = {0};
    lm_autotranscript transcript = {0};
    num_autobuf prompt = {0};
    int32_t status = lm_work_transcript(w, &transcript, err);
    if (status != SLUICE_OK)
        return status;
    fill(s->prompt, &transcript, &prompt);
    ask.user = num_buf_text(&prompt);
    ask.user_len = prompt.len;
    ask.ctx = &w->watch;
    ask.cancelled = lm_watch_cancelled;
    ask.text = lm_watch_text;
    if (prompt.failed)
        return num_fail_memory(err, "the prompt", prompt.len);
    status = lm_session_ask(w->session, &ask, &w->out, &answer, err);
    if (status == SLUICE_OK && w->out.len)
        num_buf_addc(&w->out, '\n');
    st_metric(w->watch.host, w->watch.job, "prompt_tokens", answer.n_prompt);
    st_metric(w->watch.host, w->watch.job, "tokens", answer.n_tokens);
    return status;
}

int32_t lm_generate_create(const struct sluice_host *host, const struct lm_backend *backend,
                           void **ret_self) {
    struct stage *s = calloc(1, sizeof *s);
    if (!s) {
        host->error(host, "out of memory");
        return SLUICE_RESOURCE;
    }
    int32_t status = host->param_string(host, "prompt", &s->prompt);
    if (status == SLUICE_OK)
        status = lm_stage_string(host, "system", &s->ask.system);
    if (status == SLUICE_OK)
        status = backend->sampling(host, &s->ask);
    if (status == SLUICE_OK)
        status = read_stops(host, s);
    if (status == SLUICE_OK)
        status = read_grammar(host, s);
    if (status == SLUICE_OK)
        status = lm_stage_open(host, backend, "text", work, &s->base);
    if (status != SLUICE_OK)
        lm_generate_destroy(s);
    else
        *ret_self = s;
    return status;
}

const struct sluice_port lm_port_answer = {SLUICE_SIZED(struct sluice_port), 0, "text",
                                           SLUICE_TYPE_TEXT, "The model's answer."};

LM_PARAM(lm_param_prompt_generate, "prompt", .kind = SLUICE_PARAM_STRING,
         .flags = SLUICE_PARAM_REQUIRED,
         .doc = "What the model is asked; {transcript} stands for the transcript, a line a "
                "turn with speakers, and {text} for its segments alone.");
LM_PARAM(lm_param_system, "system", .kind = SLUICE_PARAM_STRING,
         .doc = "What the model is told beforehand, as its system text.");
LM_PARAM(lm_param_stop, "stop", .kind = SLUICE_PARAM_JSON,
         .doc = "Strings that end the answer and are no part of it.");
LM_PARAM(lm_param_grammar, "grammar", .kind = SLUICE_PARAM_STRING,
         .doc = "What the answer has to be, as a grammar in GBNF; by default any text.");
