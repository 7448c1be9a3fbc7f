/*
 * Questions to a model on this machine: see session_engine.h. Here are the parts' lives, the
 * prompt, and what becomes of a request; the engine works on several and keeps what prompts have in
 * common.
 */
#include "llm/session_engine.h"

#include <stdlib.h>
#include <string.h>

#include "llm/card.h"
#include "llm/constraint.h"
#include "llm/template.h"
#include "num/unicode.h"

#define FIXED_DAY   "26 Jul 2024" /* what Llama 3.1's template has where it is told none */
#define FIXED_NOW_S 1721952000

struct name {
    const char *text;
    size_t len;
};

struct own {
    struct lm_session base;
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
    void (*lost)(void *ctx);          /* the owner's */
    void *ctx;
};

/* ---- Life ----------------------------------------------------------------------------------- */

static int32_t find_names(struct own *s, struct num_err *err) {
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

static void add_end(struct own *s, int32_t token) {
    for (uint32_t i = 0; i < s->n_ends; i++)
        if (s->ends[i] == token)
            return;
    if (token >= 0 && s->n_ends < LM_MAX_ENDS)
        s->ends[s->n_ends++] = token;
}

/* The model's own ends, and those by which chat templates end a turn: files often name but one. */
static void find_ends(struct own *s) {
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

static int32_t start_engine(struct own *s, const struct lm_session_options *o,
                            struct num_err *err) {
    uint32_t own = lm_model_config(s->model)->n_context;
    struct lm_limits limits = {.n_requests = s->base.parallel,
                               .context = o->context < own ? o->context : own,
                               .memory = o->memory,
                               .n_full = 2};
    int32_t status = lm_engine_create(s->model, &limits, &s->engine, err);
    if (status == SLUICE_OK)
        s->base.context = lm_engine_plan(s->engine)->context;
    return status;
}

static int32_t open_parts(struct own *s, const struct lm_session_options *o, struct num_err *err) {
    int32_t status = num_pool_create(o->n_threads, &s->pool, err);
    if (status == SLUICE_OK)
        status = lm_model_load_on(o->model, o->compute, s->pool, o->memory, o->card, o->device,
                                  &s->model, err);
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

static void close_parts(struct lm_session *base) {
    struct own *s = (struct own *)base;
    lm_vocabulary_destroy(s->vocabulary);
    lm_engine_destroy(s->engine);
    lm_template_destroy(s->template);
    lm_model_free(s->model);
    num_pool_destroy(s->pool);
    free(s->names);
    free(s);
}

/* ---- Prompts -------------------------------------------------------------------------------- */

/* The length of the special token's name at `text`, 0 where there is none. */
static size_t name_at(const struct own *s, const char *text, size_t len) {
    for (size_t i = 0; s->begins[(uint8_t)*text] && i < s->n_names; i++)
        if (s->names[i].len <= len && memcmp(text, s->names[i].text, s->names[i].len) == 0)
            return s->names[i].len;
    return 0;
}

/* The text with a blank behind the first character of every name; names of one character go. */
static void break_names(const struct own *s, const char *text, size_t len, struct num_buf *out) {
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

static json_t *variables_of(const struct own *s, const struct num_buf *system,
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

static int32_t render(const struct own *s, const struct num_buf *system, const struct num_buf *user,
                      struct num_buf *out, struct num_err *err) {
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

/* The prompt's text. */
static int32_t prompt_text(const struct own *s, const char *system, const char *user,
                           size_t user_len, struct num_buf *out, struct num_err *err) {
    num_autobuf first = {0}, second = {0}, joined = {0};
    break_names(s, system ? system : "", system ? strlen(system) : 0, &first);
    break_names(s, user, user_len, &second);
    join(&first, &second, &joined);
    if (first.failed || second.failed || joined.failed)
        return num_fail_memory(err, "a prompt", user_len);
    int32_t status = SLUICE_OK;
    if (s->template && first.len)
        status = render(s, &first, &second, out, err);
    if (s->template && (!first.len || status == SLUICE_INPUT)) {
        num_buf_finish(out);
        status = render(s, NULL, &joined, out, err);
    }
    if (!s->template)
        num_buf_add(out, num_buf_text(&joined), joined.len);
    if (status == SLUICE_OK && out->failed)
        status = num_fail_memory(err, "a prompt", user_len);
    return status;
}

static int32_t encode(const struct own *s, const struct num_buf *text, int32_t **ret_tokens,
                      size_t *ret_n, struct num_err *err) {
    uint32_t flags = s->template ? LM_ENCODE_SPECIAL : LM_ENCODE_BOS;
    return lm_tokenizer_encode(s->tokenizer, num_buf_text(text), text->len, flags, ret_tokens,
                               ret_n, err);
}

int32_t lm_session_prompt(const struct lm_session *base, const char *system, const char *user,
                          size_t user_len, int32_t **ret_tokens, size_t *ret_n,
                          struct num_err *err) {
    const struct own *s = (const struct own *)base;
    num_autobuf text = {0};
    int32_t status = prompt_text(s, system, user, user_len, &text, err);
    return status == SLUICE_OK ? encode(s, &text, ret_tokens, ret_n, err) : status;
}

static int32_t frame(const struct lm_session *base, const char *system, const char *user,
                     size_t len, uint32_t *ret, struct num_err *err) {
    int32_t *tokens = NULL;
    size_t n = 0;
    int32_t status = lm_session_prompt(base, system, user, len, &tokens, &n, err);
    free(tokens);
    if (status == SLUICE_OK)
        *ret = n < UINT32_MAX ? (uint32_t)n : UINT32_MAX;
    return status;
}

static int32_t count(const struct lm_session *base, const char *text, size_t len, uint32_t *ret,
                     struct num_err *err) {
    const struct own *s = (const struct own *)base;
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

/* A question at work. */
struct asking {
    struct lm_question *q;
    struct lm_writer writer; /* of its grammar, else zeroed */
};

static bool on_cancelled(void *ctx) {
    const struct asking *a = ctx;
    return lm_question_cancelled(a->q);
}

static void on_text(void *ctx, const char *text, size_t len) {
    const struct asking *a = ctx;
    if (!a->q->ask.grammar)
        lm_question_text(a->q, text, len, true);
}

/* Ends the question and frees what it took. */
static void end(struct asking *a, int32_t status) {
    struct lm_question *q = a->q;
    lm_writer_finish(&a->writer);
    free(a);
    lm_question_end(q, status);
}

static void on_done(void *ctx, const struct lm_result *r) {
    struct asking *a = ctx;
    struct lm_question *q = a->q;
    int32_t status = SLUICE_OK;
    q->answer = (struct lm_answer){r->n_prompt, r->n_cached, r->n_tokens, r->end};
    if (r->end == LM_END_CANCELLED)
        status = num_fail(&q->err, SLUICE_CANCELLED, "cancelled");
    else if (r->end == LM_END_FAILED)
        status = num_fail(&q->err, r->err->status, "%s", r->err->text);
    else if (q->ask.grammar)
        status = lm_writer_complete(&a->writer, &q->err);
    if (status == SLUICE_OK && q->ask.grammar)
        lm_question_text(q, num_buf_text(&a->writer.text), a->writer.text.len, false);
    end(a, status);
}

static const uint8_t *token_bytes(const void *ctx, int32_t token, size_t *ret_len) {
    return lm_tokenizer_bytes(ctx, token, ret_len);
}

static int32_t start_writer(struct own *s, const struct lm_grammar *grammar, struct lm_writer *w,
                            struct num_err *err) {
    int32_t status = SLUICE_OK;
    if (!s->vocabulary)
        status = lm_vocabulary_create(token_bytes, s->tokenizer, lm_tokenizer_size(s->tokenizer),
                                      &s->vocabulary, err);
    if (status == SLUICE_OK)
        status = lm_writer_start(w, grammar, s->vocabulary, s->tokenizer, s->ends, s->n_ends, err);
    return status;
}

static int32_t add_request(struct own *s, struct asking *a, const int32_t *tokens, size_t n) {
    const struct lm_ask *ask = &a->q->ask;
    uint32_t n_more = s->n_ends - s->n_own_ends;
    uint64_t id;
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
        r.constraint = lm_writer_constraint(&a->writer);
    return lm_engine_add(s->engine, &r, &id, &a->q->err);
}

/* Whether the prompt has begun the model's thoughts for it. */
static bool begins_thought(const struct num_buf *text) {
    static const char mark[] = "<think>";
    size_t begin, len = num_text_trim(num_buf_text(text), text->len, &begin);
    return len >= sizeof mark - 1 &&
           memcmp(text->data + begin + len - (sizeof mark - 1), mark, sizeof mark - 1) == 0;
}

static void start(struct lm_session *base, struct lm_question *q) {
    struct own *s = (struct own *)base;
    struct asking *a = calloc(1, sizeof *a);
    num_autobuf text = {0};
    int32_t *tokens = NULL;
    size_t n = 0;
    if (!a) {
        lm_question_end(q, num_fail_memory(&q->err, "a question", sizeof *a));
        return;
    }
    a->q = q;
    int32_t status = prompt_text(s, q->ask.system, q->ask.user, q->ask.user_len, &text, &q->err);
    if (status == SLUICE_OK)
        status = encode(s, &text, &tokens, &n, &q->err);
    if (status == SLUICE_OK && q->ask.grammar)
        status = start_writer(s, q->ask.grammar, &a->writer, &q->err);
    if (q->strips && begins_thought(&text))
        q->thought.place = LM_THOUGHT_INSIDE;
    if (status == SLUICE_OK)
        status = add_request(s, a, tokens, n);
    free(tokens);
    if (status != SLUICE_OK)
        end(a, status);
}

/* What fails is in the questions, which have ended with it. */
static void step(struct lm_session *base) {
    struct own *s = (struct own *)base;
    struct lm_card_info info = {0};
    uint32_t n_left;
    if (lm_engine_step(s->engine, &n_left, NULL) == SLUICE_OK || !s->lost)
        return;
    if (lm_model_card(s->model, &info) && info.lost)
        s->lost(s->ctx);
}

bool lm_session_card(const struct lm_session *base, struct lm_card_info *ret) {
    return lm_model_card(((const struct own *)base)->model, ret);
}

/* ---- Opening -------------------------------------------------------------------------------- */

static const struct lm_session_ops own_ops = {close_parts, count, frame, start, step};

int32_t lm_session_open(const struct lm_session_options *options, struct lm_session **ret,
                        struct num_err *err) {
    struct own *s = calloc(1, sizeof *s);
    if (!s)
        return num_fail_memory(err, "a session", sizeof *s);
    uint32_t most = options->parallel < LM_MAX_REQUESTS ? options->parallel : LM_MAX_REQUESTS;
    s->base = (struct lm_session){
        .ops = &own_ops, .parallel = most ? most : 1, .thoughts = options->thoughts};
    s->lost = options->lost;
    s->ctx = options->ctx;
    int32_t status = open_parts(s, options, err);
    if (status != SLUICE_OK)
        close_parts(&s->base);
    else
        *ret = &s->base;
    return status;
}
