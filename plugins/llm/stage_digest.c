/* The stages llm/summarize and llm/extract: glue between the host and digest.h. */
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
    struct lm_grammar *grammar; /* llm/extract's */
    struct num_buf prompt;      /* its own question, with the schema */
    const char *port;
};

static void destroy(void *self) {
    struct stage *s = self;
    lm_stage_close(&s->base);
    lm_grammar_destroy(s->grammar);
    num_buf_finish(&s->prompt);
    free(s);
}

static int32_t read_schema(const struct sluice_host *host, struct stage *s) {
    const char *text = NULL;
    struct num_err err = {0};
    int32_t status = host->param_json(host, "schema", &text);
    json_t *schema = status == SLUICE_OK ? json_loads(text, JSON_DECODE_ANY, NULL) : NULL;
    if (!schema) {
        host->error(host, "schema: expected a JSON schema");
        return status == SLUICE_OK ? SLUICE_INPUT : status;
    }
    status = lm_schema_compile(schema, &s->grammar, &err);
    json_decref(schema);
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
    if (!s->digest.whole)
        s->digest.whole = num_buf_text(&s->prompt);
    return status;
}

/* `prompt` NULL: the stage makes one of its schema. */
static int32_t create(const struct sluice_host *host, const char *port, const char *prompt,
                      void **ret_self) {
    struct stage *s = calloc(1, sizeof *s);
    if (!s) {
        host->error(host, "out of memory");
        return SLUICE_RESOURCE;
    }
    s->port = port;
    s->digest.part = NOTES;
    s->digest.ask.system = system_text;
    int32_t status = lm_stage_string(host, "prompt", &s->digest.whole);
    if (!s->digest.whole)
        s->digest.whole = prompt;
    if (status == SLUICE_OK)
        status = lm_stage_sampling(host, &s->digest.ask);
    if (status == SLUICE_OK && strcmp(port, "json") == 0)
        status = read_schema(host, s);
    if (status == SLUICE_OK)
        status = lm_stage_open(host, &s->base);
    if (status != SLUICE_OK)
        destroy(s);
    else
        *ret_self = s;
    return status;
}

static int32_t create_summarize(const struct sluice_host *host, void **ret_self) {
    return create(host, "text", summarize_text, ret_self);
}

static int32_t create_extract(const struct sluice_host *host, void **ret_self) {
    return create(host, "json", NULL, ret_self);
}

static void set_metrics(const struct stage *s, struct sluice_job *job,
                        const struct lm_digest_report *r) {
    const struct sluice_host *host = s->base.host;
    st_metric(host, job, "windows", r->n_windows);
    st_metric(host, job, "rounds", r->n_rounds);
    st_metric(host, job, "prompt_tokens", (double)r->n_prompt);
    st_metric(host, job, "tokens", (double)r->n_tokens);
    if (r->cut)
        host->log(host, SLUICE_LOG_INFO, "the answer was cut off at max_tokens");
}

static int32_t process(void *self, struct sluice_job *job) {
    const struct stage *s = self;
    const struct sluice_host *host = s->base.host;
    struct lm_watch watch = lm_watch_of(host, job);
    struct lm_digest digest = s->digest;
    struct lm_digest_report report = {0};
    struct num_err err = {0};
    lm_autotranscript transcript = {0};
    num_autobuf out = {0};
    int32_t status = lm_stage_transcript(host, job, &transcript, &err);
    if (status != SLUICE_OK)
        return st_end(host, job, status, &err);
    digest.progress = lm_watch_progress;
    digest.ask.ctx = &watch;
    digest.ask.cancelled = lm_watch_cancelled;
    if (!digest.ask.grammar)
        digest.ask.text = lm_watch_text;
    status = lm_digest_run(s->base.session, &transcript, &digest, &out, &report, &err);
    if (status == SLUICE_OK && out.len)
        num_buf_addc(&out, '\n');
    if (status == SLUICE_OK && out.failed)
        status = num_fail_memory(&err, "the answer", out.len);
    if (status != SLUICE_OK)
        return st_end(host, job, status, &err);
    set_metrics(s, job, &report);
    status = st_commit(host, job, s->port, num_buf_text(&out), out.len, &err);
    return st_end(host, job, status, &err);
}

static const struct sluice_port text_out = {SLUICE_SIZED(struct sluice_port), 0, "text",
                                            SLUICE_TYPE_TEXT, "The summary."};
static const struct sluice_port json_out = {SLUICE_SIZED(struct sluice_port), 0, "json",
                                            SLUICE_TYPE_JSON, "JSON that the schema accepts."};

static LM_PARAM(param_prompt, "prompt", .kind = SLUICE_PARAM_STRING,
                .doc =
                    "What stands before the transcript, or before notes on its parts where it is "
                    "too long; by default a prompt of the stage's own.");
static LM_PARAM(param_schema, "schema", .kind = SLUICE_PARAM_JSON,
                .default_value =
                    "{\"type\": \"object\", \"properties\": {\"action_items\": {\"type\": "
                    "\"array\", \"maxItems\": 50, \"items\": {\"type\": \"object\", "
                    "\"properties\": {\"what\": {\"type\": \"string\"}, \"who\": {\"type\": "
                    "[\"string\", \"null\"]}}, \"required\": [\"what\", \"who\"]}}, \"names\": "
                    "{\"type\": \"array\", \"maxItems\": 100, \"items\": {\"type\": \"string\"}}, "
                    "\"decisions\": {\"type\": \"array\", \"maxItems\": 50, \"items\": {\"type\": "
                    "\"string\"}}}, \"required\": [\"action_items\", \"names\", \"decisions\"]}",
                .doc = "JSON schema of the answer; by default action items, names and decisions.");

const struct sluice_stage lm_summarize_stage = {
    .size = SLUICE_SIZED(struct sluice_stage),
    .flags = SLUICE_STAGE_DETERMINISTIC,
    .id = "llm/summarize",
    .version = "1",
    .summary = "Summarises a transcript of any length with a language model.",
    .inputs = (const struct sluice_port *const[]){&lm_port_transcript, NULL},
    .outputs = (const struct sluice_port *const[]){&text_out, NULL},
    .params =
        (const struct sluice_param *const[]){
            &lm_param_model, &param_prompt, &lm_param_max_tokens, &lm_param_temperature,
            &lm_param_top_k, &lm_param_top_p, &lm_param_min_p, &lm_param_repetition_penalty,
            &lm_param_seed, &lm_param_compute, &lm_param_context, NULL},
    .create = create_summarize,
    .process = process,
    .destroy = destroy};

const struct sluice_stage lm_extract_stage = {
    .size = SLUICE_SIZED(struct sluice_stage),
    .flags = SLUICE_STAGE_DETERMINISTIC,
    .id = "llm/extract",
    .version = "1",
    .summary = "Extracts facts from a transcript as JSON of a schema, with a language model.",
    .inputs = (const struct sluice_port *const[]){&lm_port_transcript, NULL},
    .outputs = (const struct sluice_port *const[]){&json_out, NULL},
    .params =
        (const struct sluice_param *const[]){&lm_param_model, &param_prompt, &param_schema,
                                             &lm_param_max_tokens, &lm_param_temperature,
                                             &lm_param_top_k, &lm_param_top_p, &lm_param_min_p,
                                             &lm_param_repetition_penalty, &lm_param_seed,
                                             &lm_param_compute, &lm_param_context, NULL},
    .create = create_extract,
    .process = process,
    .destroy = destroy};
