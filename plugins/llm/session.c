/*
 * Questions to a model: see session.h. Here are the parts' lives, the prompt and one request at a time;
 * the engine keeps what prompts have in common.
 */
#include "llm/session.h"

#include <stdlib.h>
#include <string.h>

#include "llm/constraint.h"
#include "llm/template.h"
#include "num/unicode.h"

#define FIXED_DAY   "26 Jul 2024" /* what Llama 3.1's template has where it is told none */
#define FIXED_NOW_S 1721952000

struct name {
    const char *text;
    size_t len;
};

struct lm_session {
    struct num_pool *pool;
    struct lm_model *model;
    struct lm_engine *engine;
    const struct lm_tokenizer *tokenizer;
    struct lm_template *template; /* NULL: the model has none */
    struct name *names;           /* of special tokens */
    size_t n_names;
    bool begins[256]; /* bytes that a name begins with */
    int32_t ends[LM_MAX_ENDS];
    uint32_t n_ends, n_own_ends;      /* the first ones are the model's own */
    struct lm_vocabulary *vocabulary; /* made for the first grammar */
};

/* ---- Life ----------------------------------------------------------------------------------- */

static int32_t find_names(struct lm_session *s, struct num_err *err) {
    uint32_t n = lm_tokenizer_size(s->tokenizer);
    s->names = calloc((size_t)n + 1, sizeof *s->names);
    if (!s->names)
        return num_fail_memory(err, "names of tokens", n * sizeof *s->names);
    for (uint32_t i = 0; i < n; i++) {
        const char *text = lm_tokenizer_name(s->tokenizer, (int32_t)i);
        if (!lm_tokenizer_is_special(s->tokenizer, (int32_t)i) || !*text)
            continue;
        s->names[s->n_names++] = (struct name){text, strlen(text)};
        s->begins[(uint8_t)*text] = true;
    }
    return SLUICE_OK;
}

static void add_end(struct lm_session *s, int32_t token) {
    for (uint32_t i = 0; i < s->n_ends; i++)
        if (s->ends[i] == token)
            return;
    if (token >= 0 && s->n_ends < LM_MAX_ENDS)
        s->ends[s->n_ends++] = token;
}

/* The model's own ends, and those by which chat templates end a turn: files often name but one. */
static void find_ends(struct lm_session *s) {
    static const char *const turns[] = {"<|im_end|>", "<|eot_id|>", "<|eom_id|>", "<|end|>",
                                        "<end_of_turn>"};
    const struct lm_config *c = lm_model_config(s->model);
    for (uint32_t i = 0; i < c->n_eos; i++)
        add_end(s, c->eos[i]);
    s->n_own_ends = s->n_ends;
    add_end(s, lm_tokenizer_eos(s->tokenizer));
    for (size_t i = 0; i < sizeof turns / sizeof *turns; i++)
        add_end(s, lm_tokenizer_find(s->tokenizer, turns[i]));
}

static int32_t start_engine(struct lm_session *s, const struct lm_session_options *o,
                            struct num_err *err) {
    uint32_t own = lm_model_config(s->model)->n_context;
    struct lm_limits limits = {
        .n_requests = 1, .context = o->context < own ? o->context : own, .memory = o->memory};
    return lm_engine_create(s->model, &limits, &s->engine, err);
}

static int32_t open_parts(struct lm_session *s, const struct lm_session_options *o,
                          struct num_err *err) {
    int32_t status = num_pool_create(o->n_threads, &s->pool, err);
    if (status == SLUICE_OK)
        status = lm_model_load(o->model, o->compute, s->pool, o->memory, &s->model, err);
    if (status != SLUICE_OK)
        return status;
    s->tokenizer = lm_model_tokenizer(s->model);
    if (!s->tokenizer)
        return num_fail(err, SLUICE_UNSUPPORTED, "the model \"%.300s\" has no tokenizer", o->model);
    const char *chat = lm_model_chat_template(s->model);
    if (chat)
        status = lm_template_parse(chat, strlen(chat), "chat template", &s->template, err);
    if (status == SLUICE_OK)
        status = find_names(s, err);
    if (status == SLUICE_OK)
        status = start_engine(s, o, err);
    if (status == SLUICE_OK)
        find_ends(s);
    return status;
}

int32_t lm_session_open(const struct lm_session_options *options, struct lm_session **ret,
                        struct num_err *err) {
    struct lm_session *s = calloc(1, sizeof *s);
    if (!s)
        return num_fail_memory(err, "a session", sizeof *s);
    int32_t status = open_parts(s, options, err);
    if (status != SLUICE_OK)
        lm_session_close(s);
    else
        *ret = s;
    return status;
}

void lm_session_close(struct lm_session *s) {
    if (!s)
        return;
    lm_vocabulary_destroy(s->vocabulary);
    lm_engine_destroy(s->engine);
    lm_template_destroy(s->template);
    lm_model_free(s->model);
    num_pool_destroy(s->pool);
    free(s->names);
    free(s);
}

uint32_t lm_session_context(const struct lm_session *s) {
    return lm_engine_plan(s->engine)->context;
}

/* ---- Prompts -------------------------------------------------------------------------------- */

/* The length of the special token's name at `text`, 0 where there is none. */
static size_t name_at(const struct lm_session *s, const char *text, size_t len) {
    for (size_t i = 0; s->begins[(uint8_t)*text] && i < s->n_names; i++)
        if (s->names[i].len <= len && memcmp(text, s->names[i].text, s->names[i].len) == 0)
            return s->names[i].len;
    return 0;
}

/* The text with a blank behind the first character of every name; names of one character go. */
static void break_names(const struct lm_session *s, const char *text, size_t len,
                        struct num_buf *out) {
    for (size_t i = 0, n; i < len; i += n) {
        size_t name = name_at(s, text + i, len - i);
        num_char_next(text + i, len - i, &n);
        if (name != n)
            num_buf_add(out, text + i, n);
        if (name)
            num_buf_addc(out, ' ');
    }
}

static json_t *message(const char *role, const struct num_buf *text) {
    return json_pack("{s:s, s:o*}", "role", role, "content",
                     json_stringn(num_buf_text(text), text->len));
}

static json_t *variables_of(const struct lm_session *s, const struct num_buf *system,
                            const struct num_buf *user) {
    int32_t bos = lm_tokenizer_bos(s->tokenizer), eos = lm_tokenizer_eos(s->tokenizer);
    json_t *messages = json_array();
    if (system)
        json_array_append_new(messages, message("system", system));
    json_array_append_new(messages, message("user", user));
    return json_pack("{s:o, s:b, s:b, s:s, s:s, s:s}", "messages", messages,
                     "add_generation_prompt", 1, "enable_thinking", 0, "date_string", FIXED_DAY,
                     "bos_token", bos < 0 ? "" : lm_tokenizer_name(s->tokenizer, bos), "eos_token",
                     eos < 0 ? "" : lm_tokenizer_name(s->tokenizer, eos));
}

static int32_t render(const struct lm_session *s, const struct num_buf *system,
                      const struct num_buf *user, struct num_buf *out, struct num_err *err) {
    struct lm_template_limits limits = LM_TEMPLATE_LIMITS;
    limits.now = FIXED_NOW_S;
    json_t *variables = variables_of(s, system, user);
    if (!variables)
        return num_fail_memory(err, "a conversation", user->len);
    int32_t status = lm_template_render(s->template, variables, &limits, out, err);
    json_decref(variables);
    return status;
}

/* "SYSTEM\n\nUSER" */
static void join(const struct num_buf *system, const struct num_buf *user, struct num_buf *out) {
    if (system->len) {
        num_buf_add(out, system->data, system->len);
        num_buf_adds(out, "\n\n");
    }
    num_buf_add(out, num_buf_text(user), user->len);
}

static bool is_utf8(const char *text, size_t len) {
    json_t *string = json_stringn(text, len);
    json_decref(string);
    return string != NULL;
}

int32_t lm_session_prompt(const struct lm_session *s, const char *system, const char *user,
                          size_t user_len, int32_t **ret_tokens, size_t *ret_n,
                          struct num_err *err) {
    num_autobuf first = {0}, second = {0}, joined = {0}, out = {0};
    uint32_t flags = s->template ? LM_ENCODE_SPECIAL : LM_ENCODE_BOS;
    if (!is_utf8(user, user_len) || (system && !is_utf8(system, strlen(system))))
        return num_fail(err, SLUICE_INPUT, "the text for the model is not UTF-8");
    break_names(s, system ? system : "", system ? strlen(system) : 0, &first);
    break_names(s, user, user_len, &second);
    join(&first, &second, &joined);
    if (first.failed || second.failed || joined.failed)
        return num_fail_memory(err, "a prompt", user_len);
    int32_t status = SLUICE_OK;
    if (s->template && first.len)
        status = render(s, &first, &second, &out, err);
    if (s->template && (!first.len || status == SLUICE_INPUT)) {
        num_buf_finish(&out);
        status = render(s, NULL, &joined, &out, err);
    }
    if (!s->template)
        num_buf_add(&out, num_buf_text(&joined), joined.len);
    if (status == SLUICE_OK && out.failed)
        status = num_fail_memory(err, "a prompt", user_len);
    if (status != SLUICE_OK)
        return status;
    return lm_tokenizer_encode(s->tokenizer, num_buf_text(&out), out.len, flags, ret_tokens, ret_n,
                               err);
}

int32_t lm_session_count(const struct lm_session *s, const char *text, size_t len, uint32_t *ret,
                         struct num_err *err) {
    num_autobuf whole = {0};
    int32_t *tokens = NULL;
    size_t n;
    break_names(s, text, len, &whole);
    if (whole.failed)
        return num_fail_memory(err, "a text", len);
    int32_t status =
        lm_tokenizer_encode(s->tokenizer, num_buf_text(&whole), whole.len, 0, &tokens, &n, err);
    free(tokens);
    if (status == SLUICE_OK)
        *ret = n < UINT32_MAX ? (uint32_t)n : UINT32_MAX;
    return status;
}

/* ---- Answers -------------------------------------------------------------------------------- */

struct asking {
    const struct lm_ask *ask;
    struct num_buf *out;
    struct lm_answer answer;
};

static bool on_cancelled(void *ctx) {
    const struct asking *a = ctx;
    return a->ask->cancelled && a->ask->cancelled(a->ask->ctx);
}

static void on_text(void *ctx, const char *text, size_t len) {
    const struct asking *a = ctx;
    if (a->ask->text)
        a->ask->text(a->ask->ctx, text, len);
}

/* The text with blanks for control characters, without white space at its ends. */
static void add_clean(struct num_buf *out, const char *text, size_t len) {
    num_autobuf clean = {0};
    size_t begin;
    for (size_t i = 0; i < len; i++) {
        bool control = (uint8_t)text[i] < ' ' || text[i] == 0x7f;
        num_buf_addc(&clean, control && text[i] != '\n' && text[i] != '\t' ? ' ' : text[i]);
    }
    len = num_text_trim(num_buf_text(&clean), clean.len, &begin);
    num_buf_add(out, num_buf_text(&clean) + begin, len);
    out->failed |= clean.failed;
}

static void on_done(void *ctx, const struct lm_result *r) {
    struct asking *a = ctx;
    a->answer = (struct lm_answer){r->n_prompt, r->n_cached, r->n_tokens, r->end};
    if (!a->ask->grammar)
        add_clean(a->out, r->text, r->text_len);
}

static const uint8_t *token_bytes(const void *ctx, int32_t token, size_t *ret_len) {
    return lm_tokenizer_bytes(ctx, token, ret_len);
}

static int32_t start_writer(struct lm_session *s, const struct lm_grammar *grammar,
                            struct lm_writer *w, struct num_err *err) {
    int32_t status = SLUICE_OK;
    if (!s->vocabulary)
        status = lm_vocabulary_create(token_bytes, s->tokenizer, lm_tokenizer_size(s->tokenizer),
                                      &s->vocabulary, err);
    if (status == SLUICE_OK)
        status = lm_writer_start(w, grammar, s->vocabulary, s->tokenizer, s->ends, s->n_ends, err);
    return status;
}

static int32_t run(struct lm_session *s, const struct lm_ask *ask, struct lm_writer *w,
                   struct asking *a, struct num_err *err) {
    int32_t *tokens = NULL;
    size_t n;
    int32_t status = lm_session_prompt(s, ask->system, ask->user, ask->user_len, &tokens, &n, err);
    if (status != SLUICE_OK)
        return status;
    uint32_t n_more = s->n_ends - s->n_own_ends;
    struct lm_request r = {.prompt = tokens,
                           .n_prompt = n < UINT32_MAX ? (uint32_t)n : UINT32_MAX,
                           .max_tokens = ask->max_tokens,
                           .sampling = ask->sampling,
                           .stop_strings = ask->stops,
                           .n_stop_strings = ask->grammar ? 0 : ask->n_stops,
                           .stop_tokens = s->ends + s->n_own_ends,
                           .n_stop_tokens = n_more < LM_MAX_EOS ? n_more : LM_MAX_EOS,
                           .ctx = a,
                           .text = on_text,
                           .cancelled = on_cancelled,
                           .done = on_done};
    if (ask->grammar)
        r.constraint = lm_writer_constraint(w);
    status = lm_engine_run(s->engine, &r, err);
    free(tokens);
    if (status == SLUICE_OK && a->answer.end == LM_END_CANCELLED)
        status = num_fail(err, SLUICE_CANCELLED, "cancelled");
    return status;
}

int32_t lm_session_ask(struct lm_session *s, const struct lm_ask *ask, struct num_buf *out,
                       struct lm_answer *ret, struct num_err *err) {
    struct asking a = {.ask = ask, .out = out};
    struct lm_writer w = {0};
    int32_t status = SLUICE_OK;
    if (ask->grammar)
        status = start_writer(s, ask->grammar, &w, err);
    if (status == SLUICE_OK)
        status = run(s, ask, &w, &a, err);
    if (status == SLUICE_OK && ask->grammar) {
        status = lm_writer_complete(&w, err);
        num_buf_add(out, num_buf_text(&w.text), w.text.len);
    }
    lm_writer_finish(&w);
    if (status == SLUICE_OK && out->failed)
        status = num_fail_memory(err, "an answer", out->len);
    if (status == SLUICE_OK && ret)
        *ret = a.answer;
    return status;
}
