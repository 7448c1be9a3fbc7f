/* Punctuation from a model: see punctuate.h. */
#include "llm/punctuate.h"

#include <stdlib.h>
#include <string.h>

#include "llm/retext.h"
#include "llm/words.h"
#include "num/unicode.h"

#define ANSWER_MORE 32 /* tokens that an answer may have beyond twice those of the text */

const char lm_punctuate_system[] =
    "You restore punctuation and capital letters in a transcript. Keep every word as it is: add "
    "none, leave none out, change none. Answer with the text alone.";

/* ---- An answer on its segments --------------------------------------------------------------- */

/* The texts of the segments with blanks between them. */
static void join(const struct lm_transcript *t, size_t first, size_t last, struct num_buf *out) {
    for (size_t i = first; i < last; i++) {
        if (out->len && t->segments[i].len)
            num_buf_addc(out, ' ');
        num_buf_add(out, t->segments[i].text, t->segments[i].len);
    }
}

/* The words of a segment as the text has them, a new list; NULL where it does not have them. */
static json_t *words_of(const json_t *words, const char *text, size_t len) {
    json_t *list = json_array(), *one;
    size_t i, at = 0;
    json_array_foreach((json_t *)words, i, one) {
        const json_t *old = json_object_get(one, "word");
        const char *was = json_string_value(old);
        size_t was_len = json_string_length(old), begin = at, n = 0;
        size_t marks = was ? lm_count_marks(was, was_len) : 0;
        json_t *copy = json_copy(one);
        json_array_append_new(list, copy);
        if (was && marks == 0)
            continue;
        if (was)
            n = lm_take_marks(text, len, &at, marks, &begin);
        json_t *word = was && lm_same_words(was, was_len, text + begin, n)
                           ? lm_retext(was, was_len, text + begin, n)
                           : NULL;
        if (!word || json_object_set_new(copy, "word", word)) {
            json_decref(list);
            return NULL;
        }
    }
    return list;
}

/* Gives a segment its new text. */
static bool set_text(struct lm_segment *g, const char *text, size_t len) {
    json_t *old = json_object_get(g->json, "text"), *list = json_object_get(g->json, "words");
    json_t *new = lm_retext(json_string_value(old), json_string_length(old), text, len);
    json_t *words = json_is_array(list) ? words_of(list, text, len) : NULL;
    if (!new || json_object_set_new(g->json, "text", new)) {
        json_decref(words);
        return false;
    }
    size_t begin;
    g->len = num_text_trim(json_string_value(new), json_string_length(new), &begin);
    g->text = json_string_value(new) + begin;
    json_object_del(g->json, "tokens");
    return !words || json_object_set_new(g->json, "words", words) == 0;
}

bool lm_punctuate_apply(struct lm_transcript *t, size_t first, size_t last, const char *text,
                        size_t len, bool *ret_failed) {
    num_autobuf old = {0};
    size_t at = 0;
    join(t, first, last, &old);
    *ret_failed = old.failed;
    if (old.failed || !lm_same_words(num_buf_text(&old), old.len, text, len))
        return false;
    for (size_t i = first; i < last && !*ret_failed; i++) {
        struct lm_segment *g = &t->segments[i];
        size_t marks = lm_count_marks(g->text, g->len), begin;
        if (marks == 0)
            continue;
        size_t n = lm_take_marks(text, len, &at, marks, &begin);
        *ret_failed = !set_text(g, text + begin, n);
    }
    return !*ret_failed;
}

/* ---- Questions ------------------------------------------------------------------------------ */

struct run {
    struct lm_session *session;
    struct lm_transcript *transcript;
    const char *system;
    uint32_t frame; /* tokens of a prompt without its text */
};

static int32_t make_question(void *ctx, size_t first, size_t last, struct lm_ask *ret_ask,
                             struct num_buf *text, bool *ret_fits, struct num_err *err) {
    const struct run *r = ctx;
    uint32_t n = 0;
    join(r->transcript, first, last, text);
    int32_t status = lm_session_count(r->session, num_buf_text(text), text->len, &n, err);
    *ret_fits = 3 * (uint64_t)n + r->frame + 2 * ANSWER_MORE <= r->session->context;
    *ret_ask = (struct lm_ask){.system = r->system, .max_tokens = 2 * n + ANSWER_MORE};
    return status;
}

static int32_t take_answer(void *ctx, size_t first, size_t last, const struct lm_question *q,
                           bool *ret_counts, struct num_err *err) {
    const struct run *r = ctx;
    bool failed = false;
    *ret_counts =
        lm_punctuate_apply(r->transcript, first, last, num_buf_text(&q->out), q->out.len, &failed);
    return failed ? num_fail_memory(err, "a text", q->out.len) : SLUICE_OK;
}

int32_t lm_punctuate(struct lm_session *s, struct lm_transcript *t,
                     const struct lm_ranges_options *options, struct lm_ranges_report *ret,
                     struct num_err *err) {
    struct run r = {.session = s,
                    .transcript = t,
                    .system = options->system ? options->system : lm_punctuate_system};
    struct lm_ranges_job job = {.session = s,
                                .transcript = t,
                                .options = options,
                                .max_segments = SIZE_MAX,
                                .of_one_speaker = true,
                                .ctx = &r,
                                .make = make_question,
                                .take = take_answer};
    struct lm_ranges_report report = {0};
    int32_t status = lm_session_frame(s, r.system, "", 0, &r.frame, err);
    if (status == SLUICE_OK)
        status = lm_ranges_run(&job, &report, err);
    if (status == SLUICE_OK)
        status = lm_transcript_complete(t, err);
    if (status == SLUICE_OK)
        *ret = report;
    return status;
}
