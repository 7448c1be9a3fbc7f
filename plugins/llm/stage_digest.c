/* Summaries and facts by a schema: glue between the host and digest.h. */
#include <stdlib.h>
#include <string.h>

#include "llm/schema.h"
#include "llm/stage_model.h"

#define NOTES                                                                                      \
    "This is a part of a longer transcript. Write short notes on it: what was said, by whom, "     \
    "what "                                                                                        \
    "was decided and who is to do what. Leave nothing important out and add nothing."

static const char system_text[] =
    "You work on transcripts of conversations. You say only what the transcript says.";
static const char summarize_text[] =
    "Summarise the following transcript in a few sentences, in the language of the transcript. "
    "Answer with the summary alone.";
static const char extract_text[] =
    "Extract from the transcript what this JSON schema describes, and answer with that JSON alone. "
    "Leave lists empty where there is nothing.\n\n";

struct stage {
    struct lm_stage base;
    struct lm_digest digest;
    struct lm_grammar *grammar; /* llm/extract's, as the next */
    json_t *schema;
    struct num_buf prompt; /* its own question, with the schema */
};

void lm_digest_destroy(void *self) {
    struct stage *s = self;
    lm_stage_close(&s->base);
    lm_grammar_destroy(s->grammar);
    json_decref(s->schema);
    num_buf_finish(&s->prompt);
    free(s);
}

static int32_t read_schema(const struct sluice_host *host, struct stage *s) {
    const char *text = NULL;
    struct num_err err = {0};
    int32_t status = host->param_json(host, "schema", &text);
    s->schema = status == SLUICE_OK ? json_loads(text, JSON_DECODE_ANY, NULL) : NULL;
    if (!s->schema) {
        host->error(host, "schema: expected a JSON schema");
        return status == SLUICE_OK ? SLUICE_INPUT : status;
    }
    status = lm_schema_compile(s->schema, &s->grammar, &err);
    if (status != SLUICE_OK) {
        num_fail_in(&err, "schema");
        host->error(host, err.text);
    }
    num_buf_adds(&s->prompt, extract_text);
    num_buf_adds(&s->prompt, text);
    if (status == SLUICE_OK && s->prompt.failed) {
        host->error(host, "out of memory");
        status = SLUICE_RESOURCE;
    }
    s->digest.ask.grammar = s->grammar;
    s->digest.ask.schema = s->schema;
    if (!s->digest.whole)
        s->digest.whole = num_buf_text(&s->prompt);
    return status;
}

static void set_metrics(const struct lm_work *w, const struct lm_digest_report *r) {
    const struct sluice_host *host = w->watch.host;
    st_metric(host, w->watch.job, "windows", r->n_windows);
    st_metric(host, w->watch.job, "rounds", r->n_rounds);
    st_metric(host, w->watch.job, "prompt_tokens", (double)r->n_prompt);
    st_metric(host, w->watch.job, "tokens", (double)r->n_tokens);
    if (r->cut)
        host->log(host, SLUICE_LOG_INFO, "the answer was cut off at max_tokens");
}

static int32_t work(const void *self, struct lm_work *w, struct num_err *err) {
    const struct stage *s = self;
    struct lm_digest digest = s->digest;
    struct lm_digest_report report = {0};
    lm_autotranscript transcript = {0};
    int32_t status = lm_work_transcript(w, &transcript, err);
    if (status != SLUICE_OK)
        return status;
    digest.progress = lm_watch_progress;
    digest.ask.ctx = &w->watch;
    digest.ask.cancelled = lm_watch_cancelled;
    if (!digest.ask.grammar)
        digest.ask.text = lm_watch_text;
    status = lm_digest_run(w->session, &transcript, &digest, &w->out, &report, err);
    if (status == SLUICE_OK && w->out.len)
        num_buf_addc(&w->out, '\n');
    if (status == SLUICE_OK)
        set_metrics(w, &report);
    return status;
}

/* `prompt` NULL: the stage makes one of its schema. */
static int32_t create(const struct sluice_host *host, const struct lm_backend *backend,
                      const char *port, const char *prompt, void **ret_self) {
    struct stage *s = calloc(1, sizeof *s);
    if (!s) {
        host->error(host, "out of memory");
        return SLUICE_RESOURCE;
    }
    s->digest.part = NOTES;
    s->digest.ask.system = system_text;
    int32_t status = lm_stage_string(host, "prompt", &s->digest.whole);
    if (!s->digest.whole)
        s->digest.whole = prompt;
    if (status == SLUICE_OK)
        status = backend->sampling(host, &s->digest.ask);
    if (status == SLUICE_OK && !prompt)
        status = read_schema(host, s);
    if (status == SLUICE_OK)
        status = lm_stage_open(host, backend, port, work, &s->base);
    if (status != SLUICE_OK)
        lm_digest_destroy(s);
    else
        *ret_self = s;
    return status;
}

int32_t lm_summarize_create(const struct sluice_host *host, const struct lm_backend *backend,
                            void **ret_self) {
    return create(host, backend, "text", summarize_text, ret_self);
}

int32_t lm_extract_create(const struct sluice_host *host, const struct lm_backend *backend,
                          void **ret_self) {
    return create(host, backend, "json", NULL, ret_self);
}

const struct sluice_port lm_port_summary = {SLUICE_SIZED(struct sluice_port), 0, "text",
                                            SLUICE_TYPE_TEXT, "The summary."};
const struct sluice_port lm_port_json = {SLUICE_SIZED(struct sluice_port), 0, "json",
                                         SLUICE_TYPE_JSON, "JSON that the schema accepts."};

LM_PARAM(lm_param_prompt_digest, "prompt", .kind = SLUICE_PARAM_STRING,
         .doc = "What stands before the transcript, or before notes on its parts where it is "
                "too long; by default a prompt of the stage's own.");
LM_PARAM(lm_param_schema, "schema", .kind = SLUICE_PARAM_JSON,
         .default_value =
             "{\"type\": \"object\", \"properties\": {\"action_items\": {\"type\": "
             "\"array\", \"maxItems\": 50, \"items\": {\"type\": \"object\", "
             "\"properties\": {\"what\": {\"type\": \"string\"}, \"who\": {\"type\": "
             "[\"string\", \"null\"]}}, \"required\": [\"what\", \"who\"]}}, \"names\": "
             "{\"type\": \"array\", \"maxItems\": 100, \"items\": {\"type\": \"string\"}}, "
             "\"decisions\": {\"type\": \"array\", \"maxItems\": 50, \"items\": {\"type\": "
             "\"string\"}}}, \"required\": [\"action_items\", \"names\", \"decisions\"]}",
         .doc = "JSON schema of the answer; by default action items, names and decisions.");
