/* Translation by a model: see translate.h. */
#include "llm/translate.h"

#include <stdlib.h>
#include <string.h>

#include "llm/languages.h"
#include "llm/retext.h"
#include "llm/schema.h"
#include "llm/words.h"
#include "num/unicode.h"

#define MAX_LINES     24 /* of one question */
#define TOKENS_A_LINE 8  /* what stands around one in JSON */
#define ANSWER_MORE   64 /* tokens that an answer may have beyond four times those of the text */
#define PLACEHOLDER   "{language}"

const char lm_translate_system[] =
    "You translate transcripts of speech. Translate each line of the JSON that you are given into "
    "{language}. Answer with JSON of the same form and nothing else: one translation for each "
    "line, in the same order. Add nothing, leave nothing out, and keep names as they are.";

/* What an answer of n lines has to be. */
struct form {
    json_t *schema;
    struct lm_grammar *grammar;
};

struct run {
    struct lm_session *session;
    struct lm_transcript *transcript;
    const struct lm_ranges_options *options;
    struct num_buf system;
    uint32_t frame;                   /* tokens of a prompt without its text */
    struct form forms[MAX_LINES + 1]; /* made when they are wanted */
};

static bool has_words(const struct lm_segment *g) {
    return lm_count_marks(g->text, g->len) > 0;
}

static size_t n_lines(const struct run *r, size_t first, size_t last) {
    size_t n = 0;
    for (size_t i = first; i < last; i++)
        n += has_words(&r->transcript->segments[i]);
    return n;
}

static int32_t form_of(struct run *r, size_t n, struct form *ret, struct num_err *err) {
    struct form *f = &r->forms[n];
    int32_t status = SLUICE_OK;
    if (!f->schema)
        f->schema = json_pack("{s:s, s:[s], s:b, s:{s:{s:s, s:i, s:i, s:{s:s, s:i}}}}", "type",
                              "object", "required", "lines", "additionalProperties", 0,
                              "properties", "lines", "type", "array", "minItems", (int)n,
                              "maxItems", (int)n, "items", "type", "string", "minLength", 1);
    if (!f->schema)
        status = num_fail_memory(err, "a schema", n);
    else if (!f->grammar)
        status = lm_schema_compile(f->schema, &f->grammar, err);
    *ret = *f;
    return status;
}

static void forms_finish(struct run *r) {
    for (size_t i = 0; i <= MAX_LINES; i++) {
        json_decref(r->forms[i].schema);
        lm_grammar_destroy(r->forms[i].grammar);
    }
}

/* ---- Questions ------------------------------------------------------------------------------ */

/* {"lines": ["...", ...]} */
static void print_lines(const struct run *r, size_t first, size_t last, struct num_buf *out) {
    json_t *lines = json_array(), *all = json_pack("{s:o}", "lines", lines);
    for (size_t i = first; i < last; i++) {
        const struct lm_segment *g = &r->transcript->segments[i];
        if (has_words(g))
            json_array_append_new(lines, json_stringn(g->text, g->len));
    }
    num_autotext *text = all ? json_dumps(all, 0) : NULL;
    if (text)
        num_buf_adds(out, text);
    else
        out->failed = true;
    json_decref(all);
}

static int32_t make_question(void *ctx, size_t first, size_t last, struct lm_ask *ret_ask,
                             struct num_buf *text, bool *ret_fits, struct num_err *err) {
    struct run *r = ctx;
    size_t lines = n_lines(r, first, last);
    struct form form = {0};
    uint32_t n = 0;
    print_lines(r, first, last, text);
    int32_t status = lm_session_count(r->session, num_buf_text(text), text->len, &n, err);
    if (status == SLUICE_OK)
        status = form_of(r, lines, &form, err);
    uint64_t most = 4 * (uint64_t)n + TOKENS_A_LINE * lines + ANSWER_MORE;
    *ret_fits = n + r->frame + most <= r->session->context;
    *ret_ask = (struct lm_ask){.system = num_buf_text(&r->system),
                               .max_tokens = *ret_fits ? (uint32_t)most : 1,
                               .grammar = form.grammar,
                               .schema = form.schema,
                               .checks = true};
    return status;
}

/* ---- Answers -------------------------------------------------------------------------------- */

static bool take_line(struct lm_segment *g, const json_t *line) {
    json_t *old = json_object_get(g->json, "text");
    const char *text = json_string_value(line);
    size_t begin, len = num_text_trim(text, json_string_length(line), &begin);
    json_t *new = lm_retext(json_string_value(old), json_string_length(old), text + begin, len);
    if (!new || json_object_set_new(g->json, "text", new))
        return false;
    g->len = num_text_trim(json_string_value(new), json_string_length(new), &begin);
    g->text = json_string_value(new) + begin;
    json_object_del(g->json, "tokens");
    json_object_del(g->json, "words");
    return true;
}

static bool lines_count(const json_t *lines, size_t n) {
    if (json_array_size(lines) != n)
        return false;
    for (size_t i = 0; i < n; i++) {
        const json_t *line = json_array_get(lines, i);
        size_t begin;
        if (!json_is_string(line) ||
            num_text_trim(json_string_value(line), json_string_length(line), &begin) == 0)
            return false;
    }
    return true;
}

static int32_t take_answer(void *ctx, size_t first, size_t last, const struct lm_question *q,
                           bool *ret_counts, struct num_err *err) {
    struct run *r = ctx;
    json_t *answer = json_loadb(num_buf_text(&q->out), q->out.len, 0, NULL);
    const json_t *lines = json_object_get(answer, "lines");
    int32_t status = SLUICE_OK;
    *ret_counts = q->answer.end != LM_END_LENGTH && lines_count(lines, n_lines(r, first, last));
    for (size_t i = first, at = 0; *ret_counts && i < last && status == SLUICE_OK; i++) {
        struct lm_segment *g = &r->transcript->segments[i];
        if (has_words(g) && !take_line(g, json_array_get(lines, at++)))
            status = num_fail_memory(err, "a text", q->out.len);
    }
    json_decref(answer);
    return status;
}

/* ---- The whole ------------------------------------------------------------------------------ */

/* The system text with the language's name in it. */
static void set_system(struct run *r) {
    const char *name = lm_language_name(r->options->language);
    const char *text = r->options->system ? r->options->system : lm_translate_system;
    for (const char *at; (at = strstr(text, PLACEHOLDER)); text = at + strlen(PLACEHOLDER)) {
        num_buf_add(&r->system, text, (size_t)(at - text));
        num_buf_adds(&r->system, name);
    }
    num_buf_adds(&r->system, text);
}

static int32_t set_language(struct run *r, struct num_err *err) {
    json_t *code = json_string(lm_language_code(r->options->language));
    if (!code || json_object_set_new(r->transcript->root, "language", code))
        return num_fail_memory(err, "a language", 0);
    r->transcript->language = json_string_value(code);
    json_object_del(r->transcript->root, "words");
    return lm_transcript_complete(r->transcript, err);
}

int32_t lm_translate(struct lm_session *s, struct lm_transcript *t,
                     const struct lm_ranges_options *options, struct lm_ranges_report *ret,
                     struct num_err *err) {
    struct run r = {.session = s, .transcript = t, .options = options};
    struct lm_ranges_job job = {.session = s,
                                .transcript = t,
                                .options = options,
                                .max_segments = MAX_LINES,
                                .ctx = &r,
                                .make = make_question,
                                .take = take_answer};
    struct lm_ranges_report report = {0};
    set_system(&r);
    int32_t status = r.system.failed ? num_fail_memory(err, "a prompt", r.system.len) : SLUICE_OK;
    if (status == SLUICE_OK)
        status = lm_session_frame(s, num_buf_text(&r.system), "", 0, &r.frame, err);
    if (status == SLUICE_OK)
        status = lm_ranges_run(&job, &report, err);
    if (status == SLUICE_OK)
        status = set_language(&r, err);
    num_buf_finish(&r.system);
    forms_finish(&r);
    if (status == SLUICE_OK)
        *ret = report;
    return status;
}
