/* What a server is asked, as JSON: see client.h. */
#include <string.h>

#include "llm/http/client.h"

static json_t *message(const char *role, const char *text, size_t len) {
    return json_pack("{s:s, s:o}", "role", role, "content", json_stringn(text, len));
}

static json_t *messages_of(const struct lm_ask *ask) {
    json_t *list = json_array();
    if (ask->system && *ask->system)
        json_array_append_new(list, message("system", ask->system, strlen(ask->system)));
    json_array_append_new(list, message("user", ask->user, ask->user_len));
    return list;
}

static void add_sampling(json_t *body, const struct lm_ask *ask) {
    const struct lm_sampling *how = &ask->sampling;
    if (ask->max_tokens)
        json_object_set_new(body, "max_tokens", json_integer(ask->max_tokens));
    json_object_set_new(body, "temperature", json_real(how->temperature));
    if (how->top_p > 0 && how->top_p < 1)
        json_object_set_new(body, "top_p", json_real(how->top_p));
    if (how->temperature > 0)
        json_object_set_new(body, "seed", json_integer((json_int_t)how->seed));
}

/* What the answer has to be: a schema as OpenAI and vLLM have it, a grammar as llama.cpp has it. */
static void add_form(json_t *body, const struct lm_ask *ask) {
    if (ask->schema)
        json_object_set_new(body, "response_format",
                            json_pack("{s:s, s:{s:s, s:b, s:O}}", "type", "json_schema",
                                      "json_schema", "name", "answer", "strict", 1, "schema",
                                      ask->schema));
    else if (ask->gbnf)
        json_object_set_new(body, "grammar", json_string(ask->gbnf));
}

/* They would cut off what has a form. */
static void add_stops(json_t *body, const struct lm_ask *ask) {
    json_t *list = ask->n_stops && !ask->schema && !ask->gbnf ? json_array() : NULL;
    for (uint32_t i = 0; i < ask->n_stops; i++)
        json_array_append_new(list, json_string(ask->stops[i]));
    if (list)
        json_object_set_new(body, "stop", list);
}

static void add_extra(json_t *body, const json_t *extra) {
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)(uintptr_t)extra, key, value) {
        if (json_is_null(value))
            json_object_del(body, key);
        else
            json_object_set(body, key, value);
    }
}

char *lm_client_body(const struct lm_client_options *options, const struct lm_ask *ask) {
    json_t *body = json_pack("{s:s, s:o, s:b, s:{s:b}}", "model", options->model, "messages",
                             messages_of(ask), "stream", 1, "stream_options", "include_usage", 1);
    if (!body)
        return NULL;
    add_sampling(body, ask);
    add_form(body, ask);
    add_stops(body, ask);
    add_extra(body, options->extra);
    char *text = json_dumps(body, JSON_COMPACT | JSON_REAL_PRECISION(7));
    json_decref(body);
    return text;
}
