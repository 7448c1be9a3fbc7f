/*
 * The plugin `llm_http`: the stages of `llm` with a server that speaks the OpenAI API. Here are
 * their parameters; what they do with answers is the same code.
 */
#include <stdlib.h>
#include <string.h>

#include "llm/http/client.h"
#include "llm/stage_model.h"

static LM_PARAM(param_endpoint, "endpoint", .kind = SLUICE_PARAM_STRING,
                .flags = SLUICE_PARAM_REQUIRED,
                .doc = "Base URL of the server's API, such as http://localhost:8080/v1; without a "
                       "path it is /v1.");
static LM_PARAM(param_model, "model", .kind = SLUICE_PARAM_STRING, .default_value = "default",
                .doc = "The model's name at the server; one that has a single model may not care.");
static LM_PARAM(param_key, "key", .kind = SLUICE_PARAM_JSON,
                .doc = "Where the server's key is: { env: NAME } or { file: PATH }, whose first "
                       "line counts.");
static LM_PARAM(param_context, "context", .kind = SLUICE_PARAM_INT, .default_value = "8192",
                LM_RANGE(256, 4194304), .unit = "tokens",
                .doc = "Tokens of question and answer that the server's model takes.");
static LM_PARAM(param_timeout, "timeout", .kind = SLUICE_PARAM_DURATION, .default_value = "2m",
                LM_RANGE(0.1, 86400), .unit = "s",
                .doc = "A server that sends nothing for so long has failed.");
static LM_PARAM(param_attempts, "attempts", .kind = SLUICE_PARAM_INT, .default_value = "4",
                LM_RANGE(1, LM_CLIENT_ATTEMPTS),
                .doc = "How often a question is asked where the server is busy or breaks off; "
                       "longer waits are the stage's retry.");
static LM_PARAM(param_ca, "ca", .kind = SLUICE_PARAM_STRING,
                .doc = "A file of certificates to trust, instead of the system's.");
static LM_PARAM(param_extra, "extra", .kind = SLUICE_PARAM_JSON, .default_value = "{}",
                .doc = "Further members of every request, such as { top_k: 20 }; null takes one "
                       "of the usual ones out.");

/* ---- The backend ---------------------------------------------------------------------------- */

static int32_t read_sampling(const struct sluice_host *host, struct lm_ask *ask) {
    int64_t tokens = 0, seed = 0;
    int32_t status = host->param_int(host, "max_tokens", &tokens);
    if (status == SLUICE_OK)
        status = host->param_int(host, "seed", &seed);
    if (status == SLUICE_OK)
        status = lm_stage_float(host, "temperature", &ask->sampling.temperature);
    if (status == SLUICE_OK)
        status = lm_stage_float(host, "top_p", &ask->sampling.top_p);
    ask->max_tokens = (uint32_t)tokens;
    ask->sampling.seed = (uint64_t)seed;
    if (status != SLUICE_OK)
        host->error(host, "the host does not know the parameters of sampling");
    return status;
}

static int32_t read_numbers(const struct sluice_host *host, struct lm_client_options *o) {
    int64_t context = 0, batch = 0, attempts = 0;
    int32_t thoughts = 0, status = host->param_int(host, "context", &context);
    if (status == SLUICE_OK)
        status = host->param_int(host, "batch_size", &batch);
    if (status == SLUICE_OK)
        status = host->param_int(host, "attempts", &attempts);
    if (status == SLUICE_OK)
        status = host->param_float(host, "timeout", &o->timeout_s);
    if (status == SLUICE_OK)
        status = host->param_bool(host, "thoughts", &thoughts);
    o->context = (uint32_t)context;
    o->parallel = (uint32_t)batch;
    o->attempts = (uint32_t)attempts;
    o->thoughts = thoughts != 0;
    return status;
}

static int32_t read_texts(const struct sluice_host *host, struct lm_client_options *o,
                          const char **ret_endpoint, const char **ret_key) {
    int32_t status = host->param_string(host, "endpoint", ret_endpoint);
    if (status == SLUICE_OK)
        status = host->param_string(host, "model", &o->model);
    if (status == SLUICE_OK)
        status = lm_stage_string(host, "ca", &o->ca);
    if (status == SLUICE_OK)
        status = host->param_json(host, "key", ret_key);
    return status == SLUICE_UNSUPPORTED ? SLUICE_OK : status;
}

/* `extra`, owned by the caller. */
static int32_t read_extra(const struct sluice_host *host, json_t **ret, struct num_err *err) {
    const char *text = "{}";
    int32_t status = host->param_json(host, "extra", &text);
    *ret = status == SLUICE_OK ? json_loads(text, 0, NULL) : NULL;
    if (json_is_object(*ret))
        return SLUICE_OK;
    return num_fail(err, SLUICE_INPUT, "extra: expected a map of members, such as { top_k: 20 }");
}

static int32_t read_endpoint(const char *url, const char *key, struct lm_endpoint *ret,
                             struct num_err *err) {
    int32_t status = lm_endpoint_parse(url, ret, err);
    return status == SLUICE_OK && key ? lm_endpoint_read_key(ret, key, err) : status;
}

static void warn_of_open_key(const struct sluice_host *host, const struct lm_endpoint *e) {
    char text[400];
    if (!e->key || !e->open || e->loopback)
        return;
    snprintf(text, sizeof text, "the key goes to %s without encryption; use https://", e->origin);
    host->log(host, SLUICE_LOG_WARN, text);
}

static int32_t open_client(const struct sluice_host *host, struct lm_session **ret) {
    struct lm_client_options o = {0};
    const char *url = NULL, *key = NULL;
    json_t *extra = NULL;
    struct num_err err = {0};
    int32_t status = read_texts(host, &o, &url, &key);
    if (status == SLUICE_OK)
        status = read_numbers(host, &o);
    if (status != SLUICE_OK) {
        host->error(host, "the host does not know the parameters of a server");
        return status;
    }
    status = read_extra(host, &extra, &err);
    o.extra = extra;
    if (status == SLUICE_OK)
        status = read_endpoint(url, key, &o.endpoint, &err);
    if (status == SLUICE_OK) {
        warn_of_open_key(host, &o.endpoint);
        status = lm_client_open(&o, ret, &err);
    }
    lm_endpoint_finish(&o.endpoint);
    json_decref(extra);
    if (status != SLUICE_OK)
        host->error(host, err.text);
    return status;
}

static const struct lm_backend server = {open_client, read_sampling};

/* ---- The stages ----------------------------------------------------------------------------- */

#define OF_SERVER                                                                                  \
    &param_context, &lm_param_batch_size, &param_timeout, &param_attempts, &param_ca,              \
        &param_extra, &lm_param_thoughts, NULL
#define OF_SAMPLING &lm_param_max_tokens, &lm_param_temperature, &lm_param_top_p, &lm_param_seed
#define COMMON                                                                                     \
    .size = SLUICE_SIZED(struct sluice_stage), .version = "1",                                     \
    .inputs = (const struct sluice_port *const[]){&lm_port_transcript, NULL},                      \
    .process = lm_stage_process, .max_jobs = LM_MAX_REQUESTS

static int32_t create_generate(const struct sluice_host *host, void **ret_self) {
    return lm_generate_create(host, &server, ret_self);
}

static const struct sluice_stage generate = {
    COMMON,
    .id = "llm_http/generate",
    .summary = "Asks a language model at a server anything about a transcript.",
    .outputs = (const struct sluice_port *const[]){&lm_port_answer, NULL},
    .params = (const struct sluice_param *const[]){&param_endpoint, &param_model, &param_key,
                                                   &lm_param_prompt_generate, &lm_param_system,
                                                   &lm_param_stop, &lm_param_grammar, OF_SAMPLING,
                                                   OF_SERVER},
    .create = create_generate,
    .destroy = lm_generate_destroy};

static int32_t create_summarize(const struct sluice_host *host, void **ret_self) {
    return lm_summarize_create(host, &server, ret_self);
}

static const struct sluice_stage summarize = {
    COMMON,
    .id = "llm_http/summarize",
    .summary = "Summarises a transcript of any length with a language model at a server.",
    .outputs = (const struct sluice_port *const[]){&lm_port_summary, NULL},
    .params = (const struct sluice_param *const[]){&param_endpoint, &param_model, &param_key,
                                                   &lm_param_prompt_digest, OF_SAMPLING, OF_SERVER},
    .create = create_summarize,
    .destroy = lm_digest_destroy};

static int32_t create_extract(const struct sluice_host *host, void **ret_self) {
    return lm_extract_create(host, &server, ret_self);
}

static const struct sluice_stage extract = {
    COMMON,
    .id = "llm_http/extract",
    .summary = "Extracts facts from a transcript as JSON of a schema, with a language model at a "
               "server.",
    .outputs = (const struct sluice_port *const[]){&lm_port_json, NULL},
    .params = (const struct sluice_param *const[]){&param_endpoint, &param_model, &param_key,
                                                   &lm_param_prompt_digest, &lm_param_schema,
                                                   OF_SAMPLING, OF_SERVER},
    .create = create_extract,
    .destroy = lm_digest_destroy};

static int32_t create_punctuate(const struct sluice_host *host, void **ret_self) {
    return lm_punctuate_create(host, &server, ret_self);
}

static const struct sluice_stage punctuate = {
    COMMON,
    .id = "llm_http/punctuate",
    .summary = "Restores punctuation and case with a language model at a server, without changing "
               "a word.",
    .outputs = (const struct sluice_port *const[]){&lm_port_punctuated, NULL},
    .params = (const struct sluice_param *const[]){&param_endpoint, &param_model, &param_key,
                                                   &lm_param_prompt_punctuate, &lm_param_window,
                                                   OF_SERVER},
    .create = create_punctuate,
    .destroy = lm_rewrite_destroy};

static int32_t create_translate(const struct sluice_host *host, void **ret_self) {
    return lm_translate_create(host, &server, ret_self);
}

static const struct sluice_stage translate = {
    COMMON,
    .id = "llm_http/translate",
    .summary = "Translates the segments of a transcript with a language model at a server.",
    .outputs = (const struct sluice_port *const[]){&lm_port_translated, NULL},
    .params = (const struct sluice_param *const[]){&param_endpoint, &param_model, &param_key,
                                                   &lm_param_to, &lm_param_prompt_translate,
                                                   &lm_param_window, OF_SERVER},
    .create = create_translate,
    .destroy = lm_rewrite_destroy};

static const struct sluice_stage *const stages[] = {&extract,   &generate,  &punctuate,
                                                    &summarize, &translate, NULL};

SLUICE_EXPORT const struct sluice_plugin sluice_plugin_entry = {SLUICE_PLUGIN_HEADER, "llm_http",
                                                                SLUICE_VERSION, "MIT", stages};
